"""Two real cameras without anything that keeps still: tiles shot at six exposures, and a spindle that soils in weeks.

Run as a script it draws what the monitor saw: `python -m tests.monitoring.real_light docs/img`.
"""

import csv
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from monitoring.alarm import Alarm
from monitoring.optics import OpticsMonitor

DATA = Path(__file__).parents[2].parent / "shared" / "data"
TILES = 100
"""Tiles that commission; the rest of the same exposure watches for false alarms."""
VISITS = 75
"""Pictures of the spindle that commission: the first seven visits, but for two pictures."""

WORST_VISIT = "52"
"""The last one before it was wiped: a fifth darker than at first."""


@dataclass(frozen=True)
class Run:
    """Worst chart over its limit at each image after commissioning, where the change was made, and the alarms."""

    ratios: list[float]
    change_at: int
    alarms: list[tuple[int, Alarm]]


def tiles(seed: int) -> Run:
    """Good magnetic tiles at exposure level 3, then at level 5, about a third brighter, each level in random order."""
    rng = np.random.default_rng(seed)
    rows = [row for row in _rows("magnetic_tile") if row["label"] == "free"]
    levels = {level: [row["path"] for row in rows if row["exposure_level"] == level] for level in ("3", "5")}
    usual = [levels["3"][n] for n in rng.permutation(len(levels["3"]))]
    brighter = [levels["5"][n] for n in rng.permutation(len(levels["5"]))]
    monitor = OpticsMonitor(TILES)
    for path in usual[:TILES]:
        assert monitor.update(_image("magnetic_tile", path)) is None
    rest = usual[TILES:] * 2
    return _watch(monitor, _images("magnetic_tile", rest + brighter[:60]), len(rest))


def spindle() -> Run:
    """A ball screw drive over three weeks, eleven positions a visit; it soils more and more until it is wiped."""
    rows = sorted(_rows("bsdata_wear"), key=lambda row: row["time"])
    monitor = OpticsMonitor(VISITS)
    for row in rows[:VISITS]:
        assert monitor.update(_image("bsdata_wear", row["path"])) is None
    later = rows[VISITS:]
    worst = next(index for index, row in enumerate(later) if row["visit"] == WORST_VISIT)
    return _watch(monitor, _images("bsdata_wear", [row["path"] for row in later]), worst)


def _watch(monitor: OpticsMonitor, images: Iterator[NDArray[np.uint8]], change_at: int) -> Run:
    run = Run([], change_at, [])
    for index, image in enumerate(images):
        alarm = monitor.update(image)
        run.ratios.append(monitor.ratio)
        if alarm is not None:
            run.alarms.append((index, alarm))
    return run


def _rows(name: str) -> list[dict[str, str]]:
    with (DATA / name / "labels.csv").open() as file:
        return list(csv.DictReader(file))


def _image(name: str, path: str) -> NDArray[np.uint8]:
    image = cv2.imread(str(DATA / name / path), cv2.IMREAD_COLOR_RGB)
    assert image is not None
    return np.asarray(image, np.uint8)


def _images(name: str, paths: Sequence[str]) -> Iterator[NDArray[np.uint8]]:
    return (_image(name, path) for path in paths)


def _drawing(run: Run, title: str, change: str) -> str:
    width, height, left, bottom = 900, 240, 46, 30
    top = max(1.6, max(run.ratios) * 1.05)

    def x(index: float) -> float:
        return left + (width - left - 10) * index / max(1, len(run.ratios) - 1)

    def y(ratio: float) -> float:
        return 24 + (height - 24 - bottom) * (1 - ratio / top)

    line = " ".join(f"{x(n):.1f},{y(ratio):.1f}" for n, ratio in enumerate(run.ratios))
    marks = "".join(
        f'<circle cx="{x(n):.1f}" cy="{y(run.ratios[n]):.1f}" r="5" fill="#b3261e"/>'
        f'<text x="{x(n) + 8:.1f}" y="{y(run.ratios[n]) - 6:.1f}" fill="#b3261e">{alarm.chart}: {alarm.cause}</text>'
        for n, alarm in run.alarms
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" '
        f'font-size="12"><rect width="{width}" height="{height}" fill="#fff"/>'
        f'<text x="{left}" y="15" font-weight="bold">{title}</text>'
        f'<line x1="{left}" x2="{width - 10}" y1="{y(1):.1f}" y2="{y(1):.1f}" stroke="#b3261e" stroke-dasharray="5 4"/>'
        f'<text x="6" y="{y(1) + 4:.1f}">limit</text><text x="30" y="{y(0) + 4:.1f}">0</text>'
        f'<line x1="{x(run.change_at):.1f}" x2="{x(run.change_at):.1f}" y1="24" y2="{y(0):.1f}" stroke="#777"/>'
        f'<text x="{x(run.change_at) + 4:.1f}" y="{height - 16}" fill="#555">{change}</text>'
        f'<polyline points="{line}" fill="none" stroke="#20639b" stroke-width="1.5"/>{marks}'
        f'<text x="{left}" y="{height - 4}" fill="#555">images after commissioning: {len(run.ratios)}</text></svg>\n'
    )


def main(folder: Path) -> None:
    """Draw both into a folder and print what was found."""
    folder.mkdir(parents=True, exist_ok=True)
    runs = [tiles(seed) for seed in range(10)]
    delays = [index - run.change_at + 1 for run in runs for index, _ in run.alarms[:1]]
    sys.stdout.write(f"tiles: {len(delays)} of {len(runs)} orders found, after {sorted(delays)} tiles\n")
    drawing = _drawing(runs[0], "Magnetic tiles, worst chart over its limit", "exposure 3 becomes 5")
    (folder / "optics-tiles.svg").write_text(drawing)
    run = spindle()
    alarms = [(n, alarm.chart, alarm.cause) for n, alarm in run.alarms]
    sys.stdout.write(f"spindle: at its worst from {run.change_at} on, alarms {alarms}\n")
    drawing = _drawing(run, "Ball screw drive, worst chart over its limit", "at its worst, then wiped")
    (folder / "optics-spindle.svg").write_text(drawing)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
