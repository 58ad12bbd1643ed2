"""Label books and exports, as the command line writes them."""

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from labeling.label_book import UnknownProduct, UnknownVersion, WrongLabelBook
from service.cli import app
from service.commands.export import FolderNotWritten, FolderTaken, _folder
from service.commands.label_book import ImageNotClear, WhichProduct
from service.settings import PREFIX, Settings, load_settings
from service.wiring import Stores, open_stores
from service.yaml_text import WrongYaml
from storage import labels, pictures
from storage.labels import BookChanged
from tests.labeling.painted_parts import paint
from tests.storage.samples import NOW, image, label

PRODUCT = "parts"


@pytest.fixture
def stores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stores]:
    monkeypatch.chdir(tmp_path)
    for name in Settings.model_fields:
        monkeypatch.delenv(PREFIX + name.upper(), raising=False)
    with open_stores(load_settings()) as opened:
        yield opened


@pytest.fixture
def parts(stores: Stores, tmp_path: Path) -> Path:
    """A product with ten painted parts."""
    folder = paint(tmp_path / PRODUCT, {"good": 6, "scratch": 4})
    assert loupe("import", str(folder)).exit_code == 0
    return folder


def loupe(*arguments: str, stdin: str | None = None) -> Result:
    return CliRunner().invoke(app, arguments, input=stdin)


def answer(*arguments: str, stdin: str | None = None) -> Any:
    said = loupe(*arguments, "--json", stdin=stdin)
    assert said.exit_code == 0, said.output + repr(said.exception)
    return json.loads(said.stdout)


def refused(kind: type[Exception], *arguments: str, stdin: str | None = None) -> str:
    said = loupe(*arguments, stdin=stdin)
    assert isinstance(said.exception, kind), said.output
    return f"{said.exception}: {said.exception.remedy}"  # type: ignore[attr-defined]  # all of ours have one


def test_a_book_goes_out_is_changed_and_comes_back(parts: Path) -> None:
    text = loupe("book", "export").stdout
    changed = text.replace("name: scratch", "name: Kratzer\n    renamed_from: scratch\n    description: ab 1 mm")
    planned = answer("book", "import", "-", "--dry-run", stdin=changed)
    assert (planned["written"], planned["label_books"][0]["judge_again"]) == (False, 4)
    assert answer("book", "show")["version"] == 1, "a dry run writes nothing"
    done = answer("book", "import", "-", "--note", "German", stdin=changed)["label_books"][0]
    assert done["changed"] == ["Kratzer: was called scratch", "Kratzer: definition '' -> 'ab 1 mm'"]
    shown = answer("book", "show", "--product", PRODUCT)
    assert (shown["version"], shown["note"], shown["classes"][1]["name"]) == (2, "German", "Kratzer")
    assert answer("book", "show", "--version", "1")["classes"][1]["name"] == "scratch"
    assert [version["version"] for version in answer("book", "history")] == [2, 1]
    assert "at version 2" in refused(BookChanged, "book", "import", "-", stdin=changed)
    assert answer("consensus", PRODUCT)["labels"] == 10, "labels under the former name are settled under the new one"


def test_the_same_again_is_no_version(parts: Path, tmp_path: Path) -> None:
    file = tmp_path / "book.yaml"
    file.write_text(loupe("book", "export", "--product", PRODUCT).stdout)
    (only,) = answer("book", "import", str(file))["label_books"]
    assert (only["version"], only["written"]) == (1, False)
    assert "stays at version 1" in loupe("book", "import", str(file)).stdout


def test_a_file_is_taken_over_as_a_whole_or_not_at_all(parts: Path) -> None:
    first = "- product: lid\n  classes: [{name: ok, ok: true}]\n"
    second = "- product: parts\n  classes: [{name: good, ok: true}]\n"
    said = refused(WrongLabelBook, "book", "import", "-", stdin=f"label_books:\n{first}{second}")
    assert "'scratch' is missing" in said
    assert "retired" in said
    assert answer("book", "show")["version"] == 1, "there is still one product only"
    only_lid = answer("book", "import", "-", "--product", "lid", stdin=f"label_books:\n{first}{second}")
    assert [one["product"] for one in only_lid["label_books"]] == ["lid"]
    assert "lid, parts" in refused(WhichProduct, "book", "show")


def test_limit_samples_come_and_go(parts: Path) -> None:
    arguments = ("book", "limit-sample", "add", "good/0-001.png", "--class", "scratch")
    added = answer(*arguments, "--as", "accept", "--caption", "just passes")
    assert (added["version"], added["judge_again"]) == (2, 4)
    moved = answer(*arguments, "--as", "reject", "--caption", "no longer")
    scratch = answer("book", "show")["classes"][1]
    assert (moved["version"], scratch["accept"], len(scratch["reject"])) == (3, [], 1)
    sha256 = scratch["reject"][0]["image_sha256"]
    removed = answer("book", "limit-sample", "remove", sha256[:8], "--class", "scratch")
    assert removed["changed"] == [f"scratch: reject sample {sha256[:12]} removed"]
    assert loupe(*arguments, "--as", "maybe").exit_code == 2
    assert "rust" in refused(WrongLabelBook, *arguments[:-1], "rust", "--as", "accept")
    unclear = ("book", "limit-sample", "add", "gone.png", "--class", "scratch", "--as", "accept")
    assert "no images" in refused(ImageNotClear, *unclear)


def test_what_there_is_not_is_refused(stores: Stores) -> None:
    assert "import" in refused(WhichProduct, "book", "show")
    assert "'lid'" in refused(UnknownProduct, "book", "show", "--product", "lid")
    assert "'lid'" in refused(UnknownProduct, "book", "history", "--product", "lid")
    assert "'lid'" in refused(UnknownProduct, "book", "export", "--product", "lid")
    assert "'lid'" in refused(UnknownProduct, "export", "labels", "out", "--product", "lid")
    assert "gone.yaml" in refused(WrongYaml, "book", "import", "gone.yaml")


def test_a_version_that_there_is_not_is_refused(parts: Path) -> None:
    assert "1 to 1" in refused(UnknownVersion, "book", "show", "--version", "7")


@pytest.mark.parametrize("kind", ["labels.csv", "label-studio"])
def test_an_export_moves_to_another_data_folder(
    parts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    answer("book", "limit-sample", "add", "good/0-001.png", "--class", "scratch", "--as", "accept")
    here = answer("book", "show")
    written = answer("export", "labels", "out", "--product", PRODUCT, "--format", kind, "--with-images")
    assert (written["images"], written["labels"], written["image_files"]) == (10, 10, 10)
    monkeypatch.setenv(f"{PREFIX}DATA_DIR", str(tmp_path / "elsewhere"))
    imported = answer("import", "out", "--product", PRODUCT)
    assert (imported["new_images"], imported["new_labels"], imported["problems"]) == (10, 10, [])
    book = (tmp_path / "out" / "label-book.yaml").read_text().replace("version: 2", "version: 1")
    answer("book", "import", "-", stdin=book)
    assert answer("book", "show")["classes"] == here["classes"]


def test_an_export_overwrites_nothing_and_leaves_nothing_half_written(parts: Path, tmp_path: Path) -> None:
    taken = tmp_path / "taken"
    taken.mkdir()
    (taken / "mine.txt").touch()
    assert "taken" in refused(FolderTaken, "export", "labels", str(taken), "--product", PRODUCT)
    assert sorted(path.name for path in taken.iterdir()) == ["mine.txt"]
    assert loupe("export", "labels", "out", "--product", PRODUCT, "--format", "xls").exit_code == 2
    (tmp_path / "empty").mkdir()
    assert loupe("export", "labels", "empty", "--product", PRODUCT).exit_code == 0
    assert sorted(path.name for path in (tmp_path / "empty").iterdir()) == ["label-book.yaml", "labels.csv"]
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize("place", ["/proc/labels", "file/labels"])
def test_an_export_that_can_not_be_written_is_refused(parts: Path, tmp_path: Path, place: str) -> None:
    (tmp_path / "file").touch()
    assert place in refused(FolderNotWritten, "export", "labels", place, "--product", PRODUCT)


def test_an_export_to_a_full_disk_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    def fill() -> None:
        with _folder(tmp_path / "out") as folder:
            (folder / "labels.csv").write_text("path,label\n")
            # Linux's disk that is always full.
            Path("/dev/full").write_text("x")

    with pytest.raises(FolderNotWritten, match="No space left") as found:
        fill()
    assert found.value.remedy
    assert list(tmp_path.iterdir()) == []


def test_raw_pixels_of_a_camera_are_written_as_png(stores: Stores) -> None:
    pixels = np.arange(12 * 8, dtype=np.uint8).reshape(8, 12)
    sha256 = stores.images.put(pixels.tobytes())
    raw = image(
        "press-1/t7/0",
        product=PRODUCT,
        sha256=sha256,
        media_type="application/octet-stream; format=Mono8; width=12; height=8",
    )
    gone = image("gone.png", product=PRODUCT)
    assert loupe(
        "book", "import", "-", stdin=f"label_books:\n- {{product: {PRODUCT}, classes: [{{name: ok, ok: true}}]}}"
    )
    with stores.database.write() as connection:
        pictures.store(connection, [raw, gone])
        labels.store(connection, [label(product=PRODUCT, image_sha256=sha256, class_name="ok", also=())])
    written = answer("export", "labels", "out", "--product", PRODUCT, "--with-images")
    assert (written["image_files"], written["missing_images"]) == (1, ["gone.png"])
    rows = list(csv.DictReader(io.StringIO(Path("out/labels.csv").read_text(encoding="utf-8"))))
    (row,) = (row for row in rows if row["label"])
    assert row["path"] == f"press-1/t7/0-{sha256[:12]}.png"
    assert (row["time"], row["shift"]) == (NOW.isoformat(), "früh")
    assert Path("out", row["path"]).read_bytes().startswith(b"\x89PNG")
