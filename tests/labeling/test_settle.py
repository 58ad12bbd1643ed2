import numpy as np
import pytest

from labeling.settle import UNSURE_WEIGHT, NothingToSettle, settle, to_votes
from labeling.votes import WrongVotes
from storage import datasets, labels
from storage.database import Database
from storage.records import Label
from tests.storage.samples import NOW, PRODUCT, book, hash_of, label, later

JUDGED = (
    label("1", image_sha256=hash_of("a"), inspector="mira", class_name="scratch", unsure=False, occasion=0),
    label("2", image_sha256=hash_of("a"), inspector="olaf", class_name="good", unsure=True, occasion=0),
    label("3", image_sha256=hash_of("b"), inspector="olaf", class_name="good", unsure=False, occasion=0),
    label("4", image_sha256=hash_of("b"), inspector="olaf", class_name="dent", unsure=False, occasion=1),
)


def store(database: Database, *new: Label) -> None:
    with database.write() as connection:
        if labels.newest_book(connection, PRODUCT) is None:
            labels.add_book(connection, book())
        labels.store(connection, new)


def test_labels_become_votes() -> None:
    votes, images, inspectors = to_votes(JUDGED, book())
    assert images == tuple(sorted((hash_of("a"), hash_of("b"))))
    assert inspectors == ("mira", "olaf")
    assert [images[n] for n in votes.item] == [found.image_sha256 for found in JUDGED]
    assert votes.label.tolist() == [1, 0, 0, 2]
    assert votes.occasion.tolist() == [0, 0, 0, 1]
    assert votes.weight is not None
    assert votes.weight.tolist() == [1.0, UNSURE_WEIGHT, 1.0, 1.0]


def test_the_posterior_of_every_image_is_stored(database: Database) -> None:
    store(database, *JUDGED)
    with database.write() as connection:
        found = settle(connection, PRODUCT, NOW)
        rows = datasets.run_rows(connection, found.run.id)
        assert datasets.newest_run(connection, PRODUCT) == found.run
    assert (found.run.image_count, found.run.label_count, found.run.book_version) == (2, 4, 1)
    assert tuple(row.image_sha256 for row in rows) == found.images
    for row, expected in zip(rows, found.consensus.probability, strict=True):
        assert list(row.probability) == ["good", "scratch", "dent"]
        np.testing.assert_allclose(list(row.probability.values()), expected, atol=1e-6)
    likeliest = {row.image_sha256: max(row.probability, key=row.probability.__getitem__) for row in rows}
    assert likeliest == {hash_of("a"): "scratch", hash_of("b"): "good"}


def test_the_same_labels_are_one_run_and_one_more_is_another(database: Database) -> None:
    store(database, *JUDGED)
    with database.write() as connection:
        first = settle(connection, PRODUCT, NOW)
        again = settle(connection, PRODUCT, later(60))
    assert again.run == first.run
    store(database, label("5", image_sha256=hash_of("a"), inspector="olaf", class_name="scratch", occasion=1))
    with database.write() as connection:
        assert settle(connection, PRODUCT, later(61)).run.id != first.run.id


def test_other_products_have_no_say(database: Database) -> None:
    store(database, *JUDGED, label("other", product="lid"))
    with database.write() as connection:
        assert settle(connection, PRODUCT, NOW).run.label_count == 4


def test_a_product_without_labels_is_refused(database: Database) -> None:
    with database.write() as connection:
        with pytest.raises(NothingToSettle, match="'cap'"):
            settle(connection, PRODUCT, NOW)
        labels.add_book(connection, book())
        with pytest.raises(NothingToSettle):
            settle(connection, PRODUCT, NOW)


def test_an_unknown_method_is_refused(database: Database) -> None:
    store(database, *JUDGED)
    with database.write() as connection, pytest.raises(WrongVotes, match="guess"):
        settle(connection, PRODUCT, NOW, method="guess")
