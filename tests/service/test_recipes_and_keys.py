"""Recipes and keys, as the command line writes them."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from service.cli import app
from service.commands.people import KeyUnknown, WrongRecipe
from service.settings import PREFIX, Settings, load_settings
from service.wiring import Stores, open_stores
from storage import keys, labels
from storage import models as model_store
from storage.keys import secret_hash
from storage.records import ImageClass, LabelBook
from tests.service.line.stocked import MADE_AT, PRODUCT, add_champion
from tests.tiny_model import CLASSES


@pytest.fixture
def stores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stores]:
    monkeypatch.chdir(tmp_path)
    for name in Settings.model_fields:
        monkeypatch.delenv(PREFIX + name.upper(), raising=False)
    with open_stores(load_settings()) as opened:
        yield opened


@pytest.fixture
def product(stores: Stores, tmp_path: Path) -> str:
    """A product with a label book and a champion under the default recipe."""
    classes = (*(ImageClass(c.name, c.number, c.ok) for c in CLASSES), ImageClass("dent", 12, False))
    with stores.database.write() as connection:
        labels.add_book(connection, LabelBook(PRODUCT, 1, classes, MADE_AT))
    add_champion(stores, tmp_path)
    return PRODUCT


def loupe(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


def recipe(*arguments: str) -> dict[str, Any]:
    said = loupe("recipe", "set", *arguments, "--json")
    assert said.exit_code == 0, said.output
    found: dict[str, Any] = json.loads(said.stdout)
    return found


def test_each_change_is_a_version_and_keeps_the_rest(stores: Stores, product: str) -> None:
    first = recipe(product, "--deadline-ms", "80", "--disposition", "scratch=rework")
    second = recipe(product, "--fail-safe", "reject", "--disposition", "dent=recheck", "--keep-ok-share", "0.25")
    third = recipe(product, "--deadline-ms", "0")
    assert (first["version"], second["version"], third["version"]) == (2, 3, 4)
    assert (second["deadline_ms"], second["fail_safe"], second["keep_ok_share"]) == (80.0, "reject", 0.25)
    assert second["class_disposition"] == {"scratch": "rework", "dent": "recheck"}
    assert (third["deadline_ms"], third["fail_safe"]) == (None, "reject")
    with stores.database.read() as connection:
        assert model_store.newest_recipes(connection)[product, "*"].version == 4


def test_station_starts_from_what_held_for_all(stores: Stores, product: str) -> None:
    recipe(product, "--deadline-ms", "80")
    own = recipe(product, "--station", "s1", "--on-optics-alarm", "continue")
    assert (own["station"], own["version"], own["deadline_ms"]) == ("s1", 1, 80.0)
    with stores.database.read() as connection:
        found = model_store.newest_recipes(connection)
    s1, s2 = (model_store.recipe_for(found, product, station) for station in ("s1", "s2"))
    assert s1
    assert s2
    assert (s1.on_optics_alarm, s2.on_optics_alarm) == ("continue", "not_decidable")


def test_nothing_is_decided_as_pass_by_default(stores: Stores, product: str) -> None:
    made = recipe(product)
    assert (made["fail_safe"], made["on_optics_alarm"], made["keep_ok_share"]) == ("recheck", "not_decidable", 1.0)


@pytest.mark.parametrize(
    "wrong",
    [
        ("--fail-safe", "pass"), ("--fail-safe", "rework"), ("--on-optics-alarm", "ignore"), ("--deadline-ms", "-1"),
        ("--disposition", "scratch"), ("--disposition", "scratch=pass"), ("--disposition", "=reject "),
    ],
)  # fmt: skip
def test_recipe_that_can_not_hold_is_refused_and_not_stored(
    stores: Stores, product: str, wrong: tuple[str, str]
) -> None:
    said = loupe("recipe", "set", product, *wrong)
    assert isinstance(said.exception, WrongRecipe)
    assert said.exception.remedy
    with stores.database.read() as connection:
        assert model_store.newest_recipes(connection)[product, "*"].version == 1


@pytest.mark.parametrize("share", ["-0.1", "1.1", "all"])
def test_share_outside_of_0_to_1_is_wrong_usage(product: str, share: str) -> None:
    assert loupe("recipe", "set", product, "--keep-ok-share", share).exit_code == 2


def test_operating_point_must_be_one_of_the_champion(product: str) -> None:
    said = loupe("recipe", "set", product, "--operating-point", "strict")
    assert isinstance(said.exception, WrongRecipe)
    assert "standard" in said.exception.remedy
    assert recipe(product, "--operating-point", "standard")["version"] == 2


@pytest.mark.usefixtures("stores")
def test_product_that_does_not_exist_gets_no_recipe() -> None:
    assert isinstance(loupe("recipe", "set", "unheard", "--deadline-ms", "80").exception, WrongRecipe)


def test_only_the_hash_of_a_key_is_stored(stores: Stores) -> None:
    made = json.loads(loupe("keys", "create", "--station", "s1", "--json").stdout)
    with stores.database.read() as connection:
        (key,) = keys.listing(connection)
    assert (key.id, key.station, key.revoked_at) == (made["id"], "s1", None)
    assert key.secret_sha256 == secret_hash(made["key"])
    assert made["key"] not in loupe("keys", "list").output


def test_two_keys_differ(stores: Stores) -> None:
    made = [json.loads(loupe("keys", "create", "--station", "s1", "--json").stdout)["key"] for _ in range(2)]
    assert len(set(made)) == 2


def test_revoked_key_stays_listed_with_its_time(stores: Stores) -> None:
    made = json.loads(loupe("keys", "create", "--station", "s1", "--json").stdout)
    assert loupe("keys", "revoke", made["id"]).exit_code == 0
    (key,) = json.loads(loupe("keys", "list", "--json").stdout)
    assert key["revoked_at"]
    assert isinstance(loupe("keys", "revoke", "unheard").exception, KeyUnknown)
