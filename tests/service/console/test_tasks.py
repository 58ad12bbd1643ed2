"""What inspectors are shown: blind, mixed, at once, and not the same to two at a time."""

import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import ks_2samp, kstest

from service.console.rankings import Rankings
from service.console.tasks import COUNT_LIMIT, HELD_FOR, Worklist, worklist
from storage import adjudications, labels, pictures
from storage import tasks as task_store
from storage.database import Database, ensure_schema, open_database
from storage.records import Label, Task
from tests.storage.samples import PRODUCT, adjudication, book, hash_of, image, label

AT = datetime(2026, 3, 2, 9, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture
def rankings(database: Database) -> Rankings:
    return Rankings(database)


@pytest.fixture(autouse=True)
def _label_book(database: Database) -> None:
    with database.write() as connection:
        labels.add_book(connection, book())


def put_images(database: Database, *names: str) -> list[str]:
    with database.write() as connection:
        pictures.store(connection, [image(name) for name in names])
    return [hash_of(name) for name in names]


def judged(sha256: str, inspector: str, class_name: str = "good", at: datetime = AT, **more: Any) -> Label:
    plain = {"also": (), "unsure": False, "occasion": 0, "stored_at": at, "judged_at": at, "region": None}
    return label(
        f"{inspector}-{sha256[:12]}-{more.get('occasion', 0)}",
        image_sha256=sha256,
        inspector=inspector,
        class_name=class_name,
        **{**plain, **more},
    )


def store(database: Database, *new: Label) -> None:
    with database.write() as connection:
        labels.store(connection, new)


def shown(found: Worklist) -> list[str]:
    return [task.image_sha256 for task in found.tasks]


def test_two_inspectors_get_different_images_while_there_are_others(database: Database, rankings: Rankings) -> None:
    put_images(database, *(f"{n}.png" for n in range(6)))
    first = shown(worklist(database, rankings, PRODUCT, "mira", 3, AT))
    second = shown(worklist(database, rankings, PRODUCT, "olaf", 3, AT))
    assert not set(first) & set(second)
    third = shown(worklist(database, rankings, PRODUCT, "jo", 3, AT))
    assert len(third) == 3, "what others hold comes last, it is never kept from anybody"
    after = shown(worklist(database, rankings, PRODUCT, "jo", 3, AT + HELD_FOR + timedelta(seconds=1)))
    alone = shown(worklist(database, rankings, PRODUCT, "jo", 6, AT + HELD_FOR + timedelta(seconds=1)))
    assert after == alone[:3], "what was held has its place again"


def test_inspectors_who_ask_at_the_same_moment_get_different_images(database: Database, rankings: Rankings) -> None:
    put_images(database, *(f"{n}.png" for n in range(8)))
    together = threading.Barrier(4)

    def ask(n: int) -> list[str]:
        together.wait()
        return shown(worklist(database, rankings, PRODUCT, f"inspector {n}", 2, AT))

    with ThreadPoolExecutor(4) as pool:
        found = [sha256 for part in pool.map(ask, range(4)) for sha256 in part]
    assert len(set(found)) == 8


@pytest.mark.parametrize("waiting", [300, COUNT_LIMIT + 500])
def test_no_hash_tells_a_check_from_a_new_image(database: Database, rankings: Rankings, waiting: int) -> None:
    """Neither where on the ring of hashes an image lies nor the step from the one before it is of another kind."""
    put_images(database, *(f"{n}.png" for n in range(waiting)))
    golden = put_images(database, *(f"golden {n}.png" for n in range(60)))
    known = put_images(database, *(f"known {n}.png" for n in range(60)))
    store(database, *(judged(sha256, "mira", at=AT - DAY) for sha256 in known))
    store(database, *(judged(sha256, "jo", at=AT - DAY) for sha256 in golden))
    with database.write() as connection:
        adjudications.store(connection, [adjudication(f"a{n}", image_sha256=sha256) for n, sha256 in enumerate(golden)])
    found = worklist(database, rankings, PRODUCT, "mira", 200, AT)
    assert found.unlabelled == min(waiting, COUNT_LIMIT)
    order = shown(found)
    assert len(set(order)) == 200
    is_check = np.isin(order, [*golden, *known])
    assert 8 <= is_check.sum() <= 40
    place = np.array([int(sha256[:12], 16) / 16**12 for sha256 in order])
    step = np.diff(place, prepend=place[-1]) % 1
    # Chance alone gives less than 0.001 in one of a thousand draws; these draws are always the same.
    for seen in (place, step):
        assert ks_2samp(seen[is_check], seen[~is_check]).pvalue > 0.001
        assert kstest(seen[~is_check], "uniform").pvalue > 0.001


def test_asking_again_with_more_waiting_than_are_counted_gives_the_same_again(
    database: Database, rankings: Rankings
) -> None:
    put_images(database, *(f"{n}.png" for n in range(COUNT_LIMIT + 500)))
    first = shown(worklist(database, rankings, PRODUCT, "mira", 12, AT))
    assert shown(worklist(database, rankings, PRODUCT, "mira", 8, AT + timedelta(minutes=1))) == first[:8]
    store(database, judged(first[0], "mira"))
    assert shown(worklist(database, rankings, PRODUCT, "mira", 11, AT + timedelta(minutes=2))) == first[1:]


def test_asking_again_gives_the_same_again(database: Database, rankings: Rankings) -> None:
    put_images(database, *(f"{n}.png" for n in range(6)))
    first = shown(worklist(database, rankings, PRODUCT, "mira", 4, AT))
    assert shown(worklist(database, rankings, PRODUCT, "mira", 4, AT + timedelta(minutes=1))) == first


def test_the_only_missing_second_opinion_goes_to_one_of_two(database: Database, rankings: Rankings) -> None:
    needs, known = put_images(database, "needs.png", "known.png")
    store(database, judged(needs, "jo", "dent"), judged(known, "jo"), judged(known, "kim"))
    first = shown(worklist(database, rankings, PRODUCT, "mira", 1, AT))
    second = shown(worklist(database, rankings, PRODUCT, "olaf", 1, AT))
    assert {*first, *second} == {needs, known}
    (last,) = shown(worklist(database, rankings, PRODUCT, "lee", 1, AT))
    assert last in {needs, known}, "where nothing else is open, both are asked"


def simulate(database: Database, rankings: Rankings, inspector: str, count: int) -> Counter[str]:
    """An inspector who works off what is shown, one image at a time; how often each kind was shown."""
    kinds: Counter[str] = Counter()
    for n in range(count):
        at = AT + timedelta(minutes=n)
        (sha256,) = shown(worklist(database, rankings, PRODUCT, inspector, 1, at))
        with database.write() as connection:
            looks = labels.occasions(connection, PRODUCT, sha256, inspector)
            new = judged(sha256, inspector, at=at, occasion=len(looks))
            labels.store(connection, [new])
            (task, *_) = task_store.done(connection, PRODUCT, sha256, inspector, new.id)
        kinds[task.kind] += 1
    return kinds


def test_checks_are_mixed_in_at_their_share(tmp_path: Path) -> None:
    database = open_database(f"sqlite:///{tmp_path / 'tasks.db'}")
    ensure_schema(database)
    with database.write() as connection:
        labels.add_book(connection, book())
    put_images(database, *(f"{n}.png" for n in range(400)))
    golden = put_images(database, *(f"golden {n}.png" for n in range(40)))
    known = put_images(database, *(f"known {n}.png" for n in range(40)))
    store(database, *(judged(sha256, "mira", at=AT - DAY) for sha256 in known))
    store(database, *(judged(sha256, "jo", at=AT - DAY) for sha256 in golden))
    with database.write() as connection:
        adjudications.store(connection, [adjudication(f"a{n}", image_sha256=sha256) for n, sha256 in enumerate(golden)])
    kinds = simulate(database, Rankings(database), "mira", 200)
    database.close()
    assert kinds.total() == 200
    # Of 200, 10 are expected of each kind of check; 3 and 21 are what chance leaves out once in a thousand.
    assert 3 <= kinds["golden"] <= 21
    assert 3 <= kinds["self_repeat"] <= 21
    assert kinds["first"] == 200 - kinds["golden"] - kinds["self_repeat"]


def test_an_inspector_who_has_nothing_else_to_do_is_not_checked(database: Database, rankings: Rankings) -> None:
    (golden,) = put_images(database, "golden.png")
    store(database, judged(golden, "jo", at=AT - DAY))
    with database.write() as connection:
        adjudications.store(connection, [adjudication(image_sha256=golden)])
    assert shown(worklist(database, rankings, PRODUCT, "mira", 8, AT)) == []


def test_a_decided_image_asks_for_no_second_opinion(database: Database, rankings: Rankings) -> None:
    decided, other = put_images(database, "decided.png", "other.png")
    store(database, judged(decided, "jo", "dent"), judged(other, "jo"))
    with database.write() as connection:
        adjudications.store(connection, [adjudication(image_sha256=decided)])
    assert shown(worklist(database, rankings, PRODUCT, "mira", 8, AT)) == [other]


def test_what_is_to_be_judged_again_comes_at_once_however_fresh_the_first_look_is(
    database: Database, rankings: Rankings
) -> None:
    doubtful, by_import = put_images(database, "doubtful.png", "import.png")
    store(database, judged(doubtful, "mira"), judged(by_import, "import"))
    waiting = Task("t", PRODUCT, doubtful, "mira", "judge_again", 2, AT, None)
    with database.write() as connection:
        labels.add_book(connection, book(2))
        task_store.ask(connection, [waiting, replace(waiting, id="u", image_sha256=by_import, inspector="")], None)
    found = shown(worklist(database, rankings, PRODUCT, "mira", 8, AT))
    assert sorted(found) == sorted([doubtful, by_import])
    assert shown(worklist(database, rankings, PRODUCT, "olaf", 8, AT))[-1:] != []


def test_a_slow_ranking_is_made_beside_while_the_page_gets_the_one_before(database: Database) -> None:
    (first, second) = put_images(database, "1.png", "2.png")
    store(database, judged(first, "jo"))
    rankings = Rankings(database, instant_s=0)
    made = rankings.of(PRODUCT)
    assert made.images == (first,)
    store(database, judged(second, "jo"))
    assert rankings.of(PRODUCT).images == made.images, "the one before"
    for thread in threading.enumerate():
        if thread.name == "ranking":
            thread.join(10)
    assert set(rankings.of(PRODUCT).images) == {first, second}


@pytest.fixture(autouse=True)
def _no_thread_left() -> Iterator[None]:
    yield
    assert not [thread for thread in threading.enumerate() if thread.name == "ranking"]


def test_what_only_the_book_can_settle_is_found_beside_and_stays_known_when_a_label_comes(
    database: Database, rankings: Rankings
) -> None:
    """Two inspectors see 20 images twice; from image 8 or 12 on each of them calls an image a scratch, every time."""
    names = [f"{n:02}.png" for n in range(20)]
    given = [
        label(
            f"{who}-{n}-{look}",
            image_sha256=hash_of(name),
            inspector=who,
            class_name="scratch" if n >= border else "good",
            occasion=look,
        )
        for n, name in enumerate(names)
        for who, border in (("mira", 12), ("olaf", 8))
        for look in range(2)
    ]
    with database.write() as connection:
        pictures.store(connection, [image(name) for name in names])
        labels.store(connection, given)
    between = {hash_of(name) for name in names[8:12]}
    give_up = time.monotonic() + 20
    while rankings.of(PRODUCT).at_fault != between:
        assert time.monotonic() < give_up, rankings.of(PRODUCT).at_fault
        time.sleep(0.02)
    with database.write() as connection:
        labels.store(connection, [label("one more", image_sha256=hash_of("00.png"), inspector="jo", occasion=0)])
    now = rankings.of(PRODUCT)
    assert "jo" in now.inspectors
    assert now.at_fault == between
    assert not set(now.asked_of("jo", AT)) & between
