"""The stores that hold one noun each and little else: labels, pictures, datasets, models, happenings, keys."""

from collections.abc import Iterator

import pytest

from storage import datasets, happenings, keys, labels, models, pictures
from storage.database import Connection, Database
from tests.storage import samples
from tests.storage.samples import NOW, PRODUCT, hash_of, later


@pytest.fixture
def connection(database: Database) -> Iterator[Connection]:
    with database.write() as opened:
        yield opened


def add_dataset(connection: Connection) -> None:
    datasets.store_run(connection, samples.run(), [samples.consensus_row()])
    datasets.store(connection, samples.dataset(), [samples.dataset_item()])


def test_labels_are_appended_once(connection: Connection) -> None:
    assert labels.store(connection, [samples.label("1"), samples.label("2", inspector="olaf")]) == 2
    assert labels.store(connection, [samples.label("1", class_name="good"), samples.label("3")]) == 1
    assert [found.id for found in labels.of_product(connection, PRODUCT)] == ["1", "2", "3"]
    assert labels.of_product(connection, PRODUCT)[0] == samples.label("1")
    assert list(labels.occasions(connection, PRODUCT, hash_of("1.png"), "olaf")) == [1]
    assert labels.occasions(connection, PRODUCT, hash_of("2.png"), "mira") == {}


def test_the_newest_version_of_a_label_book_holds(connection: Connection) -> None:
    assert labels.newest_book(connection, PRODUCT) is None
    for version in (1, 2, 10):
        labels.add_book(connection, samples.book(version))
    labels.add_book(connection, samples.book(1, product="lid"))
    assert labels.newest_book(connection, PRODUCT) == samples.book(10)
    assert labels.book(connection, PRODUCT, 2) == samples.book(2)
    assert labels.book(connection, PRODUCT, 3) is None
    assert labels.newest_books(connection) == {PRODUCT: samples.book(10), "lid": samples.book(1, product="lid")}


def test_pictures_belong_to_a_product(connection: Connection) -> None:
    assert pictures.store(connection, [samples.image("1.png"), samples.image("2.png")]) == 2
    assert pictures.store(connection, [samples.image("1.png", lot="other"), samples.image("1.png", product="lid")]) == 1
    assert sorted(found.name for found in pictures.of_product(connection, PRODUCT)) == ["1.png", "2.png"]
    assert pictures.has(connection, "lid", hash_of("1.png"))
    assert not pictures.has(connection, "lid", hash_of("2.png"))
    assert pictures.media_type(connection, hash_of("2.png")) == "image/png"
    assert pictures.media_type(connection, hash_of("none")) is None
    assert pictures.media_types(connection, "lid", [hash_of("1.png"), hash_of("2.png")]) == {
        hash_of("1.png"): "image/png"
    }


def test_a_picture_waits_for_a_label_until_it_has_one(connection: Connection) -> None:
    pictures.store(connection, [samples.image("1.png"), samples.image("2.png")])
    labels.store(connection, [samples.label(image_sha256=hash_of("1.png"))])
    assert labels.unlabelled(connection, PRODUCT, 9) == [(hash_of("2.png"), "image/png")]


def test_a_settling_and_a_dataset_are_stored_once(connection: Connection) -> None:
    assert datasets.store_run(connection, samples.run(), [samples.consensus_row()])
    assert not datasets.store_run(connection, samples.run(settled_at=later(9)), [samples.consensus_row("2.png")])
    assert datasets.run(connection, hash_of("run")) == samples.run()
    assert datasets.run_rows(connection, hash_of("run")) == [samples.consensus_row()]
    assert datasets.store(connection, samples.dataset(), [samples.dataset_item()])
    assert not datasets.store(connection, samples.dataset(created_at=later(9)), [samples.dataset_item("2.png")])
    assert datasets.items(connection, hash_of("dataset")) == [samples.dataset_item()]
    assert datasets.find(connection, hash_of("dataset")[:8]) == [samples.dataset()]
    assert datasets.find(connection, "%") == [], "a prefix is no pattern"


def test_the_newest_settling_and_dataset_are_found_by_product(connection: Connection) -> None:
    add_dataset(connection)
    newer = samples.run("newer", settled_at=later(5))
    datasets.store_run(connection, newer, [])
    datasets.store(connection, samples.dataset("lid", product="lid", created_at=later(9)), [])
    assert datasets.newest_run(connection, PRODUCT) == newer
    assert datasets.newest(connection, PRODUCT) == samples.dataset()
    assert datasets.newest(connection) == samples.dataset("lid", product="lid", created_at=later(9))
    assert datasets.newest(connection, "none") is None
    assert datasets.newest_run(connection, "none") is None


def test_a_group_has_the_split_that_it_was_given_first(connection: Connection) -> None:
    add_dataset(connection)
    datasets.store(
        connection,
        samples.dataset("later", created_at=later(1)),
        [
            samples.dataset_item(dataset_id=hash_of("later"), split="test"),
            samples.dataset_item("2.png", dataset_id=hash_of("later"), split="test"),
        ],
    )
    assert datasets.splits(connection, PRODUCT) == {"part-1.png": "train", "part-2.png": "test"}
    assert datasets.splits(connection, "lid") == {}


def test_models_are_found_by_the_beginning_of_id_or_hash(connection: Connection) -> None:
    add_dataset(connection)
    assert models.store(connection, samples.model("aa11"))
    assert not models.store(connection, samples.model("aa11", created_at=later(9)))
    assert models.store(connection, samples.model("bb22", created_at=later(1)))
    assert models.find(connection, "aa") == [samples.model("aa11")]
    assert models.find(connection, hash_of("bb22")[:10]) == [samples.model("bb22", created_at=later(1))]
    assert models.find(connection, "_a") == []
    assert [found.id for found in models.listing(connection, PRODUCT)] == ["bb22", "aa11"]
    assert models.listing(connection, "lid") == []
    assert set(models.models_by_id(connection, ["aa11", "zz"])) == {"aa11"}


def test_the_last_promotion_of_a_product_decides(connection: Connection) -> None:
    add_dataset(connection)
    for model_id in ("aa11", "bb22"):
        models.store(connection, samples.model(model_id))
    models.store(connection, samples.model("cc33", product="lid"))
    models.promote(connection, samples.promotion("aa11"))
    models.promote(connection, samples.promotion("cc33", product="lid"))
    models.promote(connection, samples.promotion("bb22", promoted_at=later(-60)))  # a clock that was set back
    champions = models.champions(connection)
    assert {product: promotion.model_id for product, promotion in champions.items()} == {PRODUCT: "bb22", "lid": "cc33"}
    assert [promotion.model_id for promotion in models.history(connection, PRODUCT)] == ["bb22", "aa11"]
    seqs = [promotion.seq or 0 for promotion in models.history(connection, PRODUCT)]
    assert seqs == sorted(seqs, reverse=True)


def test_a_station_has_its_own_recipe_or_the_one_for_all(connection: Connection) -> None:
    for recipe in (samples.recipe(1), samples.recipe(2), samples.recipe(1, station="press-1")):
        models.add_recipe(connection, recipe)
    found = models.newest_recipes(connection)
    assert models.recipe_for(found, PRODUCT, "press-1") == samples.recipe(1, station="press-1")
    assert models.recipe_for(found, PRODUCT, "press-2") == samples.recipe(2)
    assert models.recipe_for(found, "lid", "press-1") is None


def test_happenings_are_stored_once_and_listed_newest_first(connection: Connection) -> None:
    assert happenings.store_alarms(connection, [samples.alarm("1"), samples.alarm("2", raised_at=later(1))]) == 2
    assert happenings.store_alarms(connection, [samples.alarm("1")]) == 0
    assert [found.id for found in happenings.latest_alarms(connection, 9)] == ["2", "1"]
    found = [samples.event("1"), samples.event("2", kind="optics_alarm_cleared", happened_at=later(1))]
    assert happenings.store_events(connection, found) == 2
    assert happenings.latest_events(connection, 1) == found[1:]
    assert happenings.latest_events(connection, 9, "model_loaded") == found[:1]


def test_a_revoked_key_stays_in_the_list(connection: Connection) -> None:
    key = samples.key("1", revoked_at=None)
    keys.add(connection, key)
    keys.add(connection, samples.key("2", created_at=later(1), revoked_at=None))
    assert [found.revoked_at for found in keys.listing(connection)] == [None, None]
    keys.revoke(connection, samples.key("1", revoked_at=later(3)))
    assert [(found.id, found.revoked_at) for found in keys.listing(connection)] == [("1", later(3)), ("2", None)]
    assert keys.secret_hash("s") == "043a718774c572bd8a25adbeb1bfcd5c0256ae11cecf9f9c3f925d0e52beaf89"
    assert keys.listing(connection)[0].created_at == NOW
