"""Commands that write what is stored as files."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import cv2
import typer

from labeling.exporting import EXPORTS, Export, gather
from labeling.formats.file_names import SUFFIXES
from models.preprocess import Geometry, prepare, read_size, stored_frame
from service.book_files import to_yaml
from service.settings import load_settings
from service.terminal import Report, emit, note, progress, say
from service.wiring import Stores, open_stores
from storage.images.content import ContentMissing
from storage.records import Image

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]


class FolderTaken(FileExistsError):
    """There is something at the path already."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"{path} is there already and is not an empty folder")
        self.remedy = "name a folder that is not there yet"


class FolderNotWritten(OSError):
    """The folder can't be made or filled."""

    def __init__(self, path: Path, error: OSError) -> None:
        super().__init__(f"{path} can't be written: {error.strerror or error}")
        self.remedy = "name a folder where you may write and the disk has room; nothing was left half-written"


def register(app: typer.Typer) -> None:
    """Add the commands."""
    export = typer.Typer(help="Write what is stored as files.", no_args_is_help=True)
    # A lone command would take the place of its group.
    export.callback()(lambda: None)
    export.command("labels")(export_labels)
    app.add_typer(export, name="export")


def export_labels(
    out: Annotated[Path, typer.Argument(help="Folder to make.")],
    product: Annotated[str, typer.Option("--product", help="Product whose labels are written.")],
    kind: Annotated[str, typer.Option("--format", help=f"{' or '.join(EXPORTS)}.")] = "labels.csv",
    with_images: Annotated[bool, typer.Option("--with-images", help="Write the image files too.")] = False,
    json: Json = False,
) -> None:
    """Write the labels of a product that count, and its label book, so that `loupe import` reads them back.

    Example: loupe export labels housing-labels --product housing --with-images
    """
    if kind not in EXPORTS:
        raise typer.BadParameter(f"take {' or '.join(EXPORTS)}", param_hint="--format")
    with open_stores(load_settings()) as stores:
        with stores.database.read() as connection:
            export = gather(connection, product)
        files = {**EXPORTS[kind](export), "label-book.yaml": to_yaml([export.book])}
        with _folder(out) as folder:
            for name, text in files.items():
                (folder / name).write_text(text, encoding="utf-8", newline="")
            with progress("writing images") as report:
                missing = _write_images(stores, export, folder, report) if with_images else []
    count = sum(map(len, export.labels.values()))
    if json:
        emit(
            {
                "product": product,
                "folder": str(out),
                "files": sorted(files),
                "images": len(export.images),
                "labels": count,
                "image_files": len(export.images) - len(missing) if with_images else 0,
                "missing_images": missing,
            }
        )
        return
    for name in missing:
        note(f"{name}: the image store no longer has it; its labels are written, an import will list them")
    say(f"{count} labels of {len(export.images)} images of product {product} in {out}: {', '.join(sorted(files))}")
    if not with_images:
        say("to import them elsewhere, put the images beside, or take --with-images")


@contextmanager
def _folder(out: Path) -> Iterator[Path]:
    """A folder that becomes `out` when all is written, so that an interruption leaves nothing half-written.

    Raises FolderTaken, FolderNotWritten.
    """
    target = out.resolve()
    try:
        if target.exists() and not (target.is_dir() and not any(target.iterdir())):
            raise FolderTaken(out)
        target.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    except FolderTaken:
        raise
    except OSError as error:
        raise FolderNotWritten(out, error) from error
    try:
        yield folder
        folder.chmod(0o755)
        folder.replace(target)
    except OSError as error:
        raise FolderNotWritten(out, error) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _write_images(stores: Stores, export: Export, folder: Path, report: Report) -> list[str]:
    """Write every image under its name; returns those that are gone."""
    missing = []
    for n, image in enumerate(export.images, start=1):
        path = folder / export.names[image.sha256]
        try:
            data = stores.images.get(image.sha256)
        except ContentMissing:
            missing.append(export.names[image.sha256])
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data if image.media_type in SUFFIXES else _as_png(data, image))
        report(n, len(export.images))
    return missing


def _as_png(data: bytes, image: Image) -> bytes:
    """Raw pixels of a camera as a file that others can read."""
    frame = stored_frame(data, image.media_type)
    width, height = read_size(frame)
    done, encoded = cv2.imencode(".png", prepare(frame, Geometry(height, width)).tiles[0][..., ::-1])
    assert done, "PNG takes any uint8 image"
    return encoded.tobytes()
