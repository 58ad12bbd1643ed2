"""Writes a labelled set of rendered parts to a folder, as a plant's first weeks of hand inspection would leave it."""

import csv
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np

from simulation.inspectors import Inspector
from simulation.parts import Light, PartRenderer, ScheduledPart, draw_schedule, encode_jpeg

_LABEL_COLUMNS = ("path", "label", "lot", "inspector", "time", "unsure")
_TRUTH_COLUMNS = ("path", "truth", "size")
_AFTERNOON_HOUR = 14


class FolderNotEmptyError(Exception):
    """The folder already holds something that a new data set would overwrite."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.remedy = "name a new or empty folder, or delete this one first"
        super().__init__(f"{folder} is not empty: {self.remedy}")


class TeamTooSmallError(ValueError):
    """Fewer inspectors than looks that a part gets."""

    def __init__(self, inspectors: int) -> None:
        self.inspectors = inspectors
        self.remedy = "give at least two inspectors"
        super().__init__(f"a team of {inspectors} cannot judge every part twice: {self.remedy}")


@dataclass(frozen=True, slots=True)
class _Look:
    """One inspector's turn at one part."""

    part: ScheduledPart
    inspector: Inspector
    at: datetime


def write_dataset(
    folder: Path,
    rng: np.random.Generator,
    n: int,
    defect_rate: float,
    team: Sequence[Inspector],
    start: datetime,
    takt_s: float = 60.0,
    *,
    renderer: PartRenderer | None = None,
    third_look_rate: float = 0.5,
    repeat_rate: float = 0.15,
    lot_size: int = 25,
) -> Path:
    """Render `n` parts, have `team` judge them, write both to `folder`; returns the path of its labels.csv.

    labels.csv holds one row a judgement (path, label, lot, inspector, time, unsure): two inspectors a part, a third
    for a share `third_look_rate`, and for a share `repeat_rate` the same inspector once more, in the afternoon after
    the last first look. Times are ISO 8601 with the zone of `start` (aware); unsure is 0 or 1.
    truth.csv (path, truth, size) holds what no plant has. Paths are relative to the folder. The folder appears whole
    or not at all. `renderer` is the line that makes the parts, to be given where the same line runs on afterwards; None
    takes PartRenderer(0). Raises FolderNotEmptyError, TeamTooSmallError.
    """
    if folder.exists() and any(folder.iterdir()):
        raise FolderNotEmptyError(folder)
    if len(team) < 2:
        raise TeamTooSmallError(len(team))
    schedule = list(draw_schedule(rng, n, defect_rate, lot_size=lot_size))
    looks = list(_first_looks(rng, schedule, team, start, takt_s, third_look_rate))
    looks += list(_repeats(rng, looks, start + timedelta(seconds=n * takt_s), takt_s, repeat_rate))
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as scratch:
        whole = Path(scratch) / "dataset"
        _write_images(whole / "images", renderer or PartRenderer(0), schedule)
        _write_csv(whole / "truth.csv", _TRUTH_COLUMNS, ((_path(p), p.truth, f"{p.size:.4f}") for p in schedule))
        _write_csv(whole / "labels.csv", _LABEL_COLUMNS, (_judged(rng, look) for look in looks))
        whole.replace(folder)
    return folder / "labels.csv"


def _first_looks(
    rng: np.random.Generator,
    schedule: Sequence[ScheduledPart],
    team: Sequence[Inspector],
    start: datetime,
    takt_s: float,
    third_look_rate: float,
) -> Iterator[_Look]:
    """Two or three different inspectors a part, one after the other within the part's takt."""
    for part in schedule:
        count = min(len(team), 3 if rng.random() < third_look_rate else 2)
        for turn, number in enumerate(rng.permutation(len(team))[:count]):
            at = start + timedelta(seconds=(part.index + turn / count) * takt_s)
            yield _Look(part=part, inspector=team[int(number)], at=at)


def _repeats(
    rng: np.random.Generator, looks: Sequence[_Look], earliest: datetime, takt_s: float, repeat_rate: float
) -> Iterator[_Look]:
    """Show a share of the parts once more to the inspector who saw it first, from the next afternoon hour on."""
    at = earliest
    if at.hour < _AFTERNOON_HOUR:
        at = at.replace(hour=_AFTERNOON_HOUR, minute=0, second=0, microsecond=0)
    first = {look.part.index: look for look in reversed(looks)}
    for index in sorted(first):
        if rng.random() < repeat_rate:
            yield _Look(part=first[index].part, inspector=first[index].inspector, at=at)
            at += timedelta(seconds=takt_s)


def _path(part: ScheduledPart) -> str:
    return f"images/part-{part.index:06d}.jpg"


def _judged(rng: np.random.Generator, look: _Look) -> tuple[str, ...]:
    """One row of labels.csv; the label is entered when the judgement is made, so its seconds count."""
    part = look.part
    said = look.inspector.judge(rng, part.truth, part.size, look.at)
    entered = (look.at + timedelta(seconds=said.seconds)).isoformat(timespec="milliseconds")
    return _path(part), said.label, f"lot-{part.lot:04d}", look.inspector.name, entered, str(int(said.unsure))


def _write_images(folder: Path, renderer: PartRenderer, schedule: Iterable[ScheduledPart]) -> None:
    folder.mkdir(parents=True)
    for part in schedule:
        rendered = renderer.render(np.random.default_rng(part.seed), part.defect, part.size, Light(), lot=part.lot)
        (folder / Path(_path(part)).name).write_bytes(encode_jpeg(rendered.image))


def _write_csv(path: Path, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)
