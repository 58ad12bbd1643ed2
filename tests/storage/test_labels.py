"""Which labels count, and what their classes are called today."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from storage import adjudications, labels, pictures, tasks
from storage.database import Connection, Database
from storage.labels import BookChanged, Looks
from storage.records import ImageClass
from tests.storage import samples
from tests.storage.samples import NOW, PRODUCT, hash_of, later


@pytest.fixture
def connection(database: Database) -> Iterator[Connection]:
    with database.write() as opened:
        yield opened


def test_a_withdrawn_label_no_longer_counts_and_stays(connection: Connection) -> None:
    pictures.store(connection, [samples.image("1.png")])
    labels.store(connection, [samples.label("1"), samples.label("2", occasion=2)])
    before = labels.state(connection, PRODUCT)
    assert labels.withdraw(connection, samples.withdrawal("1"))
    assert not labels.withdraw(connection, samples.withdrawal("1", reason="again")), "the first word stands"
    assert [found.id for found in labels.of_product(connection, PRODUCT)] == ["2"]
    assert labels.find(connection, "1") == samples.label("1")
    assert labels.ids(connection, PRODUCT) == {"1", "2"}
    assert list(labels.occasions(connection, PRODUCT, hash_of("1.png"), "mira")) == [2]
    assert labels.withdrawn(connection, PRODUCT) == [samples.withdrawal("1")]
    assert labels.state(connection, PRODUCT) != before


def test_an_image_whose_labels_are_all_withdrawn_waits_for_one_again(connection: Connection) -> None:
    pictures.store(connection, [samples.image("1.png"), samples.image("2.png")])
    labels.store(connection, [samples.label("1")])
    assert labels.unlabelled(connection, PRODUCT, 9) == [(hash_of("2.png"), "image/png")]
    labels.withdraw(connection, samples.withdrawal("1"))
    assert labels.unlabelled(connection, PRODUCT, 9) == sorted(
        (hash_of(name), "image/png") for name in ("1.png", "2.png")
    )
    assert labels.unlabelled(connection, PRODUCT, 1) == labels.unlabelled(connection, PRODUCT, 9)[:1]
    (_, last) = labels.unlabelled(connection, PRODUCT, 9)
    assert labels.unlabelled(connection, PRODUCT, 9, last[0]) == [last], "from a hash on"


def test_looks_say_how_often_and_when_last(connection: Connection) -> None:
    new = [
        samples.label("1", occasion=0),
        samples.label("2", judged_at=later(9)),
        samples.label("3", judged_at=None, stored_at=later(5), image_sha256=hash_of("2.png")),
        samples.label("4", inspector="olaf"),
    ]
    labels.store(connection, new)
    found = labels.looks_of(connection, PRODUCT, "mira")
    assert found == {hash_of("1.png"): Looks(2, later(9)), hash_of("2.png"): Looks(1, later(5))}
    assert labels.looks_of(connection, PRODUCT, "nobody") == {}


def test_labels_and_decisions_are_read_under_the_names_of_today(connection: Connection) -> None:
    first = samples.book(1)
    # Names that change places: only by number can the two be told apart.
    swapped = (first.classes[0], replace(first.classes[1], name="dent"), replace(first.classes[2], name="scratch"))
    for book in (first, samples.book(2, classes=swapped)):
        labels.add_book(connection, book)
    labels.store(connection, [samples.label("old"), samples.label("new", book_version=2, occasion=2)])
    adjudications.store(connection, [samples.adjudication(class_name="dent", book_version=1)])
    found = {label.id: (label.class_name, label.also) for label in labels.of_product(connection, PRODUCT)}
    assert found == {"old": ("dent", ("scratch",)), "new": ("scratch", ("dent",))}
    assert adjudications.holding(connection, PRODUCT)[hash_of("1.png")].class_name == "scratch"
    assert labels.find(connection, "old") == samples.label("old"), "the record itself stays"


def test_a_version_that_somebody_else_wrote_is_not_overwritten(connection: Connection) -> None:
    labels.add_book(connection, samples.book(1))
    labels.add_book(connection, samples.book(2))
    with pytest.raises(BookChanged, match="at version 2, the change was made from 1") as refused:
        labels.add_book(connection, samples.book(2, classes=(ImageClass("good", 0, True),)))
    assert "version 2" in refused.value.remedy
    assert labels.book_history(connection, PRODUCT) == [samples.book(2), samples.book(1)]


def test_one_transaction_at_a_time_holds_a_product(database: Database) -> None:
    inside: list[str] = []
    together = threading.Barrier(4)

    def enter(name: str) -> None:
        together.wait()
        with database.write() as connection:
            labels.hold(connection, PRODUCT)
            inside.append(name)
            labels.add_book(connection, samples.book(1, product=name))
            inside.append(name)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(enter, "abcd"))
    assert inside[::2] == inside[1::2]


def test_the_newest_decision_about_an_image_holds(connection: Connection) -> None:
    other = hash_of("2.png")
    made = [
        samples.adjudication("1"),
        samples.adjudication("2", class_name="good", stored_at=later(-99)),  # a clock that was set back
        samples.adjudication("3", image_sha256=other),
        samples.adjudication("4", image_sha256=other, class_name=None),
        samples.adjudication("5", product="lid"),
    ]
    assert [adjudications.store(connection, [one]) for one in made] == [1] * 5
    assert adjudications.store(connection, [samples.adjudication("1", class_name="scratch")]) == 0
    holding = adjudications.holding(connection, PRODUCT)
    assert {image: decision.class_name for image, decision in holding.items()} == {hash_of("1.png"): "good"}
    assert [one.id for one in adjudications.history(connection, PRODUCT)] == ["4", "3", "2", "1"]
    assert [one.id for one in adjudications.history(connection, PRODUCT, other)] == ["4", "3"]


def test_what_an_inspector_is_asked_about_is_held_from_others_until_it_expires(connection: Connection) -> None:
    asked = samples.task("t1", label_id=None)
    tasks.ask(connection, [asked], later(600))
    assert tasks.held_by_others(connection, PRODUCT, "olaf", NOW) == {hash_of("1.png")}
    assert tasks.held_by_others(connection, PRODUCT, "mira", NOW) == set()
    assert tasks.held_by_others(connection, PRODUCT, "olaf", later(601)) == set()
    tasks.ask(connection, [asked], later(1200))
    assert tasks.held_by_others(connection, PRODUCT, "olaf", later(601)) == {hash_of("1.png")}


def test_a_label_does_what_was_asked_and_its_withdrawal_opens_it_again(connection: Connection) -> None:
    held = samples.task("held", label_id=None)
    waits = samples.task("waits", expires_at=None, label_id=None)
    for_anybody = samples.task("anybody", inspector="", expires_at=None, label_id=None)
    of_olaf = samples.task("olaf", inspector="olaf", expires_at=None, label_id=None)
    tasks.ask(connection, [held], later(600))
    tasks.ask(connection, [waits, for_anybody, of_olaf], None)
    assert {task.id for task in tasks.waiting(connection, PRODUCT, "mira")} == {"waits", "anybody"}
    done = tasks.done(connection, PRODUCT, hash_of("1.png"), "mira", "label-1")
    assert {task.id for task in done} == {"held", "waits", "anybody"}
    assert tasks.waiting(connection, PRODUCT, "mira") == []
    assert tasks.held_by_others(connection, PRODUCT, "olaf", NOW) == set()
    assert tasks.done(connection, PRODUCT, hash_of("1.png"), "mira", "label-2") == []
    tasks.reopen(connection, "label-1")
    assert {task.id for task in tasks.waiting(connection, PRODUCT, "mira")} == {"waits", "anybody"}
