"""The optics monitor beside detectors of brightness, on simulated cameras: who notices what, at as many false alarms.

Every contender sees the same images in one run. The monitor sets its limits by itself, while it is commissioned. The
others get the threshold, camera by camera and in hindsight, at which they cost as many false alarms on the very
in-control images as the monitor did: the best that anybody could have set.
"""

import json
import subprocess
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from monitoring import signals
from monitoring.alarm import EVIDENCE_IMAGES
from monitoring.optics import OpticsMonitor
from service.bench import level_detectors
from service.bench.level_detectors import CLASSIC, REST_IMAGES, CameraLevels, Result, contest
from simulation.light.cameras import CAMERAS
from simulation.light.changes import CHANGES, PART_CHANGES, RAMPS
from simulation.light.stream import RAMP_IMAGES, Happening, Stream

SEVERITIES = 3
MONO_BLIND = ("colour_temp",)
"""What a camera of one colour does not show."""

Report = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured: images of commissioning, of the in-control stream, and after an onset; at how many places
    each change happens; whether changes that come slowly, and those of the parts, are measured too.
    """

    commission: int
    in_control: int
    post: int
    places: int
    with_slow: bool


FULL = Plan(8000, 8000, 200, 2, True)
QUICK = Plan(800, 1000, 40, 1, False)


@dataclass(frozen=True, slots=True)
class Scenario:
    """One change on one camera, after so many images in control. kind: sudden, slow, or of the parts."""

    camera: str
    kind: str
    happening: Happening
    after: int
    images: int

    @property
    def name(self) -> str:
        """Of the change."""
        return self.happening.name


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the monitor made of a scenario."""

    delay: int | None
    cause: str | None
    chart: str | None


@dataclass(slots=True)
class CameraRun:
    """What came out on one camera."""

    camera: str
    layout: str
    phase: str
    false_alarms: list[dict[str, Any]]
    scenarios: list[Scenario]
    verdicts: list[Verdict]
    levels: CameraLevels
    us: float
    level_us: float


def measure(
    plan: Plan, cameras: Sequence[str] = tuple(CAMERAS), *, river: Path | None = None, report: Report
) -> tuple[list[CameraRun], dict[str, list[Result]]]:
    """What the monitor made of each camera, and what the others made of them, in the same order.

    river: a Python that has it, or None.
    """
    signals.warm()
    total = sum(_images(plan, camera) for camera in cameras)
    runs: list[CameraRun] = []
    done = 0
    for camera in cameras:

        def seen(images: int, before: int = done) -> None:
            report(before + images, total)

        runs.append(_run(plan, camera, seen))
        done += _images(plan, camera)
    found = {name: [contest(contender, run.levels) for run in runs] for name, contender in CLASSIC.items()}
    return runs, found | (_of_river(river, runs) if river is not None else {})


def scenarios(plan: Plan, camera: str) -> Iterator[Scenario]:
    """Every change on a camera."""
    names = [name for name in CHANGES if not (CAMERAS[camera].is_mono and name in MONO_BLIND)]
    kinds = [("sudden", name, plan.post) for name in names]
    if plan.with_slow:
        kinds += [("slow", name, RAMP_IMAGES + plan.post // 2) for name in RAMPS]
        kinds += [("part", name, plan.post) for name in PART_CHANGES if CAMERAS[camera].part is not None]
    for kind, name, images in kinds:
        for severity in range(SEVERITIES):
            for place in range(plan.places):
                after = plan.in_control * (place + 1) // plan.places
                happening = Happening(name, severity, slowly=kind == "slow", place=17 * severity + place)
                yield Scenario(camera, kind, happening, after, images)


def _overviews(stream: Stream) -> Iterator[NDArray[np.uint8]]:
    """The pictures as the line server hands them on: it makes them small while it decodes them."""
    return (signals.as_overview(picture) for picture in stream)


def _images(plan: Plan, camera: str) -> int:
    return plan.commission + plan.in_control + sum(scenario.images for scenario in scenarios(plan, camera))


def _run(plan: Plan, camera: str, seen: Callable[[int], None]) -> CameraRun:
    """One camera's life: commissioning, a stream in control, and every scenario from where that stream stands."""
    clock = _Clock()
    monitor = OpticsMonitor(plan.commission)
    commission = np.empty(plan.commission)
    for image, picture in enumerate(_overviews(Stream(camera, 0, plan.commission))):
        monitor.update(picture)
        commission[image] = clock.level(picture)
        seen(image)
    todo = list(scenarios(plan, camera))
    quiet = _watched_in_control(plan, camera, monitor, {scenario.after for scenario in todo}, clock, seen)
    longest = max(scenario.images for scenario in todo)
    levels, verdicts, done = np.empty((len(todo), longest)), list[Verdict](), plan.commission + plan.in_control
    for row, scenario in enumerate(todo):
        verdict, levels[row] = _verdict(scenario, plan, quiet.states[scenario.after].copy(), longest)
        verdicts.append(verdict)
        done += scenario.images
        seen(done)
    after = np.array([scenario.after for scenario in todo])
    of_camera = CameraLevels(commission, quiet.levels, levels, after, len(quiet.false_alarms))
    layout = monitor.layout.name if monitor.layout is not None else ""
    us, level_us = clock.a_picture()
    return CameraRun(camera, layout, monitor.phase, quiet.false_alarms, todo, verdicts, of_camera, us, level_us)


@dataclass(frozen=True, slots=True)
class _Quiet:
    """What came of the stream in control: its levels, the false alarms, and the monitor after so many images."""

    levels: NDArray[np.float64]
    false_alarms: list[dict[str, Any]]
    states: dict[int, OpticsMonitor]


def _watched_in_control(
    plan: Plan,
    camera: str,
    commissioned: OpticsMonitor,
    snapshots: Collection[int],
    clock: "_Clock",
    seen: Callable[[int], None],
) -> _Quiet:
    """A monitor that alarms is put back as it was commissioned, as somebody would who finds nothing wrong."""
    found = _Quiet(np.empty(plan.in_control), [], {})
    monitor, rest = commissioned.copy(), 0
    for image, picture in enumerate(_overviews(Stream(camera, plan.commission, plan.in_control, key=1)), start=1):
        alarm = clock.update(monitor, picture)
        found.levels[image - 1] = clock.level(picture)
        if alarm is not None:
            if rest <= 0:
                told = {"image": image, "chart": alarm.chart, "cause": alarm.cause, "ratio": alarm.ratio}
                found.false_alarms.append(told)
                rest = REST_IMAGES
            monitor = commissioned.copy()
            monitor.resume()
        rest -= 1
        if image in snapshots:
            found.states[image] = monitor.copy()
        seen(plan.commission + image)
    return found


def _verdict(
    scenario: Scenario, plan: Plan, monitor: OpticsMonitor, longest: int
) -> tuple[Verdict, NDArray[np.float64]]:
    """What the monitor says, and the levels; where a scenario is shorter than the longest, its last level again."""
    levels = np.empty(longest)
    start = plan.commission + scenario.after
    stream = Stream(scenario.camera, start, scenario.images, key=1, happening=scenario.happening)
    alarm, delay = None, None
    for image, picture in enumerate(_overviews(stream), start=1):
        levels[image - 1 :] = _level(picture)
        if delay is None or image < delay + EVIDENCE_IMAGES:
            raised = monitor.update(picture)
            if raised is not None and delay is None:
                alarm, delay = raised, image
    if alarm is None:
        return Verdict(None, None, None), levels
    return Verdict(delay, alarm.cause, alarm.chart), levels


class _Clock:
    """Counts the CPU of what is done to pictures."""

    def __init__(self) -> None:
        self._seconds = {"update": 0.0, "level": 0.0}
        self._times = {"update": 0, "level": 0}

    def update(self, monitor: OpticsMonitor, picture: NDArray[np.uint8]) -> Any:
        began = time.process_time()
        alarm = monitor.update(picture)
        self._add("update", began)
        return alarm

    def level(self, picture: NDArray[np.uint8]) -> float:
        began = time.process_time()
        level = _level(picture)
        self._add("level", began)
        return level

    def a_picture(self) -> tuple[float, float]:
        """Microseconds of an update and of a level."""
        update, level = (1e6 * self._seconds[name] / max(1, self._times[name]) for name in ("update", "level"))
        return update, level

    def _add(self, name: str, began: float) -> None:
        self._seconds[name] += time.process_time() - began
        self._times[name] += 1


def _level(picture: NDArray[np.uint8]) -> float:
    """Log of the mean luminance, the cheapest way."""
    red, green, blue, _ = cv2.mean(picture)
    return float(np.log(0.299 * red + 0.587 * green + 0.114 * blue + 1))


def has_river(python: Path) -> bool:
    """Whether a Python has river."""
    return subprocess.run([python, "-c", "import river.drift"], capture_output=True).returncode == 0


def _of_river(python: Path, runs: Sequence[CameraRun]) -> dict[str, list[Result]]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "levels.npz"
        level_detectors.write(path, {run.camera: run.levels for run in runs})
        script = Path(level_detectors.__file__)
        done = subprocess.run([python, script, path], check=True, stdout=subprocess.PIPE)
    found = json.loads(done.stdout)
    return {name: [Result(**by_camera[run.camera]) for run in runs] for name, by_camera in found.items()}
