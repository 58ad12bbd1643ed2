"""Commands about model files: bring a stranger's ONNX in, show what a file says about itself."""

import hashlib
import re
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

from models.card import ModelCard, OperatingPoint
from models.classifier import Classifier
from models.convention import Convention
from service.commands.data import read_columns
from service.settings import load_settings
from service.terminal import emit, note, progress, say, table
from service.wiring import open_stores
from storage.records import Model

# onnx and torch belong to those who make models; `loupe --help` must not wait for them.
if TYPE_CHECKING:
    from models.wrap import Wrapped
    from service.given_images import Gallery, Listed
    from service.model_import import Draft

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]


class WrongOption(ValueError):
    """An option of `loupe model import` can't be used."""

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(what)
        self.remedy = remedy


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
    from models.stranger import read_graph
    from models.wrap import wrap
    from service.given_images import Gallery, list_images
    from service.model_import import Description, draft_model, store_candidate

    meaning = _classes(classes, ok)
    sides = _size(size)
    if out is not None and not out.absolute().parent.is_dir():
        raise WrongOption(f"{out} can't be written: its folder does not exist", "make the folder, or name another")
    point = _point(pass_below, reject_from)
    convention = Convention(_numbers(mean, "--mean"), _numbers(std, "--std"), scale, layout, colour, activation)
    listed = None if images is None else list_images(images, read_columns(columns or []), meaning)
    for line in listed.notes if listed is not None else ():
        note(line)
    wrapped = wrap(read_graph(path), convention, len(meaning), np.random.default_rng(0), size=sides, output=output)
    source_sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    described = Description(product, name or path.stem, source_sha256, meaning, convention, point)
    with open_stores(load_settings()) as stores:
        draft = draft_model(stores, wrapped, described)
        gallery = Gallery() if listed is None else _judge(draft, listed)
        model = store_candidate(stores, draft, gallery)
        content = stores.images.get(model.sha256)
    if out is not None:
        partial = out.with_name(out.name + ".part")
        partial.write_bytes(content)
        partial.replace(out)
    result = _report(model, wrapped, gallery, out)
    emit(result) if json else _tell(result)


def _judge(draft: "Draft", listed: "Listed") -> "Gallery":
    """Judge the given images; what they can't be used for is said before that, as it may take minutes."""
    from service.given_images import judge, look_at
    from service.model_import import shortcomings

    with progress("reading") as report:
        given = look_at(listed, report)
    foreseen = shortcomings(draft, given.images)
    for line in foreseen:
        note(line)
    with progress("judging") as report:
        gallery = judge(draft.wrapped, draft.card, given, report)
    # Images that could not be decoded may leave too few.
    for line in shortcomings(draft, [one.image for one in gallery.judged]):
        if line not in foreseen:
            note(line)
    return gallery


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


def _classes(classes: str, ok: str) -> dict[str, bool]:
    """Name -> good, in the order of the scores."""
    names, good = _split(classes), _split(ok)
    if len(names) < 2 or len(set(names)) != len(names):
        raise WrongOption(f"--classes names {names}", "name at least two different classes, in the order of the scores")
    if not good or (unknown := sorted(set(good) - set(names))):
        said = f"--ok names {', '.join(unknown)}" if good else "--ok names no class"
        raise WrongOption(said, f"name the good ones of {', '.join(names)}")
    if set(good) == set(names):
        raise WrongOption("--ok names every class", "leave out those that are defects")
    return {name: name in good for name in names}


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


# --- telling --------------------------------------------------------------------------------------


def _report(model: Model, wrapped: "Wrapped", gallery: "Gallery", out: Path | None) -> dict[str, Any]:
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
        say(f"shape nodes in it: {result['shape_nodes']}; a GPU may refuse it; then export it with a fixed batch of 1")
    parity = result["parity"]
    say(
        f"scores equal on identical resized pixels (random images: {parity['random_images']}, given: "
        f"{parity['images']}), largest difference {parity['difference']:.1e} ({parity['tolerance']:.0e} allowed)"
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
