"""Which images an inspector is shown next; blind: nothing here says what anybody or any model thinks of them."""

import hashlib
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from itertools import chain, count, islice, zip_longest

from labeling.label_book import book_of
from labeling.queue import REPEAT_AFTER_S
from service.console.rankings import Rankings
from storage import adjudications, inspections, labels, pictures
from storage import tasks as task_store
from storage.database import Connection, Database
from storage.labels import Looks
from storage.records import Adjudication, Task

COUNT_LIMIT = 1000
"""Unlabelled images are counted up to here; a line makes more in a day than anybody labels."""
FRESH_NEAR = 8
"""Unlabelled images looked up after each point where there are more than COUNT_LIMIT; others may hold the first."""
SECOND_LOOK_AFTER = timedelta(seconds=REPEAT_AFTER_S)
"""An inspector is asked about the same image again only when the first look is forgotten."""
LOOKS = 2
"""A second look measures how steady an inspector is; a third adds little."""
GOLDEN_AGAIN_AFTER = timedelta(days=30)
"""There are few images with a known answer: each is good for a check again after this time."""
HELD_FOR = timedelta(minutes=10)
"""Nobody else is asked about an image for this long after an inspector was, as far as there are others to ask about."""
GOLDEN_SHARE = 1 / 20
SELF_REPEAT_SHARE = 1 / 20
WAITING_SHARE = 1 / 3
"""Of the images shown while there are others; what a new label book or an alarm calls into question can't wait."""


@dataclass(frozen=True, slots=True)
class Shown:
    """An image to judge. Why it is asked for stays in the database."""

    image_sha256: str
    media_type: str


@dataclass(frozen=True, slots=True)
class Worklist:
    """What an inspector does next, and how far the work has come."""

    tasks: tuple[Shown, ...]
    unlabelled: int
    """Images of the product without any label, counted up to COUNT_LIMIT."""
    judged: int
    """Labels that this inspector has given."""


@dataclass(frozen=True, slots=True)
class _Wanted:
    image_sha256: str
    kind: str
    book_version: int


def worklist(database: Database, rankings: Rankings, product: str, inspector: str, n: int, now: datetime) -> Worklist:
    """At most `n` images for the inspector: first those that nobody has judged, then where another look helps most.

    Among them, unannounced, are images with a known answer, images that the inspector has judged before, images whose
    definition has changed since, and images that an optics alarm calls into question. What is handed out is held for
    this inspector for a while.

    Raises UnknownProduct, DatabaseUnavailable.
    """
    asked = rankings.of(product).asked_of(inspector, now)
    with database.write() as connection:
        # Two inspectors who ask at the same moment: the second one sees what the first one got.
        labels.hold(connection, product)
        version = book_of(connection, product).version
        looks = labels.looks_of(connection, product, inspector)
        decided = adjudications.holding(connection, product)
        held = task_store.held_by_others(connection, product, inspector, now)
        waiting = task_store.waiting(connection, product, inspector)
        judged = sum(found.count for found in looks.values())
        whose = f"{product}/{inspector}"
        fresh, unlabelled = _fresh(connection, product, [_point(whose, judged + k) for k in range(n)])
        more = list(_more(asked, looks, decided, fresh, version, now))
        sources = [
            (
                sorted(sha256 for sha256 in fresh if (sha256 in held) is is_held),
                [one for one in more if (one.image_sha256 in held) is is_held],
            )
            for is_held in (False, True)
        ]
        of_own = [task for task in waiting if task.inspector or task.image_sha256 not in held]
        again = iter({task.image_sha256: _again(task) for task in _in_turn(of_own)}.values())
        checks = {
            "golden": lambda: _golden(decided, looks, version, now),
            "self_repeat": lambda: _repeats(looks, decided, version, now),
        }
        mixed = _mixed(partial(_main, sources, version), again, checks, whose, judged)
        chosen = list(islice(_known(connection, product, fresh, mixed, n), n))
        rows = [_row(one, product, inspector, looks, now) for one, _ in chosen]
        task_store.ask(connection, rows, now + HELD_FOR)
    return Worklist(tuple(Shown(one.image_sha256, kind) for one, kind in chosen), unlabelled, judged)


def _fresh(connection: Connection, product: str, points: Sequence[str]) -> tuple[dict[str, str], int]:
    """Images that nobody has judged, with their media types, and how many there are, counted up to COUNT_LIMIT.

    All of them, or, of more than COUNT_LIMIT, those next to the points: the first ones by hash would look alike, and
    what is shown for another reason would stand out.
    """

    def from_point(start: str, limit: int) -> dict[str, str]:
        imported = labels.unlabelled(connection, product, limit, start)
        return dict([*imported, *inspections.unlabelled(connection, product, limit, start)])

    found = from_point("", COUNT_LIMIT)
    if len(found) < COUNT_LIMIT:
        return found, len(found)
    near = {sha256: kind for point in points for sha256, kind in from_point(point, FRESH_NEAR).items()}
    # Behind the last image the ring goes on with the first ones.
    return near or dict(sorted(found.items())[:FRESH_NEAR]), COUNT_LIMIT


def _more(
    asked: Sequence[str],
    looks: Mapping[str, Looks],
    decided: Mapping[str, Adjudication],
    fresh: Mapping[str, str],
    version: int,
    now: datetime,
) -> Iterator[_Wanted]:
    """What the queue wants from this inspector."""
    for sha256 in asked:
        if sha256 in decided or sha256 in fresh:
            continue
        if sha256 not in looks:
            yield _Wanted(sha256, "second_opinion", version)
        elif _is_forgotten(looks[sha256], now):
            yield _Wanted(sha256, "self_repeat", version)


def _main(
    sources: Sequence[tuple[Sequence[str], Sequence[_Wanted]]], version: int, point: str, done: set[str]
) -> _Wanted | None:
    """The next one of what nobody has judged, then of what the queue wants; None where all is done.

    sources: both, the first ones ordered by hash; first what is free, then what somebody else is being asked about.
    """
    for first, more in sources:
        at = bisect_left(first, point)
        for sha256 in chain(islice(first, at, None), islice(first, at)):
            if sha256 not in done:
                return _Wanted(sha256, "first", version)
        if (one := next((one for one in more if one.image_sha256 not in done), None)) is not None:
            return one
    return None


def _is_forgotten(seen: Looks, now: datetime) -> bool:
    return seen.count < LOOKS and now - seen.last >= SECOND_LOOK_AFTER


def _golden(
    decided: Mapping[str, Adjudication], looks: Mapping[str, Looks], version: int, now: datetime
) -> Iterator[_Wanted]:
    for sha256 in decided:
        if sha256 not in looks or now - looks[sha256].last >= GOLDEN_AGAIN_AFTER:
            yield _Wanted(sha256, "golden", version)


def _repeats(
    looks: Mapping[str, Looks], decided: Mapping[str, Adjudication], version: int, now: datetime
) -> Iterator[_Wanted]:
    for sha256, seen in looks.items():
        if sha256 not in decided and _is_forgotten(seen, now):
            yield _Wanted(sha256, "self_repeat", version)


def _in_turn(waiting: Sequence[Task]) -> Iterator[Task]:
    """One task of each reason, then another of each, so that none has to wait for all of another."""
    by_reason: dict[str, list[Task]] = {}
    for task in waiting:
        by_reason.setdefault(task.reason, []).append(task)
    for turn in zip_longest(*by_reason.values()):
        yield from (task for task in turn if task is not None)


def _again(task: Task) -> _Wanted:
    return _Wanted(task.image_sha256, task.kind, task.book_version)


def _mixed(
    main: Callable[[str, set[str]], _Wanted | None],
    again: Iterator[_Wanted],
    checks: Mapping[str, Callable[[], Iterator[_Wanted]]],
    whose: str,
    judged: int,
) -> Iterator[_Wanted]:
    """The streams as one, each image once; it ends with the work, so that checks are a share of the work.

    What the k-th judgement of an inspector is about depends on k alone: a page that asks anew gets the same order. New
    images and checks alike are the next ones after a point on the ring of hashes, so that no hash tells one from the
    other, and the choice stays the same when others are judged meanwhile.
    """
    done: set[str] = set()
    upcoming_again = next(again, None)
    for place in count(judged):
        point = _point(whose, place)
        upcoming = main(point, done)
        if upcoming is None and upcoming_again is None:
            return
        chance = _chance(whose, place)
        one = _check(checks, done, chance, point)
        if one is None and upcoming_again is not None and (upcoming is None or chance >= 1 - WAITING_SHARE):
            one, upcoming_again = upcoming_again, next(again, None)
        one = one or upcoming
        if one is not None and one.image_sha256 not in done:
            done.add(one.image_sha256)
            yield one


def _check(
    checks: Mapping[str, Callable[[], Iterator[_Wanted]]], done: set[str], chance: float, point: str
) -> _Wanted | None:
    """An image for a check where it is time for one: the next one after the point on the ring of hashes."""
    if chance >= GOLDEN_SHARE + SELF_REPEAT_SHARE:
        return None
    kind = "golden" if chance < GOLDEN_SHARE else "self_repeat"
    open_ones = (one for one in checks[kind]() if one.image_sha256 not in done)
    return min(open_ones, key=lambda one: (one.image_sha256 < point, one.image_sha256), default=None)


def _point(whose: str, place: int) -> str:
    """A point on the ring of hashes for the judgement of this number."""
    return hashlib.sha256(f"{whose}/{place + 1}".encode()).hexdigest()


def _chance(*parts: object) -> float:
    """A number from 0 to 1 that looks random and stays the same."""
    digest = hashlib.blake2b("\0".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest) / 2**64


def _known(
    connection: Connection, product: str, fresh: Mapping[str, str], wanted: Iterator[_Wanted], n: int
) -> Iterator[tuple[_Wanted, str]]:
    """Those whose image can be shown, with its media type; a label may name an image that the product has lost."""
    while near := list(islice(wanted, n)):
        types = {**pictures.media_types(connection, product, [one.image_sha256 for one in near]), **fresh}
        # Images of the line that nobody has judged are no images of the product yet, and may be too many to be `fresh`.
        for sha256 in {one.image_sha256 for one in near if one.kind == task_store.OPTICS} - types.keys():
            if (kept := inspections.kept_view(connection, product, sha256)) is not None:
                types[sha256] = kept[1].media_type
        yield from ((one, types[one.image_sha256]) for one in near if one.image_sha256 in types)


def _row(wanted: _Wanted, product: str, inspector: str, looks: Mapping[str, Looks], now: datetime) -> Task:
    seen = looks.get(wanted.image_sha256)
    content = "\0".join([product, wanted.image_sha256, inspector, wanted.kind, str(seen.count if seen else 0)])
    return Task(
        id=hashlib.sha256(content.encode()).hexdigest()[:32],
        product=product,
        image_sha256=wanted.image_sha256,
        inspector=inspector,
        kind=wanted.kind,
        book_version=wanted.book_version,
        created_at=now,
        expires_at=now + HELD_FOR,
    )
