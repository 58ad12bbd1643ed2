"""Recipes and keys, as the command line writes them."""

import contextlib
import json
import os
import pty
import re
import subprocess
import sys
import termios
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from service.cli import app
from service.commands.keys import KeyUnknown, NoStationName
from service.commands.recipes import RecipeUnknown, VersionUnknown
from service.recipe_files import CONTENT
from service.recipe_rules import WrongRecipe
from service.settings import PREFIX, Settings, load_settings
from service.wiring import Stores, open_stores
from service.yaml_text import WrongYaml
from storage import keys, labels
from storage import models as model_store
from storage.keys import secret_hash
from storage.records import ImageClass, LabelBook
from tests.service.line.stocked import MADE_AT, PRODUCT, add_champion
from tests.tiny_model import CLASSES

REPOSITORY = Path(__file__).parents[2]


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
    assert (made["fail_safe"], made["on_optics_alarm"], made["keep_ok_share"]) == ("recheck", "not_decidable", 0.1)


@pytest.mark.parametrize(
    "wrong",
    [
        ("--fail-safe", "pass"), ("--fail-safe", "rework"), ("--on-optics-alarm", "ignore"), ("--deadline-ms", "-1"),
        ("--disposition", "scratch"), ("--disposition", "scratch=pass"), ("--disposition", "=reject "),
        ("--disposition", "good=reject"), ("--view", " top"), ("--view", "a\tb"), ("--challenge-every-h", "-1"),
        ("--lamp", ""), ("--lamp", " red"), ("--lamp", "top=red"), ("--lamp", "=red"),
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


@pytest.mark.parametrize(
    ("wrong", "valid"),
    [
        (("--fail-safe", "pass"), "recheck or reject"),
        (("--on-optics-alarm", "ignore"), "not_decidable, correct or continue"),
        (("--disposition", "scratch=pass"), "reject, rework or recheck"),
        (("--disposition", "scratch"), "CLASS=reject|rework|recheck"),
        (("--disposition", "good=reject"), "dent, scratch"),
        (("--deadline-ms", "-1"), "above 0 and below 10000000"),
        (("--challenge-every-h", "-1"), "above 0"),
        (("--operating-point", "strict"), "standard"),
        (("--view", " top"), "without a space at either end"),
        (("--lamp", "0=red "), "without a space at either end"),
        (("--lamp", "top=red"), "use one of 0"),
    ],
)
def test_remedy_names_what_would_be_right(product: str, wrong: tuple[str, str], valid: str) -> None:
    refused = loupe("recipe", "set", product, *wrong).exception
    assert isinstance(refused, WrongRecipe)
    assert valid in refused.remedy


def test_recipe_or_product_that_is_not_there_is_answered_with_those_that_are(product: str) -> None:
    no_product = loupe("recipe", "set", "unheard", "--deadline-ms", "80").exception
    assert isinstance(no_product, WrongRecipe)
    assert product in no_product.remedy
    no_recipe = loupe("recipe", "check", product, "--station", "s9").exception
    assert isinstance(no_recipe, RecipeUnknown)
    assert f"{product}@*" in no_recipe.remedy
    no_version = loupe("recipe", "rollback", product, "--version", "9").exception
    assert isinstance(no_version, VersionUnknown)
    assert "from 1 to 1" in no_version.remedy


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


def test_views_and_challenges_are_set_kept_and_taken_away(product: str) -> None:
    first = recipe(product, "--view", "top", "--view", "side", "--challenge-every-h", "12")
    assert (first["expected_views"], first["challenge_every_h"]) == (["top", "side"], 12.0)
    second = recipe(product, "--keep-ok-share", "0.5")
    assert (second["expected_views"], second["challenge_every_h"]) == (["top", "side"], 12.0)
    third = recipe(product, "--view", "top", "--challenge-every-h", "0")
    assert (third["expected_views"], third["challenge_every_h"]) == (["top"], None)
    assert recipe(product, "--no-views")["expected_views"] == []
    assert loupe("recipe", "set", product, "--view", "top", "--no-views").exit_code == 2
    assert isinstance(loupe("recipe", "set", product, "--view", "a", "--view", "a").exception, WrongRecipe)


def test_lamps_are_named_kept_and_taken_away(product: str) -> None:
    assert recipe(product, "--lamp", "red")["lamps"] == {"0": "red"}
    assert recipe(product, "--deadline-ms", "80")["lamps"] == {"0": "red"}
    assert recipe(product, "--lamp", "0=")["lamps"] == {}
    views = ("--view", "top", "--view", "side")
    assert recipe(product, *views, "--lamp", "top=red", "--lamp", "side=k=2")["lamps"] == {"top": "red", "side": "k=2"}
    assert recipe(product, "--lamp", "side=", "--lamp", "top=dark field")["lamps"] == {"top": "dark field"}
    assert recipe(product, "--station", "s1", "--lamp", "side=blue")["lamps"] == {"top": "dark field", "side": "blue"}


def test_a_view_leaves_a_recipe_together_with_its_lamp(product: str) -> None:
    recipe(product, "--view", "top", "--view", "side", "--lamp", "side=red")
    refused = loupe("recipe", "set", product, "--view", "top").exception
    assert isinstance(refused, WrongRecipe)
    assert "--lamp 'side='" in refused.remedy
    assert recipe(product, "--view", "top", "--lamp", "side=")["lamps"] == {}


def test_every_version_is_shown_with_what_it_changed(product: str) -> None:
    recipe(product, "--deadline-ms", "80")
    recipe(product, "--deadline-ms", "90", "--disposition", "scratch=rework")
    found = json.loads(loupe("recipe", "history", product, "--json").stdout)
    assert [(r["version"], r["changed"]) for r in found] == [
        (3, ["class_disposition", "deadline_ms"]),
        (2, ["deadline_ms"]),
        (1, None),
    ]
    assert "deadline_ms 80 -> 90" in loupe("recipe", "history", product).output
    assert isinstance(loupe("recipe", "history", product, "--station", "s9").exception, RecipeUnknown)


def test_rollback_is_a_new_version_with_the_former_content(stores: Stores, product: str) -> None:
    recipe(product, "--deadline-ms", "80", "--view", "top")
    recipe(product, "--deadline-ms", "0", "--no-views")
    said = json.loads(loupe("recipe", "rollback", product, "--version", "2", "--json").stdout)
    assert (said["version"], said["deadline_ms"], said["expected_views"]) == (4, 80.0, ["top"])
    with stores.database.read() as connection:
        assert [r.version for r in model_store.recipe_history(connection, product, "*")] == [4, 3, 2, 1]
    assert isinstance(loupe("recipe", "rollback", product, "--version", "9").exception, VersionUnknown)


def test_rollback_to_what_no_longer_holds_is_refused(stores: Stores, product: str) -> None:
    with stores.database.write() as connection:
        first = model_store.newest_recipes(connection)[product, "*"]
        model_store.add_recipe(connection, replace(first, version=2, operating_point="strict"))
        model_store.add_recipe(connection, replace(first, version=3))
    assert isinstance(loupe("recipe", "rollback", product, "--version", "2").exception, WrongRecipe)


def test_check_takes_what_nobody_can_tell_yet_as_a_problem(stores: Stores, product: str) -> None:
    said = loupe("recipe", "check", "--json")
    assert (said.exit_code, json.loads(said.stdout)) == (0, {"ok": True, "recipes": 1, "problems": []})
    with stores.database.write() as connection:
        held = model_store.newest_recipes(connection)[product, "*"]
        model_store.add_recipe(connection, replace(held, version=2, operating_point="strict"))
        model_store.add_recipe(connection, replace(held, product="untrained", version=1))
    said = loupe("recipe", "check", "--json")
    assert said.exit_code == 1
    found = [(p["product"], p["field"]) for p in json.loads(said.stdout)["problems"]]
    assert found == [(product, "operating_point"), ("untrained", "product"), ("untrained", "operating_point")]
    assert "2 recipes, 3 problems" in loupe("recipe", "check").output
    assert json.loads(loupe("recipe", "check", "untrained", "--json").stdout)["recipes"] == 1
    assert isinstance(loupe("recipe", "check", "unheard").exception, RecipeUnknown)


def test_recipe_that_somebody_else_wrote_meanwhile_is_not_overwritten(stores: Stores, product: str) -> None:
    with stores.database.write() as connection:
        held = model_store.newest_recipes(connection)[product, "*"]
        with pytest.raises(model_store.RecipeChanged) as refused:
            model_store.add_recipe(connection, replace(held, deadline_ms=9))
        assert refused.value.remedy
        assert model_store.newest_recipes(connection)[product, "*"] == held


def test_show_can_be_narrowed(product: str) -> None:
    recipe(product, "--station", "s1", "--view", "top")
    assert [r["station"] for r in json.loads(loupe("recipe", "show", "--json").stdout)] == ["*", "s1"]
    (own,) = json.loads(loupe("recipe", "show", product, "--station", "s1", "--json").stdout)
    assert own["expected_views"] == ["top"]
    assert product in loupe("recipe", "show").output
    assert isinstance(loupe("recipe", "show", "unheard").exception, RecipeUnknown)


def test_one_recipe_is_shown_field_by_field(product: str) -> None:
    views = ("--view", "top", "--view", "side", "--lamp", "top=red", "--lamp", "side=dark field")
    recipe(product, "--deadline-ms", "80", *views, "--disposition", "scratch=rework")
    shown = loupe("recipe", "show").output
    for name, value in (
        ("deadline_ms", "80"),
        ("expected_views", "top, side"),
        ("lamps", "side=dark field, top=red"),
        ("class_disposition", "scratch=rework"),
    ):
        assert re.search(rf"{name} +│ {value} ", shown)
    assert [name for name in CONTENT if name not in shown] == []


def test_several_recipes_are_shown_by_what_sets_them_apart(product: str) -> None:
    recipe(product, "--station", "s1", "--deadline-ms", "80", "--fail-safe", "reject")
    shown = loupe("recipe", "show").output
    assert re.search(rf"{product} +│ \* +│ 1 +│ nothing ", shown)
    assert re.search(rf"{product} +│ s1 +│ 1 +│ fail_safe reject; deadline_ms 80 ", shown)


@pytest.mark.usefixtures("stores")
def test_where_there_is_no_recipe_the_way_to_one_is_shown() -> None:
    assert "loupe promote" in loupe("recipe", "show").output


def test_recipes_fit_a_terminal_of_80_columns(product: str, tmp_path: Path) -> None:
    everything = ("--deadline-ms", "80", "--disposition", "scratch=rework", "--disposition", "dent=recheck",
                  "--challenge-every-h", "12", "--keep-ok-share", "0.25", "--fail-safe", "reject")  # fmt: skip
    views = [
        word
        for view in ("top left", "top right", "bottom left", "bottom right")
        for word in ("--view", view, "--lamp", f"{view}=dark field")
    ]
    recipe(product, *everything, *views)
    recipe(product, "--station", "line-3-station-12", "--on-optics-alarm", "continue")
    for chosen in ((), (product, "--station", "*")):
        lines = on_terminal(80, "recipe", "show", *chosen)
        assert max(map(len, lines)) <= 80
        assert not any("…" in line for line in lines), "nothing is cut"


def on_terminal(width: int, *arguments: str) -> list[str]:
    """What the command writes to a terminal of so many columns, line by line and without its colours."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (50, width))
    command = [sys.executable, "-m", "service.cli", *arguments]
    environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    process = subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, env={**environment, "PYTHONPATH": str(REPOSITORY)}
    )
    os.close(theirs)
    said = b""
    with contextlib.suppress(OSError):  # Linux ends a terminal nobody holds any more with EIO
        while piece := os.read(ours, 65536):
            said += piece
    os.close(ours)
    assert process.wait(20) == 0, said.decode()
    return re.sub(r"\x1b\[[0-9;]*m", "", said.decode()).splitlines()


def test_what_was_exported_is_imported_without_a_change(stores: Stores, product: str, tmp_path: Path) -> None:
    recipe(product, "--deadline-ms", "80.5", "--disposition", "scratch=rework", "--view", "top", "--view", "side")
    recipe(product, "--station", "s1", "--challenge-every-h", "8", "--lamp", "top=red", "--lamp", "side=dark field")
    file = tmp_path / "recipes.yaml"
    file.write_text(loupe("recipe", "export").stdout)
    said = json.loads(loupe("recipe", "import", str(file), "--json").stdout)
    assert (said["changed"], said["unchanged"]) == ([], [f"{product}@*", f"{product}@s1"])
    assert loupe("recipe", "export", product, "--station", "s1").stdout.count("product:") == 1
    with stores.database.read() as connection:
        assert len(model_store.recipe_history(connection, product, "s1")) == 1


def test_import_says_what_changed_and_a_dry_run_writes_nothing(stores: Stores, product: str, tmp_path: Path) -> None:
    recipe(product, "--deadline-ms", "80", "--view", "top")
    file = tmp_path / "recipes.yaml"
    file.write_text(loupe("recipe", "export").stdout.replace("deadline_ms: 80.0", "deadline_ms: 90"))
    tried = loupe("recipe", "import", str(file), "--dry-run")
    assert f"{product}@* version 3: deadline_ms 80 -> 90" in tried.output
    with stores.database.read() as connection:
        assert model_store.newest_recipes(connection)[product, "*"].version == 2
    said = json.loads(loupe("recipe", "import", str(file), "--json").stdout)
    (change,) = said["changed"]
    assert change["differences"] == {"deadline_ms": {"before": 80.0, "after": 90.0}}
    assert (change["before"], change["version"], said["written"]) == (2, 3, True)
    with stores.database.read() as connection:
        held = model_store.newest_recipes(connection)[product, "*"]
    assert (held.version, held.deadline_ms, held.expected_views) == (3, 90.0, ("top",))


def test_file_with_one_wrong_recipe_is_refused_as_a_whole(stores: Stores, product: str, tmp_path: Path) -> None:
    file = tmp_path / "recipes.yaml"
    file.write_text(f"recipes:\n- product: {product}\n  station: s1\n- product: {product}\n  fail_safe: pass\n")
    said = loupe("recipe", "import", str(file))
    assert isinstance(said.exception, WrongYaml)
    assert "line 5" in str(said.exception)
    with stores.database.read() as connection:
        assert list(model_store.newest_recipes(connection)) == [(product, "*")]


def test_recipes_may_come_before_their_product(stores: Stores, tmp_path: Path) -> None:
    file = tmp_path / "recipes.yaml"
    file.write_text("recipes:\n- product: tomorrow\n  operating_point: strict\n")
    said = json.loads(loupe("recipe", "import", str(file), "--json").stdout)
    assert len(said["warnings"]) == 2
    with stores.database.read() as connection:
        assert model_store.newest_recipes(connection)["tomorrow", "*"].operating_point == "strict"
    assert recipe("tomorrow", "--deadline-ms", "50")["version"] == 2


@pytest.mark.parametrize("content", [None, b"\xff\xfe"])
@pytest.mark.usefixtures("stores")
def test_file_that_is_no_text_is_named(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "recipes.yaml"
    if content is not None:
        file.write_bytes(content)
    said = loupe("recipe", "import", str(file))
    assert isinstance(said.exception, WrongYaml)
    assert str(file) in str(said.exception)


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


@pytest.mark.parametrize("station", ["", "a/b", "+", "a#", "a\nb", " s1", "s" * 201])
def test_key_for_a_name_that_no_station_can_have_is_refused(stores: Stores, station: str) -> None:
    said = loupe("keys", "create", "--station", station)
    assert isinstance(said.exception, NoStationName)
    assert said.exception.remedy
    with stores.database.read() as connection:
        assert keys.listing(connection) == []


def test_key_may_be_for_all_stations(stores: Stores) -> None:
    assert loupe("keys", "create", "--station", "*").exit_code == 0
