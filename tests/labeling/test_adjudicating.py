from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from labeling.adjudicating import Decision, NoReason, NothingToTakeBack, adjudicate
from labeling.label_book import UnknownProduct
from labeling.submitting import IdTaken, UnknownClass, UnknownImage
from storage import adjudications, inspections, labels, pictures
from storage.database import Connection, Database
from tests.storage.samples import NOW, PRODUCT, book, hash_of, image, inspection, later, view

DECISION = Decision("d1", PRODUCT, hash_of("1.png"), "scratch", "deeper than the limit sample", "lea")


@pytest.fixture
def connection(database: Database) -> Iterator[Connection]:
    with database.write() as opened:
        labels.add_book(opened, book())
        pictures.store(opened, [image("1.png")])
        yield opened


def test_a_decision_is_stored_once_with_its_reason(connection: Connection) -> None:
    assert adjudicate(connection, DECISION, NOW)
    assert not adjudicate(connection, replace(DECISION, reason=f"{DECISION.reason} "), later(1)), "sent again"
    (stored,) = adjudications.holding(connection, PRODUCT).values()
    assert (stored.class_name, stored.reason, stored.adjudicator) == ("scratch", DECISION.reason, "lea")
    assert (stored.book_version, stored.decided_at, stored.stored_at) == (1, NOW, NOW)


@pytest.mark.parametrize(
    "other",
    [
        {"class_name": "dent"},
        {"reason": "measured anew"},
        {"adjudicator": "mo"},
        {"image_sha256": hash_of("2.png")},
        {"product": "lid"},
        {"decided_at": later(1)},
    ],
)
def test_another_decision_under_a_taken_id_is_refused(connection: Connection, other: dict[str, Any]) -> None:
    labels.add_book(connection, book(product="lid"))
    pictures.store(connection, [image("2.png"), image("1.png", product="lid")])
    adjudicate(connection, DECISION, NOW)
    with pytest.raises(IdTaken, match="'d1'") as refused:
        adjudicate(connection, replace(DECISION, **other), later(1))
    assert refused.value.remedy
    assert len(adjudications.history(connection, PRODUCT)) == 1


def test_the_newest_decision_holds_until_it_is_taken_back(connection: Connection) -> None:
    adjudicate(connection, DECISION, NOW)
    adjudicate(connection, replace(DECISION, id="d2", class_name="good"), later(1))
    assert [found.class_name for found in adjudications.holding(connection, PRODUCT).values()] == ["good"]
    back = replace(DECISION, id="d3", class_name=None, reason="measured anew")
    assert adjudicate(connection, back, later(2))
    assert adjudications.holding(connection, PRODUCT) == {}
    with pytest.raises(NothingToTakeBack):
        adjudicate(connection, replace(back, id="d4"), later(3))
    assert len(adjudications.history(connection, PRODUCT)) == 3


def test_what_can_not_be_decided_is_refused(connection: Connection) -> None:
    with pytest.raises(UnknownClass, match="'crack'"):
        adjudicate(connection, replace(DECISION, class_name="crack"), NOW)
    with pytest.raises(UnknownImage):
        adjudicate(connection, replace(DECISION, image_sha256=hash_of("gone")), NOW)
    with pytest.raises(NoReason):
        adjudicate(connection, replace(DECISION, reason=" "), NOW)
    with pytest.raises(UnknownProduct):
        adjudicate(connection, replace(DECISION, product="lid"), NOW)
    assert adjudications.history(connection, PRODUCT) == []


def test_an_image_of_the_line_becomes_one_of_the_product(connection: Connection) -> None:
    shown = view("r9", image_sha256=hash_of("line image"))
    inspections.store(connection, [inspection("r9", views=(shown,))])
    assert adjudicate(connection, replace(DECISION, image_sha256=hash_of("line image")), NOW)
    assert pictures.has(connection, PRODUCT, hash_of("line image"))
