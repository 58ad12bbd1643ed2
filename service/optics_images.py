"""A camera's normal images as its optics monitor sees them: from a folder, or from those that the line kept."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from models.preprocess import Frame, Geometry, Pixels, UnreadableImage, prepare, sniff, stored_frame
from monitoring.sights import Sight
from service.terminal import Report
from service.wiring import Stores
from storage import kept_views
from storage import models as model_store
from storage.database import Connection
from storage.images.content import ContentMissing

USUAL_GEOMETRY = Geometry(224, 224)


class NoImages(LookupError):
    """There are no images to work with."""

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(what)
        self.remedy = remedy


@dataclass(frozen=True, slots=True)
class Overviews:
    """Overviews, uint8 (h, w, 3) of one size, in the order the images were taken; `skipped` has `where` and `what` of
    each that is not among them.
    """

    images: tuple[Pixels, ...]
    skipped: tuple[dict[str, str], ...]


def from_folder(folder: Path, report: Report) -> Overviews:
    """Of all image files below a folder, in the order of their names. Raises NoImages."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    images: list[tuple[str, Pixels]] = []
    skipped: list[dict[str, str]] = []
    for done, path in enumerate(paths, start=1):
        name = str(path.relative_to(folder))
        try:
            data = path.read_bytes()
            images.append((name, _overview(Frame(data, sniff(data) or ""), USUAL_GEOMETRY)))
        except (OSError, UnreadableImage) as error:
            skipped.append({"where": name, "what": str(error)})
        report(done, len(paths))
    if not images:
        raise NoImages(f"no image can be read below {folder}", "name a folder of JPEG, PNG, BMP or TIFF files")
    return _of_one_size(images, skipped)


def from_store(stores: Stores, sight: Sight, limit: int, report: Report) -> Overviews:
    """Of the newest kept images of good parts that show this sight. Raises NoImages."""
    station, _, name = sight.camera.partition("/")
    with stores.database.read() as connection:
        found = kept_views.normal(connection, station, name, limit, sight.product or None, sight.lamp)
        geometry = _geometry(connection, sight.product)
    images: list[tuple[str, Pixels]] = []
    skipped: list[dict[str, str]] = []
    for done, view in enumerate(found, start=1):
        try:
            data = stores.images.get(view.image_sha256)
            images.append((view.image_sha256, _overview(stored_frame(data, view.media_type), geometry)))
        except (ContentMissing, UnreadableImage) as error:
            skipped.append({"where": view.image_sha256, "what": str(error)})
        report(done, len(found))
    if not images:
        raise NoImages(
            f"no image of a good part is kept from camera {sight.camera}",
            "let the recipe keep some of them (`loupe recipe set --keep-ok-share`), or name a folder with --images",
        )
    return _of_one_size(images, skipped)


def _geometry(connection: Connection, product: str) -> Geometry:
    """That of the model which decides: an overview comes out of the same decoding as what the model sees."""
    champion = model_store.champions(connection).get(product)
    models = model_store.models_by_id(connection, [champion.model_id]) if champion is not None else {}
    for model in models.values():
        fields = model.card.get("geometry")
        if isinstance(fields, dict):
            return Geometry.from_json(fields)
    return USUAL_GEOMETRY


def _overview(frame: Frame, geometry: Geometry) -> Pixels:
    return prepare(frame, geometry).overview


def _of_one_size(images: Sequence[tuple[str, Pixels]], skipped: list[dict[str, str]]) -> Overviews:
    """Those of the commonest size."""
    (shape, _), *_ = Counter(image.shape for _, image in images).most_common(1)
    others = (
        {"where": name, "what": f"it is {image.shape[1]} x {image.shape[0]} px as an overview, most are not"}
        for name, image in images
        if image.shape != shape
    )
    return Overviews(tuple(_kept(images, shape)), (*skipped, *others))


def _kept(images: Sequence[tuple[str, Pixels]], shape: tuple[int, ...]) -> Iterator[Pixels]:
    return (image for _, image in images if image.shape == shape)
