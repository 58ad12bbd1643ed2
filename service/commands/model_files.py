"""Commands about model files: bring a stranger's ONNX in, show what a file says about itself."""

import hashlib
import json as json_text
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from labeling.formats import FORMATS, FoundImage, detect
from labeling.label_book import grown
from models import dataset as dataset_flow
from models.card import ClassInfo, ModelCard, OperatingPoint
from models.classifier import Classifier, pool
from models.evaluation import OneSidedSample, auroc_interval, outcomes
from models.gates import GATES, GateInput, GateResult, operating_point_present
from models.preprocess import Frame, Geometry, Pixels, UnreadableImage, prepare, sniff
from models.scoring import score, score_prepared
from service.commands.data import read_columns
from service.settings import load_settings
from service.terminal import emit, note, progress, say, table
from service.wiring import Stores, now, open_stores
from storage import datasets, labels
from storage import models as model_store
from storage.datasets import IMPORTED
from storage.records import ConsensusRun, Dataset, DatasetItem, LabelBook, Model

# onnx and torch belong to those who make models; `loupe --help` must not wait for them.
if TYPE_CHECKING:
    from models.retrain import Rows
    from models.wrap import Wrapped

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]

PARITY_IMAGES = 32
GOLDEN_PARTS = 3
LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
"""When the empty dataset of an imported model is dated: never the newest, so that nobody trains on it."""
MIN_CALIBRATION_PARTS = 5


class WrongOption(ValueError):
    """An option of `loupe model import` can't be used."""

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(what)
        self.remedy = remedy


@dataclass(frozen=True, slots=True)
class Judged:
    """An image as the wrapped model judges it. others: p_defect after each other resize."""

    found: FoundImage
    sha256: str
    media_type: str
    p_defect: float
    others: dict[str, float]
    is_defect: bool | None
    group: str


@dataclass(frozen=True, slots=True)
class Gallery:
    """What the given images say; scores of golden parts and thresholds come from here."""

    judged: tuple[Judged, ...] = ()
    skipped: tuple[dict[str, str], ...] = ()
    difference: float = 0.0
    """Between the graph alone and wrapped, on the first of the images."""
    compared: int = 0
    resizers: tuple[str, ...] = ()

    @property
    def labelled(self) -> list[Judged]:
        """Those that somebody has labelled."""
        return [one for one in self.judged if one.is_defect is not None]


@dataclass(frozen=True, slots=True)
class FrozenParts:
    """The product's frozen test parts, of the dataset that names them."""

    dataset: Dataset | None = None
    rows: "Rows | None" = None
    images: frozenset[str] = field(default_factory=frozenset)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help="Model files: bring one in, look into one.", no_args_is_help=True)
    group.command("import")(import_model)
    group.command("show")(show)
    app.add_typer(group, name="model")


def import_model(
    path: Annotated[Path, typer.Argument(help="ONNX file of an image classifier; its side files lie beside it.")],
    product: Annotated[str, typer.Option("--product", help="Product that it shall inspect.")],
    classes: Annotated[str, typer.Option("--classes", help="Class names in the order of the scores, with commas.")],
    ok: Annotated[str, typer.Option("--ok", help="Which of them are good, separated by commas.")],
    mean: Annotated[str, typer.Option("--mean", help="Subtracted after scaling; one number or one a channel.")] = "0",
    std: Annotated[str, typer.Option("--std", help="Divided by at last; one number or one a channel.")] = "1",
    scale: Annotated[float, typer.Option("--scale", help="Divides the pixels 0..255 first.")] = 255.0,
    layout: Annotated[str, typer.Option("--layout", help="nchw (PyTorch) or nhwc (TensorFlow).")] = "nchw",
    colour: Annotated[str, typer.Option("--colour", help="rgb, bgr (OpenCV) or grey.")] = "rgb",
    activation: Annotated[
        str, typer.Option("--activation", help="What is missing after the output: softmax, sigmoid or none.")
    ] = "softmax",
    size: Annotated[str | None, typer.Option("--size", help="HxW in pixels, where the graph leaves it open.")] = None,
    output: Annotated[str | None, typer.Option("--output", help="Output with the scores, of several.")] = None,
    pass_below: Annotated[float, typer.Option("--pass", help="A part passes below this p_defect.")] = 0.5,
    reject_from: Annotated[float, typer.Option("--reject", help="A part is rejected from this p_defect on.")] = 0.5,
    images: Annotated[
        Path | None,
        typer.Option("--images", help="Images (labelled: as for import) for thresholds, golden parts and comparisons."),
    ] = None,
    columns: Annotated[
        list[str] | None, typer.Option("--map", help="COLUMN=MEANING for labels.csv; may be repeated.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Write the model file here too.")] = None,
    name: Annotated[str, typer.Option("--name", help="What the model is called; default: the file's name.")] = "",
    json: Json = False,
) -> None:
    """Make a model file of a stranger's ONNX classifier and store it as a candidate; says what became different.

    Example: loupe model import net.onnx --product plate --classes ok,scratch --ok ok --mean 0.485,0.456,0.406
    --std 0.229,0.224,0.225 --images labels.csv
    """
    from models.wrap import Convention, read_graph, wrap

    names, good = _names(classes, ok)
    sides = _size(size)
    if out is not None and not out.absolute().parent.is_dir():
        raise WrongOption(f"{out} can't be written: its folder does not exist", "make the folder, or name another")
    point = _point(pass_below, reject_from)
    convention = Convention(_numbers(mean, "--mean"), _numbers(std, "--std"), scale, layout, colour, activation)
    wrapped = wrap(read_graph(path), convention, len(names), np.random.default_rng(0), size=sides, output=output)
    with open_stores(load_settings()) as stores:
        with stores.database.read() as connection:
            before = labels.newest_book(connection, product)
        book = _book(before, product, names, good)
        card = ModelCard(
            classes=_class_infos(book, names),
            geometry=Geometry(wrapped.height, wrapped.width),
            operating_points={"standard": point},
            label_book_version=book.version,
            training={
                "imported": True,
                "name": name or path.stem,
                "architecture": f"imported: {name or path.stem}",
                "source_sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
                "side_px": max(wrapped.height, wrapped.width),
                "images": 0,
                "groups": 0,
                "batch": wrapped.batch,
                "convention": convention.to_json(),
            },
            software=_software(),
        )
        held = _held(stores, product)
        gallery = Gallery() if images is None else _gallery(wrapped, card, images, columns or [])
        card = _measured(card, wrapped, gallery, held)
        model = _store(stores, wrapped, card, gallery, held, book if book is not before else None, product)
        content = stores.images.get(model.sha256)
    if out is not None:
        partial = out.with_name(out.name + ".part")
        partial.write_bytes(content)
        partial.replace(out)
    result = _report(model, wrapped, gallery, out)
    emit(result) if json else _tell(result)


def show(
    path: Annotated[Path, typer.Argument(help="Model file.")],
    json: Json = False,
) -> None:
    """Print what a model file says about itself.

    Example: loupe model show model.onnx
    """
    classifier = Classifier(path)
    card = classifier.card
    facts = {
        "file": str(path),
        "bytes": path.stat().st_size,
        "sha256": classifier.sha256,
        "opset": _opset(path),
        "memory_bytes": classifier.bytes,
        "execution_provider": classifier.provider,
    }
    if json:
        emit({**facts, "card": card.to_json()})
        return
    geometry = card.geometry
    facts |= {
        "input": f"{geometry.height} × {geometry.width} px, {geometry.tile_rows} × {geometry.tile_cols} tiles",
        "decode version": geometry.decode_version,
        "capabilities": ", ".join(card.capabilities) or "none",
        "dataset": card.dataset or "none",
        "label book": card.label_book_version,
        "trained": card.training.get("architecture", "unknown"),
        "software": ", ".join(f"{name} {version}" for name, version in card.software.items()),
    }
    table("model file", ["what", "value"], [(key.replace("_", " "), value) for key, value in facts.items()])
    table("classes", ["name", "number", "good"], [(c.name, c.number, "yes" if c.ok else "no") for c in card.classes])
    _show_points(card.to_json()["operating_points"])


# --- options --------------------------------------------------------------------------------------


def _split(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _names(classes: str, ok: str) -> tuple[list[str], list[str]]:
    names, good = _split(classes), _split(ok)
    if len(names) < 2 or len(set(names)) != len(names):
        raise WrongOption(f"--classes names {names}", "name at least two different classes, in the order of the scores")
    if not good or (unknown := sorted(set(good) - set(names))):
        said = f"--ok names {', '.join(unknown)}" if good else "--ok names no class"
        raise WrongOption(said, f"name the good ones of {', '.join(names)}")
    if set(good) == set(names):
        raise WrongOption("--ok names every class", "leave out those that are defects")
    return names, good


def _numbers(text: str, option: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in _split(text))
    except ValueError as error:
        raise WrongOption(f"{option} {text!r} is no list of numbers", f"write {option} 0.5,0.5,0.5") from error


def _size(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    match = re.fullmatch(r"(\d{1,5})[xX×](\d{1,5})", text.strip())
    if match is None or 0 in (sides := (int(match[1]), int(match[2]))):
        raise WrongOption(f"--size {text!r} can't be understood", "write height x width in pixels: --size 224x224")
    return sides


def _point(pass_below: float, reject_from: float) -> OperatingPoint:
    """Thresholds that somebody has named: they promise nothing."""
    if not 0.0 <= pass_below <= reject_from <= 1.0:
        raise WrongOption(
            f"--pass {pass_below} and --reject {reject_from} contradict each other", "give 0 <= pass <= reject <= 1"
        )
    return OperatingPoint(
        pass_below, reject_from, wanted_escape=1.0, escape_bound=1.0, overkill_expected=1.0, defect_parts=0, ok_parts=0
    )


def _book(before: LabelBook | None, product: str, names: Sequence[str], good: Sequence[str]) -> LabelBook:
    """The product's label book with the model's classes in it.

    Raises WrongLabelBook.
    """
    # Good classes that this model does not know stay good.
    kept = [entry.name for entry in before.classes if entry.ok and entry.name not in names] if before else []
    return grown(before, product, names, {*good, *kept}, now())


def _class_infos(book: LabelBook, names: Sequence[str]) -> tuple[ClassInfo, ...]:
    entries = {entry.name: entry for entry in book.classes}
    return tuple(ClassInfo(name, entries[name].number, entries[name].ok) for name in names)


def _software() -> dict[str, str]:
    import onnx
    import onnxruntime

    return {"onnx": onnx.__version__, "onnxruntime": onnxruntime.__version__, "numpy": np.__version__}


# --- measuring ------------------------------------------------------------------------------------


def _held(stores: Stores, product: str) -> FrozenParts:
    from models.retrain import load_rows

    with stores.database.read() as connection:
        newest = datasets.newest(connection, product)
        items: Sequence[DatasetItem] = datasets.items(connection, newest.id) if newest is not None else []
    if newest is None or not items:
        return FrozenParts()
    rows = load_rows(stores.database, stores.images, newest).of(dataset_flow.TEST)
    return FrozenParts(newest, rows if rows.items else None, frozenset(item.image_sha256 for item in rows.items))


def _gallery(wrapped: "Wrapped", card: ModelCard, path: Path, columns: list[str]) -> Gallery:
    """Judge the images; labels must be classes of the model.

    Raises WrongOption, NotEqual, BrokenListing, UnknownFormat, WrongColumn.
    """
    from models.wrap import RESIZERS, NotEqual, largest_difference

    listing = FORMATS[detect(path)](path, read_columns(columns))
    for problem in listing.problems:
        note(f"{problem.where}: {problem.what}")
    ok = _ok_labels(listing.images, card, path)
    classifier = Classifier(wrapped.with_card(card))
    judged: list[Judged] = []
    skipped: list[dict[str, str]] = []
    difference, compared = 0.0, 0
    with progress("judging") as report:
        for done, found in enumerate(listing.images, start=1):
            try:
                one, tiles = _judge(classifier, found, ok)
            except (OSError, UnreadableImage) as error:
                skipped.append({"path": found.name, "reason": str(error)})
                continue
            judged.append(one)
            if compared < PARITY_IMAGES:
                alone = wrapped.direct(tiles)
                difference = max(difference, largest_difference(classifier.predict(tiles).class_probability, alone))
                compared += 1
            report(done, len(listing.images))
    if not judged:
        raise WrongOption(f"no readable image under {path}", "name a folder with images, or a labels.csv")
    if not difference <= wrapped.tolerance:
        raise NotEqual(difference, wrapped.tolerance)
    return Gallery(tuple(judged), tuple(skipped), difference, compared, tuple(RESIZERS))


def _ok_labels(found: Sequence[FoundImage], card: ModelCard, path: Path) -> dict[str, bool]:
    """Label -> good; empty where sub folders are no classes of the model, such as dates."""
    meaning = {info.name: info.ok for info in card.classes}
    said = {label.label for image in found for label in image.labels}
    if unknown := sorted(said - set(meaning)):
        if not said & set(meaning):
            note(f"{path}: {', '.join(unknown[:5])} are no classes of the model; the images count as unlabelled")
            return {}
        raise WrongOption(
            f"images under {path} are labelled {', '.join(unknown)}", f"the model's classes are {', '.join(meaning)}"
        )
    return meaning


def _judge(classifier: Classifier, found: FoundImage, ok: dict[str, bool]) -> tuple[Judged, Pixels]:
    from models.wrap import RESIZERS, decode_in_full

    data = found.path.read_bytes()
    media_type = sniff(data)
    if media_type is None:
        raise UnreadableImage("this is no JPEG, PNG, BMP or TIFF", "convert it, or leave it out")
    frame = Frame(data, media_type)
    geometry = classifier.card.geometry
    prepared = prepare(frame, geometry)
    pixels = decode_in_full(frame)
    others = {
        name: pool(classifier.predict(resize(pixels, geometry.height, geometry.width)[None]), classifier.card).p_defect
        for name, resize in RESIZERS.items()
    }
    said = [label.label for label in found.labels if ok]
    likeliest = max(sorted(set(said)), key=said.count) if said else None
    sha256 = hashlib.sha256(data).hexdigest()
    one = Judged(
        found=found,
        sha256=sha256,
        media_type=media_type,
        p_defect=score_prepared(classifier, prepared).p_defect,
        others=others,
        is_defect=None if likeliest is None else not ok[likeliest],
        group=found.group or found.part_id or sha256[:16],
    )
    return one, prepared.tiles


def _measured(card: ModelCard, wrapped: "Wrapped", gallery: Gallery, held: FrozenParts) -> ModelCard:
    """The card with thresholds, metrics and the effect of another resize."""
    from models.wrap import PROBES, resize_effect

    used = [one for one in gallery.labelled if one.sha256 not in held.images]
    points, calibration = _calibrated(card.operating_points, used)
    card = replace(card, operating_points=points)
    point = points["standard"]
    group = np.array([one.group for one in gallery.judged])
    own = np.array([one.p_defect for one in gallery.judged])
    effects = {
        name: resize_effect(
            own,
            np.array([one.others[name] for one in gallery.judged]),
            group,
            point.pass_below,
            point.reject_from,
        ).to_json()
        for name in gallery.resizers
    }
    parity = {
        "images": gallery.compared,
        "random_images": PROBES,
        "difference": max(gallery.difference, wrapped.difference),
        "tolerance": wrapped.tolerance,
    }
    # The keys of a trained model's metrics: what lists models looks for them.
    unknown = dict.fromkeys(("auroc", "escape", "overkill", "recheck"))
    metrics = {"cv_auroc": None, "cv_accuracy": None, "test": {"images": 0, **unknown}}
    return replace(
        card, metrics={**metrics, "calibration": calibration, "parity": parity}, robustness={"resize": effects}
    )


def _calibrated(
    named: Mapping[str, OperatingPoint], used: Sequence[Judged]
) -> tuple[dict[str, OperatingPoint], dict[str, Any] | None]:
    """The operating points that labelled images make, or the named one; and how the model ranks these images."""
    from models.calibration import balanced_point, operating_point
    from models.retrain import PROMISES

    bad, good = (len({one.group for one in used if one.is_defect is kind}) for kind in (True, False))
    if min(bad, good) < MIN_CALIBRATION_PARTS:
        if used:
            note(f"{bad} defective and {good} good parts make no thresholds; --pass and --reject hold")
        return dict(named), None
    p_defect = np.array([one.p_defect for one in used])
    is_defect = np.array([bool(one.is_defect) for one in used])
    group = np.array([one.group for one in used])
    points = {name: operating_point(p_defect, is_defect, group, escape) for name, escape in PROMISES.items()}
    points["balanced"] = balanced_point(p_defect, is_defect, group)
    found = auroc_interval(p_defect, is_defect, group, np.random.default_rng(0))
    return points, {"images": len(used), "auroc": found.to_json()}


# --- storing --------------------------------------------------------------------------------------


def _store(
    stores: Stores,
    wrapped: "Wrapped",
    card: ModelCard,
    gallery: Gallery,
    held: FrozenParts,
    new_book: LabelBook | None,
    product: str,
) -> Model:
    """The model with its file and golden parts, in one transaction with what it refers to."""
    dataset, run = _empty_dataset(card, product)
    card = replace(card, dataset=dataset.id)
    scores = _test_scores(Classifier(wrapped.with_card(card)), held.rows)
    if held.rows is not None:
        card = replace(card, metrics={**card.metrics, "test": _test_metrics(held.rows, scores, card)})
    content = wrapped.with_card(card)
    classifier = Classifier(content)
    golden = _golden(gallery)
    stores.images.put_all([content, *(one.found.path.read_bytes() for one in golden)])
    model = Model(
        id=classifier.sha256[:12],
        product=product,
        sha256=classifier.sha256,
        dataset_id=dataset.id,
        card=card.to_json(),
        gates=_gates(stores, product, held, scores, card),
        challenge=tuple(
            {"image_sha256": one.sha256, "media_type": one.media_type, "p_defect": round(one.p_defect, 6)}
            for one in golden
        ),
        created_at=now(),
    )
    with stores.database.write() as connection:
        if new_book is not None:
            labels.add_book(connection, new_book)
        datasets.store_run(connection, run, [])
        datasets.store(connection, dataset, [])
        model_store.store(connection, model)
    return model


def _empty_dataset(card: ModelCard, product: str) -> tuple[Dataset, ConsensusRun]:
    """What stands where a trained model has its dataset: nothing is known of what this one learned from."""
    source = str(card.training["source_sha256"])
    content = json_text.dumps(["imported", product, source, card.label_book_version])
    digest = hashlib.sha256(content.encode()).hexdigest()
    reason = f"model {card.training['name']} was made elsewhere (file {source[:12]}); no label here went into it"
    run = ConsensusRun(
        id=digest,
        product=product,
        method=IMPORTED,
        reason=reason,
        book_version=card.label_book_version,
        image_count=0,
        label_count=0,
        settled_at=LONG_AGO,
    )
    return Dataset(digest, product, digest, card.label_book_version, 0, LONG_AGO), run


def _golden(gallery: Gallery) -> list[Judged]:
    """The surest good and defective images; of unlabelled ones, from the lowest p_defect to the highest."""
    ordered = sorted(gallery.judged, key=lambda one: (one.p_defect, one.sha256))
    if gallery.labelled:
        good = [one for one in ordered if one.is_defect is False and one.p_defect < 0.5][:GOLDEN_PARTS]
        bad = [one for one in reversed(ordered) if one.is_defect and one.p_defect >= 0.5][:GOLDEN_PARTS]
        return [*good, *bad]
    places = np.linspace(0, len(ordered) - 1, min(2 * GOLDEN_PARTS, len(ordered))).round().astype(int)
    return [ordered[place] for place in places]


def _test_scores(classifier: Classifier, rows: "Rows | None") -> NDArray[np.float64]:
    sources = rows.sources if rows is not None else ()
    return np.array([score(classifier, source.load()).p_defect for source in sources], np.float64)


def _test_metrics(rows: "Rows", p_defect: NDArray[np.float64], card: ModelCard) -> dict[str, Any]:
    point = card.operating_points["standard"]
    found = outcomes(p_defect, rows.is_defect, rows.group, point.pass_below, point.reject_from)
    measures = {"escape": found.escape.to_json(), "overkill": found.overkill.to_json()}
    try:
        auroc = auroc_interval(p_defect, rows.is_defect, rows.group, np.random.default_rng(0)).to_json()
    except OneSidedSample:
        auroc = None
    return {"images": len(rows.items), **measures, "recheck": found.recheck.to_json(), "auroc": auroc}


def _gates(
    stores: Stores, product: str, held: FrozenParts, scores: NDArray[np.float64], card: ModelCard
) -> tuple[dict[str, Any], ...]:
    """The same gates as for trained models, on the product's frozen test parts; without any, one that fails."""
    with stores.database.read() as connection:
        promotion = model_store.champions(connection).get(product)
        found = model_store.models_by_id(connection, [promotion.model_id]) if promotion else {}
    deciding = Classifier(stores.images.get(found[promotion.model_id].sha256)) if promotion else None
    rows = held.rows
    if rows is None:
        nobody = np.zeros(0)
        empty = GateInput(nobody, nobody.astype(bool), nobody, card)
        champion = None if deciding is None else replace(empty, card=deciding.card)
        reason = (
            f"product {product} has no frozen test parts, so nothing says how good this model is; import labelled "
            "images (`loupe import`) and the model again, or promote it with --force --reason"
        )
        results = [GateResult("measured_on_test_parts", False, reason), operating_point_present(empty, champion)]
    else:
        candidate = GateInput(scores, rows.is_defect, rows.group, card)
        champion = None
        if deciding is not None:
            champion = replace(candidate, p_defect=_test_scores(deciding, rows), card=deciding.card)
        results = [gate(candidate, champion) for gate in GATES.values()]
    against = promotion.model_id if promotion is not None else None
    return tuple({**asdict(result), "champion": against} for result in results)


# --- telling --------------------------------------------------------------------------------------


def _report(model: Model, wrapped: "Wrapped", gallery: Gallery, out: Path | None) -> dict[str, Any]:
    card = ModelCard.from_json(model.card)
    return {
        "model": model.id,
        "product": model.product,
        "name": card.training["name"],
        "sha256": model.sha256,
        "dataset": model.dataset_id,
        "out": str(out) if out else None,
        "classes": [asdict(info) for info in card.classes],
        "size": {"height": wrapped.height, "width": wrapped.width},
        "batch": wrapped.batch,
        "shape_nodes": wrapped.shape_nodes,
        "parity": card.metrics["parity"],
        "resize": card.robustness["resize"],
        "images": len(gallery.judged),
        "skipped": list(gallery.skipped),
        "operating_points": model.card["operating_points"],
        "calibration": card.metrics["calibration"],
        "test": card.metrics["test"],
        "gates": list(model.gates),
        "gates_passed": all(gate["passed"] for gate in model.gates),
        "golden_parts": len(model.challenge),
    }


BATCHES = {
    "dynamic": "takes any number of images",
    "freed": "took batches of one size; takes any number now",
    "looped": "takes batches of one size; runs in a loop",
}


def _tell(result: dict[str, Any]) -> None:
    for left_out in result["skipped"]:
        note(f"{left_out['path']}: skipped: {left_out['reason']}")
    size = result["size"]
    say(f"model {result['model']} of {result['product']}: {result['name']}, {size['height']} × {size['width']} px")
    say(f"the graph {BATCHES[result['batch']]}")
    if result["shape_nodes"]:
        say(f"it has {result['shape_nodes']} shape nodes: a GPU may refuse it; then export it with a fixed batch of 1")
    parity = result["parity"]
    compared = f"{parity['random_images']} random and {parity['images']} given images"
    say(
        f"scores equal on identical resized pixels: {compared}, largest difference {parity['difference']:.1e} "
        f"({parity['tolerance']:.0e} allowed)"
    )
    if result["resize"]:
        table(
            "what Loupe's own resize changes, against other resizes of every pixel",
            ["other resize", "verdicts changed", "share", "95 % interval", "largest change of p_defect"],
            [(name, f"{e['changed']} of {e['images']}", *_share(e)) for name, e in result["resize"].items()],
        )
    _show_points(result["operating_points"])
    table("gates", ["gate", "passed", "why"], [(g["name"], _yes(g["passed"]), g["reason"]) for g in result["gates"]])
    if result["test"]["images"]:
        say("whether it was trained on the test parts can't be known here")
    if result["out"]:
        say(f"model file {result['out']}")
    force = "" if result["gates_passed"] else " --force --reason …"
    say(f"next: loupe promote {result['model']}{force}")


def _share(effect: dict[str, Any]) -> tuple[str, str, str]:
    share = effect["share"]
    return f"{share['value']:.1%}", f"{share['low']:.1%} – {share['high']:.1%}", f"{effect['largest_change']:.3f}"


def _yes(passed: object) -> str:
    return "yes" if passed else "NO"


def _show_points(points: dict[str, dict[str, float]]) -> None:
    table(
        "operating points",
        ["name", "pass below", "reject from", "escape at most (95 %)", "wanted", "good not passed", "defect parts"],
        [
            (
                name,
                f"{point['pass']:.3f}",
                f"{point['reject']:.3f}",
                f"{point['escape_bound']:.1%}",
                f"{point['wanted_escape']:.1%}",
                f"{point['overkill_expected']:.1%}",
                point["defect_parts"],
            )
            for name, point in points.items()
        ],
    )


def _opset(path: Path) -> int | None:
    """Of the standard operators; None where no onnx is installed to read it."""
    try:
        import onnx
    except ModuleNotFoundError:
        return None
    model = onnx.load(path, load_external_data=False)
    return next((int(one.version) for one in model.opset_import if one.domain in ("", "ai.onnx")), None)
