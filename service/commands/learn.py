"""Commands that make and measure models: train, jobs, evaluate, predict."""

import csv
import io
import shutil
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from labeling.formats import FORMATS, FoundImage, Listing, detect, folder, labels_csv
from models import dataset as dataset_flow
from models import promotion as promotion_flow
from models.card import ModelCard
from models.classifier import Classifier, ViewScore
from models.evaluation import OneSidedSample, auroc_interval, outcomes
from models.preprocess import Frame, UnreadableImage, sniff
from models.scoring import score
from service.commands.champions import model_json
from service.jobs import enqueue
from service.learning import features_folder, train_on
from service.settings import load_settings
from service.terminal import emit, note, progress, say, table
from service.wiring import open_stores
from storage import jobs as job_store
from storage.records import Model

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]
ModelName = Annotated[str, typer.Option("--model", help="Path of a model file, or the id of a stored model.")]


JOBS_SHOWN = 20


class NoImages(ValueError):
    """There is nothing to score."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"no readable image under {path}")
        self.remedy = "name a folder with images, or a labels.csv with a path column"


class NothingToEvaluate(ValueError):
    """The model was trained elsewhere: its data are not here."""

    def __init__(self, model_id: str) -> None:
        super().__init__(f"model {model_id} was imported: there is no dataset of its own to evaluate it on")
        self.remedy = "name labelled images: loupe evaluate --model MODEL --images LABELS.csv"


class NotWritable(OSError):
    """The output can't be written."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path} can't be written: {reason}")
        self.remedy = "name a folder that exists and that this user may write"


@dataclass(frozen=True, slots=True)
class Scored:
    """A found image with its score, or why it has none."""

    found: FoundImage
    view: ViewScore | None
    problem: str | None


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("train")(train)
    app.command("jobs")(list_jobs)
    app.command("evaluate")(evaluate)
    app.command("predict")(predict)


def train(
    dataset: Annotated[
        str | None, typer.Option("--dataset", help="Dataset id (its beginning will do); default: the newest.")
    ] = None,
    product: Annotated[str | None, typer.Option("--product", help="Take the newest dataset of this product.")] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Write the model file here too.")] = None,
    architecture: Annotated[str, typer.Option("--architecture", help="Backbone.")] = "efficientnet_lite0",
    seed: Annotated[int, typer.Option("--seed", help="Seed of the folds.")] = 0,
    queue: Annotated[
        bool, typer.Option("--queue", help="Let the worker do it: settle --product anew, then train.")
    ] = False,
    json: Json = False,
) -> None:
    """Train a candidate on a dataset, measure it, and put it before its gates.

    Example: loupe train --dataset 3f2a --out model.onnx
    """
    if queue:
        _queue(dataset, product, json)
        return
    from models.architectures import ARCHITECTURES
    from models.training import TrainingSettings

    if architecture not in ARCHITECTURES:
        raise typer.BadParameter(f"{architecture!r} is none of {', '.join(ARCHITECTURES)}", param_hint="--architecture")
    if out is not None and not out.absolute().parent.is_dir():
        raise NotWritable(out, "its folder does not exist")
    with open_stores(load_settings()) as stores:
        with stores.database.read() as connection:
            chosen = dataset_flow.find(connection, dataset, product)
        with progress("training") as report:
            candidate = train_on(stores, chosen, TrainingSettings(architecture=architecture, seed=seed), report)
    if out is not None:
        partial = out.with_name(out.name + ".part")
        shutil.copyfile(candidate.path, partial)
        partial.replace(out)
    result = model_json(candidate.model, champion=False)
    result["out"] = str(out) if out else str(candidate.path)
    if json:
        emit(result)
        return
    show_model(candidate.model)
    if out is not None:
        say(f"model file {out}")
    say(f"next: loupe evaluate --model {candidate.model.id}, then loupe promote {candidate.model.id}")


def _queue(dataset: str | None, product: str | None, json: bool) -> None:
    if dataset is not None or product is None:
        raise typer.BadParameter(
            "name the product with --product, and no dataset: it is made anew", param_hint="--queue"
        )
    with open_stores(load_settings()) as stores:
        job = enqueue(stores, "retrain", {"product": product})
    emit({"job": job.id}) if json else say(f"job {job.id} is queued; `loupe worker` does it, `loupe jobs` shows it")


def list_jobs(json: Json = False) -> None:
    """List the worker's latest jobs, newest first.

    Example: loupe jobs
    """
    with open_stores(load_settings()) as stores, stores.database.read() as connection:
        found = job_store.latest(connection, JOBS_SHOWN)
    if json:
        emit([asdict(job) for job in found])
        return
    rows = [(j.id, j.kind, j.arguments, j.state, f"{j.queued_at:%Y-%m-%d %H:%M}", j.result or "") for j in found]
    table("jobs", ["id", "kind", "what", "state", "queued (UTC)", "result"], rows)


def evaluate(
    model: Annotated[
        str | None, typer.Option("--model", help="Path of a model file, or id of a stored model; default: the newest.")
    ] = None,
    images: Annotated[
        Path | None, typer.Option("--images", help="Labelled images (as for import); default: the model's own dataset.")
    ] = None,
    ok: Annotated[str, typer.Option("--ok", help="Good classes among these images; default: the model's.")] = "",
    columns: Annotated[
        list[str] | None, typer.Option("--map", help="COLUMN=MEANING for labels.csv; may be repeated.")
    ] = None,
    json: Json = False,
) -> None:
    """Say how good a model is, each number with its 95 % interval.

    Without --images: on its frozen test parts, and the whole training procedure by grouped 5-fold cross-validation over
    its dataset. With --images: on these labelled images.

    Example: loupe evaluate --model 3f2a
    """
    if images is not None:
        _evaluate_images(model, images, ok, columns or [], json)
        return
    from models.retrain import cross_validate, load_rows
    from models.training import TrainingSettings

    with open_stores(load_settings()) as stores:
        with stores.database.read() as connection:
            chosen = promotion_flow.find(connection, model)
            if ModelCard.from_json(chosen.card).training.get("imported"):
                raise NothingToEvaluate(chosen.id)
            dataset = dataset_flow.find(connection, chosen.dataset_id)
        settings = TrainingSettings(**_training_settings(ModelCard.from_json(chosen.card)))
        with progress("cross-validating") as report:
            rows = load_rows(stores.database, stores.images, dataset)
            found = cross_validate(rows, settings, features_folder(stores), lambda _, done, total: report(done, total))
    result = {"model": chosen.id, "dataset": dataset.id, "cross_validation": found, "metrics": chosen.card["metrics"]}
    if json:
        emit(result)
        return
    table(
        f"the procedure, by grouped {found['folds']}-fold cross-validation over all {found['images']} images",
        ["measure", "value", "95 % interval", "groups"],
        [
            _interval_row("image AUROC (defect or not)", found["cv_auroc"]),
            _interval_row("accuracy over classes", found["cv_accuracy"]),
        ],
    )
    _show_test(chosen)


def predict(
    model: ModelName,
    images: Annotated[Path, typer.Option("--images", help="Folder (searched recursively) or labels.csv.")],
    out: Annotated[Path, typer.Option("--out", help="CSV: path,p_defect,class,novelty.")],
    json: Json = False,
) -> None:
    """Score images with a model.

    Example: loupe predict --model model.onnx --images parts/ --out predictions.csv
    """
    if not out.absolute().parent.is_dir():
        raise NotWritable(out, "its folder does not exist")
    classifier = _open(model)
    scored = _score_all(classifier, images, _listed(images))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["path", "p_defect", "class", "novelty"])
    for one in scored:
        if one.view is not None:
            novelty = "" if one.view.novelty is None else f"{one.view.novelty:.6f}"
            writer.writerow([one.found.name, f"{one.view.p_defect:.6f}", one.view.class_name, novelty])
    partial = out.with_name(out.name + ".part")
    partial.write_text(text.getvalue())
    partial.replace(out)
    skipped = [{"path": one.found.name, "reason": one.problem} for one in scored if one.view is None]
    if json:
        emit({"out": str(out), "images": len(scored) - len(skipped), "skipped": skipped})
        return
    for left_out in skipped:
        note(f"{left_out['path']}: skipped: {left_out['reason']}")
    say(f"{len(scored) - len(skipped)} images scored, {len(skipped)} skipped: {out}")


def show_model(model: Model) -> None:
    """A model's figures for people."""
    card = ModelCard.from_json(model.card)
    training = card.training
    size = f"{training['images']} images in {training['groups']} groups"
    say(f"model {model.id} of {model.product}: {training['architecture']} at {training['side_px']} px, {size}")
    table(
        "out of fold, on the training parts",
        ["measure", "value", "95 % interval", "groups"],
        [
            _interval_row("image AUROC (defect or not)", card.metrics["cv_auroc"]),
            _interval_row("accuracy over classes", card.metrics["cv_accuracy"]),
        ],
    )
    _show_test(model)
    table(
        "operating points",
        [
            "name",
            "pass below",
            "reject from",
            "escape at most (95 %)",
            "wanted",
            "kept",
            "good parts not passed",
            "defect parts",
        ],
        [
            (
                n,
                f"{p.pass_below:.3f}",
                f"{p.reject_from:.3f}",
                f"{p.escape_bound:.1%}",
                f"{p.wanted_escape:.1%}",
                "yes" if p.keeps_promise else "NO",
                f"{p.overkill_expected:.1%}",
                p.defect_parts,
            )
            for n, p in card.operating_points.items()
        ],
    )
    table(
        "gates",
        ["gate", "passed", "why"],
        [(g["name"], "yes" if g["passed"] else "NO", g["reason"]) for g in model.gates],
    )


def _show_test(model: Model) -> None:
    test = ModelCard.from_json(model.card).metrics["test"]
    names = {"auroc": "image AUROC", "escape": "escapes", "overkill": "overkill", "recheck": "rechecks"}
    rows = [_interval_row(name, test[key]) for key, name in names.items() if test[key]]
    table(
        f"model {model.id} on its {test['images']} frozen test images, at 'standard'",
        ["measure", "value", "95 % interval", "groups"],
        rows,
    )


def _interval_row(name: str, value: dict[str, float]) -> tuple[str, str, str, str]:
    return name, f"{value['value']:.3f}", f"{value['low']:.3f} – {value['high']:.3f}", str(value["n"])


def _training_settings(card: ModelCard) -> dict[str, Any]:
    from models.training import TrainingSettings

    kept = {name: card.training[name] for name in (f.name for f in fields(TrainingSettings)) if name in card.training}
    return {name: tuple(value) if isinstance(value, list) else value for name, value in kept.items()}


def _open(name: str) -> Classifier:
    """The model of a file, or of the store."""
    path = Path(name)
    if path.suffix == ".onnx" or path.is_file():
        return Classifier(path)
    with open_stores(load_settings()) as stores:
        with stores.database.read() as connection:
            found = promotion_flow.find(connection, name)
        return Classifier(stores.images.get(found.sha256))


def _listed(path: Path) -> Listing:
    """The images of a labels.csv, or all below a folder, whatever else lies there."""
    if labels_csv.recognises(path) and path.is_file():
        return labels_csv.read(path, {}, labelled=False)
    # What else lies in the folder is nobody's mistake here, unlike in an import.
    return replace(folder.read(path, {}), problems=())


def _score_all(classifier: Classifier, path: Path, listing: Listing) -> list[Scored]:
    for problem in listing.problems:
        note(f"{problem.where}: {problem.what}")
    scored = []
    with progress("scoring") as report:
        for done, found in enumerate(listing.images, start=1):
            scored.append(_score_one(classifier, found))
            report(done, len(listing.images))
    if not any(one.view for one in scored):
        raise NoImages(path)
    return scored


def _score_one(classifier: Classifier, found: FoundImage) -> Scored:
    try:
        data = found.path.read_bytes()
        media_type = sniff(data)
        if media_type is None:
            return Scored(found, None, "no JPEG, PNG, BMP or TIFF")
        return Scored(found, score(classifier, Frame(data, media_type)), None)
    except (OSError, UnreadableImage) as error:
        return Scored(found, None, str(error))


def _evaluate_images(model: str | None, images: Path, ok: str, columns: list[str], json: bool) -> None:
    from service.commands.data import read_columns

    if model is None:
        with open_stores(load_settings()) as stores, stores.database.read() as connection:
            model = promotion_flow.find(connection, None).id
    classifier = _open(model)
    listing = FORMATS[detect(images)](images, read_columns(columns))
    scored = [one for one in _score_all(classifier, images, listing) if one.view and one.found.labels]
    if not scored:
        raise NoImages(images)
    named = {name.strip() for name in ok.split(",") if name.strip()}
    known = {label.label for one in scored for label in one.found.labels}
    if unknown := sorted(named - known):
        raise typer.BadParameter(f"{', '.join(unknown)}: labels here are {', '.join(sorted(known))}", param_hint="--ok")
    good = named or {c.name for c in classifier.card.classes if c.ok}
    p_defect = np.array([one.view.p_defect for one in scored if one.view])
    is_defect = np.array([_majority(one.found) not in good for one in scored])
    group = np.array([one.found.group or one.found.part_id or one.found.name for one in scored])
    result: dict[str, Any] = {"model_sha256": classifier.sha256, "images": len(scored), "ok": sorted(good)}
    try:
        result["auroc"] = auroc_interval(p_defect, is_defect, group, np.random.default_rng(0)).to_json()
    except OneSidedSample as error:
        result["auroc"] = None
        note(str(error))
    for name, point in classifier.card.operating_points.items():
        found = outcomes(p_defect, is_defect, group, point.pass_below, point.reject_from)
        result[name] = {
            "escape": found.escape.to_json(),
            "overkill": found.overkill.to_json(),
            "recheck": found.recheck.to_json(),
        }
    if json:
        emit(result)
        return
    rows = [_interval_row("image AUROC", result["auroc"])] if result["auroc"] else []
    for name in classifier.card.operating_points:
        rows += [_interval_row(f"{measure} at '{name}'", value) for measure, value in result[name].items()]
    table(
        f"{len(scored)} images, good: {', '.join(sorted(good))}", ["measure", "value", "95 % interval", "groups"], rows
    )


def _majority(found: FoundImage) -> str:
    said = [label.label for label in found.labels]
    return max(sorted(set(said)), key=said.count)
