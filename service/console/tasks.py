"""Which images an inspector is shown next; blind: nothing here says what anybody or any model thinks of them."""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice

from labeling.book_changes import JUDGE_AGAIN
from labeling.label_book import book_of
from service.console.rankings import Rankings
from storage import adjudications, inspections, labels, pictures
from storage import tasks as task_store
from storage.database import Connection, Database
from storage.labels import Looks
from storage.records import Adjudication, Task

COUNT_LIMIT = 1000
"""Unlabelled images are counted up to here; a line makes more in a day than anybody labels."""
SECOND_LOOK_AFTER = timedelta(hours=4)
"""An inspector is asked about the same image again only when the first look is forgotten."""
LOOKS = 2
"""A second look measures how steady an inspector is; a third adds little."""
GOLDEN_AGAIN_AFTER = timedelta(days=30)
"""There are few images with a known answer: each is good for a check again after this time."""
HELD_FOR = timedelta(minutes=10)
"""Nobody else is asked about an image for this long after an inspector was, as far as there are others to ask about."""
GOLDEN_SHARE = 1 / 20
SELF_REPEAT_SHARE = 1 / 20
JUDGE_AGAIN_SHARE = 1 / 3
"""Of the images shown while there are others; what a new label book calls into question can't wait for ever."""


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

    Among them, unannounced, are images with a known answer, images that the inspector has judged before, and images
    whose definition has changed since. What is handed out is held for this inspector for a while.

    Raises UnknownProduct, DatabaseUnavailable.
    """
    asked = rankings.of(product).asked_of(inspector, now)
    with database.write() as connection:
        # Two inspectors who ask at the same moment: the second one sees what the first one got.
        labels.hold(connection, product)
        version = book_of(connection, product).version
        imported = labels.unlabelled(connection, product, COUNT_LIMIT)
        kept = inspections.unlabelled(connection, product, COUNT_LIMIT)
        # Ordered by hash: imported and kept images mix, so the order gives nothing away.
        fresh = dict(sorted({*imported, *kept})[:COUNT_LIMIT])
        looks = labels.looks_of(connection, product, inspector)
        decided = adjudications.holding(connection, product)
        held = task_store.held_by_others(connection, product, inspector, now)
        waiting = task_store.waiting(connection, product, inspector)
        judged = sum(found.count for found in looks.values())
        main = _main(fresh, asked, looks, decided, held, version, now)
        again = iter({task.image_sha256: _again(task) for task in waiting}.values())
        checks = {
            "golden": lambda: _golden(decided, looks, version, now),
            "self_repeat": lambda: _repeats(looks, decided, version, now),
        }
        mixed = _mixed(main, again, checks, f"{product}/{inspector}", judged)
        chosen = list(islice(_known(connection, product, fresh, mixed, n), n))
        rows = [_row(one, product, inspector, looks, now) for one, _ in chosen]
        task_store.ask(connection, rows, now + HELD_FOR)
    return Worklist(tuple(Shown(one.image_sha256, kind) for one, kind in chosen), len(fresh), judged)


def _main(
    fresh: Mapping[str, str],
    asked: Sequence[str],
    looks: Mapping[str, Looks],
    decided: Mapping[str, Adjudication],
    held: set[str],
    version: int,
    now: datetime,
) -> Iterator[_Wanted]:
    """What nobody has judged, then what the queue wants from this inspector.

    What somebody else is being asked about comes last.
    """
    for is_held in (False, True):
        yield from (_Wanted(sha256, "first", version) for sha256 in fresh if (sha256 in held) is is_held)
        for sha256 in asked:
            if (sha256 in held) is not is_held or sha256 in decided or sha256 in fresh:
                continue
            if sha256 not in looks:
                yield _Wanted(sha256, "second_opinion", version)
            elif _is_forgotten(looks[sha256], now):
                yield _Wanted(sha256, "self_repeat", version)


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


def _again(task: Task) -> _Wanted:
    return _Wanted(task.image_sha256, JUDGE_AGAIN, task.book_version)


def _mixed(
    main: Iterator[_Wanted],
    again: Iterator[_Wanted],
    checks: Mapping[str, Callable[[], Iterator[_Wanted]]],
    whose: str,
    judged: int,
) -> Iterator[_Wanted]:
    """The streams as one, each image once; it ends with the work, so that checks are a share of the work.

    What the k-th judgement of an inspector is about depends on k alone: a page that asks anew gets the same order.
    """
    done: set[str] = set()
    upcoming, upcoming_again = next(main, None), next(again, None)
    place = judged
    while upcoming is not None or upcoming_again is not None:
        chance = _chance(whose, place)
        place += 1
        check = _check(checks, done, chance, f"{whose}/{place}")
        if check is not None:
            one = check
        elif upcoming_again is not None and (upcoming is None or chance >= 1 - JUDGE_AGAIN_SHARE):
            one, upcoming_again = upcoming_again, next(again, None)
        else:
            assert upcoming is not None, "one of the two is there while the loop runs"
            one, upcoming = upcoming, next(main, None)
        if one.image_sha256 not in done:
            done.add(one.image_sha256)
            yield one


def _check(
    checks: Mapping[str, Callable[[], Iterator[_Wanted]]], done: set[str], chance: float, place: str
) -> _Wanted | None:
    """An image for a check where it is time for one."""
    if chance >= GOLDEN_SHARE + SELF_REPEAT_SHARE:
        return None
    kind = "golden" if chance < GOLDEN_SHARE else "self_repeat"
    # The next one after a point on the ring of hashes: it stays the same when others are judged meanwhile.
    point = hashlib.sha256(place.encode()).hexdigest()
    open_ones = (one for one in checks[kind]() if one.image_sha256 not in done)
    return min(open_ones, key=lambda one: (one.image_sha256 < point, one.image_sha256), default=None)


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
