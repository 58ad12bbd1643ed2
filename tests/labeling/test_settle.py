from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from labeling.settle import UNSURE_WEIGHT, NothingToSettle, settle, to_votes
from labeling.votes import WrongVotes
from storage import adjudications, datasets, labels, models, opinions
from storage.database import Database
from storage.records import Adjudication, Dataset, Label, Opinion
from tests.storage.samples import NOW, PRODUCT, book, hash_of, label, later, model

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


def decision(image: str, class_name: str | None, **changes: object) -> Adjudication:
    found = Adjudication(f"d-{image}", PRODUCT, hash_of(image), class_name, "seen", "lead", 1, NOW, NOW)
    return replace(found, **changes)  # type: ignore[arg-type]  # fields of the record, by name


def settled(database: Database, **how: Any) -> dict[str, dict[str, float]]:
    with database.write() as connection:
        found = settle(connection, PRODUCT, NOW, **how)
        return {row.image_sha256: row.probability for row in datasets.run_rows(connection, found.run.id)}


def test_what_a_lead_decided_is_final_and_another_run(database: Database) -> None:
    store(database, *JUDGED)
    with database.write() as connection:
        before = settle(connection, PRODUCT, NOW)
        adjudications.store(connection, [decision("b", "scratch"), decision("unseen", "dent")])
    found = settled(database)
    assert found[hash_of("b")]["scratch"] > 0.99
    assert found[hash_of("unseen")]["dent"] > 0.99, "an image without a label is settled by the decision alone"
    with database.write() as connection:
        assert settle(connection, PRODUCT, NOW).run.id != before.run.id
        adjudications.store(connection, [decision("b", None, id="back"), decision("unseen", None, id="back too")])
        assert settle(connection, PRODUCT, NOW).run == before.run


def test_the_label_book_s_shares_are_the_known_mix(database: Database) -> None:
    store(database, *JUDGED)
    before = settled(database)
    shares = dict(zip(("good", "scratch", "dent"), (0.98, 0.01, 0.01), strict=True))
    with database.write() as connection:
        classes = tuple(replace(entry, expected_share=shares[entry.name]) for entry in book().classes)
        labels.add_book(connection, replace(book(), version=2, classes=classes))
    known = settled(database)
    assert known[hash_of("a")]["good"] > before[hash_of("a")]["good"]
    assert settled(database, class_prior=shares) == known
    with pytest.raises(WrongVotes, match="rust"):
        settled(database, class_prior={"rust": 1.0})


def test_the_newest_model_s_opinions_are_heeded_where_wanted(database: Database) -> None:
    store(database, *JUDGED)
    alone = settled(database)
    with database.write() as connection:
        run_of = settle(connection, PRODUCT, NOW).run
        dataset = Dataset(hash_of("dataset"), PRODUCT, run_of.id, 1, 2, NOW)
        datasets.store(connection, dataset, [])
        models.store(connection, model("old"))
        models.store(connection, model("new", created_at=later(5)))
        models.store(connection, model("silent", created_at=later(9)))
        said = {"good": 0.01, "scratch": 0.01, "dent": 0.98}
        opinions.store(
            connection,
            [
                Opinion("old", hash_of("a"), {"good": 1.0, "scratch": 0.0, "dent": 0.0}),
                Opinion("new", hash_of("b"), said),
                Opinion("new", hash_of("a"), {"good": 0.5, "bad": 0.5}),
            ],
        )
    heeded = settled(database, with_model=True)
    assert heeded[hash_of("b")]["dent"] > alone[hash_of("b")]["dent"] + 0.05
    assert heeded[hash_of("a")]["scratch"] == pytest.approx(alone[hash_of("a")]["scratch"], abs=0.1)
    assert settled(database) == alone
