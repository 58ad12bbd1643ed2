"""What a camera's own monitor would notice, found out by doing it to the camera's own images."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

import numpy as np

from monitoring.alarm import EVIDENCE_IMAGES, Alarm
from monitoring.calibration import clopper_pearson
from monitoring.disturbances import DISTURBANCES, Disturbance, Done, Pixels, Seen
from monitoring.optics import OpticsMonitor, Phase
from monitoring.signals import as_overview

FEWEST_IMAGES: Final = 20
REPLAYS: Final = 5
MOST_IMAGES: Final = 200
"""Images after which a disturbance counts as not found."""

_LEAD_IMAGES = 40
"""Normal images before anything happens: as many as a monitor needs to know where the light is, and as many again."""
_PATIENCE = 4


class SelfTestImpossible(ValueError):
    """These images can't tell what this monitor notices."""

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(f"no self-test: {what}")
        self.remedy = remedy


@dataclass(frozen=True, slots=True)
class Trial:
    """One disturbance by one amount, done several times.

    delays  of each time: images from the first disturbed one to the alarm, 1 = at once; None where there was no alarm
    causes  of each time: what the alarm said after all of its images; None where there was none
    """

    disturbance: str
    amount: float
    text: str
    delays: tuple[int | None, ...]
    causes: tuple[str | None, ...]

    @property
    def found(self) -> int:
        """How many of the times it was found."""
        return sum(cause is not None for cause in self.causes)

    @property
    def named_right(self) -> int:
        """How often it was found and called what it was."""
        return self.causes.count(self.disturbance)

    @property
    def median_delay(self) -> int | None:
        """Images that it takes in the middle case; None where half of the times or more end without an alarm."""
        return None if 2 * self.found <= len(self.delays) else int(median(_or_never(self.delays)))

    def share_within(self, images: int) -> float:
        """The share of the times that it was found within so many images."""
        return sum(delay is not None and delay <= images for delay in self.delays) / len(self.delays)


@dataclass(frozen=True, slots=True)
class SelfTest:
    """What a monitor notices, amount by amount, and how often it alarms where nothing happened.

    trials        by disturbance, each from the smallest amount to the largest
    images        different images that were used
    most_images   after so many without an alarm a disturbance counts as not found
    quiet_images  undisturbed images that were watched
    false_alarms  alarms among those
    phase, layout of the monitor
    not_shown     disturbances that a camera of one colour does not show
    """

    trials: Mapping[str, tuple[Trial, ...]]
    images: int
    most_images: int
    quiet_images: int
    false_alarms: int
    phase: Phase
    layout: str
    not_shown: tuple[str, ...]

    @property
    def false_alarm_share(self) -> tuple[float, float]:
        """95 % interval of the share of undisturbed images that alarm (Clopper and Pearson 1934)."""
        return clopper_pearson(self.false_alarms, self.quiet_images)

    def smallest_within(self, disturbance: str, images: int) -> Trial | None:
        """The smallest amount from which on the median delay is at most so many images, if any."""
        smallest = None
        for trial in reversed(self.trials[disturbance]):
            if trial.median_delay is None or trial.median_delay > images:
                break
            smallest = trial
        return smallest

    def sentence(self, disturbance: str) -> str:
        """What is found how fast, in words."""
        at_once, later = (self.smallest_within(disturbance, images) for images in (2, self.most_images))
        if later is None:
            return "not at all"
        found = [f"{later.text} in {_images(later.median_delay)}"]
        if at_once is not None and at_once is not later:
            found.append(f"{at_once.text} in {_images(at_once.median_delay)}")
        missed = [trial.text for trial in self.trials[disturbance] if trial.amount < later.amount]
        return ", ".join([*found, *([f"{missed[-1]} not at all"] if missed else [])])


def self_test(
    images: Sequence[Pixels],
    monitor: OpticsMonitor,
    *,
    amounts: Mapping[str, Sequence[float]] | None = None,
    replays: int = REPLAYS,
    most_images: int = MOST_IMAGES,
    seed: int = 0,
    is_linear: bool = False,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> SelfTest:
    """Disturb normal images and see what a copy of the monitor says.

    images       uint8 (h, w, 3), normal ones of the monitor's own camera in the order they were taken, `FEWEST_IMAGES`
                 or more; a replay walks to and fro through them from somewhere, so that slow wandering stays slow
    amounts      of which disturbances by how much; those of `DISTURBANCES` otherwise
    replays      how often each of them is done, at another place and from another image each
    most_images  how long an alarm is waited for
    is_linear    whether the camera's counts are proportional to the light
    report       told (done, total) as work goes on

    The same arguments give the same answer. Raises SelfTestImpossible.
    """
    seen_images = _checked(images, monitor)
    seen = Seen.of(seen_images, is_linear=is_linear)
    wanted = {name: tuple(one.amounts) for name, one in DISTURBANCES.items()} if amounts is None else dict(amounts)
    hidden = tuple(name for name in wanted if seen.is_mono and not DISTURBANCES[name].shown_in_mono)
    shown = {name: sorted(found) for name, found in wanted.items() if name not in hidden}
    starts = [_start(seen_images, monitor, seed, replay, most_images) for replay in range(replays)]
    settled = [start for start in starts if start.monitor is not None]
    if not settled:
        cause = starts[0].cause
        raise SelfTestImpossible(
            f"the monitor alarms on these images as they are ({cause})",
            "take images from after the last change of light, optics or product, and none under an alarm",
        )
    total = sum(len(found) for found in shown.values()) + 1
    quiet = [start.false_alarms + _false_alarms(start, seen_images, most_images) for start in settled]
    report(1, total)
    trials: dict[str, tuple[Trial, ...]] = {}
    done = 1
    for name, ladder in shown.items():
        found = []
        for amount in ladder:
            found.append(_tried(name, amount, settled, seen_images, seen, seed, most_images))
            done += 1
            report(done, total)
        trials[name] = tuple(found)
    return SelfTest(
        trials,
        len(seen_images),
        most_images,
        len(starts) * _LEAD_IMAGES + len(settled) * most_images + sum(start.waited for start in starts),
        sum(quiet) + sum(start.false_alarms for start in starts if start.monitor is None),
        monitor.phase,
        monitor.layout.name if monitor.layout is not None else "frame",
        hidden,
    )


@dataclass(frozen=True, slots=True)
class _Start:
    """Where one replay begins: the monitor after some normal images, None where it never stopped alarming, the images
    that come next, and what happened meanwhile.
    """

    number: int
    monitor: OpticsMonitor | None
    order: tuple[int, ...]
    false_alarms: int
    waited: int
    cause: str


def _checked(images: Sequence[Pixels], monitor: OpticsMonitor) -> list[Pixels]:
    if monitor.phase == "commissioning":
        raise SelfTestImpossible("the monitor is still learning what is normal", "wait until it is provisional")
    if len(images) < FEWEST_IMAGES:
        raise SelfTestImpossible(f"there are {len(images)} images", f"give {FEWEST_IMAGES} or more, better 200")
    overviews = [as_overview(image) for image in images]
    shapes = {image.shape for image in overviews}
    if monitor.scene is not None:
        shapes.add((*monitor.scene.picture.shape, 3))
    if len(shapes) > 1:
        sizes = ", ".join(sorted(f"{shape[1]} x {shape[0]}" for shape in shapes))
        raise SelfTestImpossible(f"images and monitor are of different sizes ({sizes})", "give those of one camera")
    return overviews


def _start(images: Sequence[Pixels], monitor: OpticsMonitor, seed: int, number: int, most_images: int) -> _Start:
    """Let a copy of the monitor find out where the light is, as after a gap in time."""
    walk = _walk(len(images), np.random.default_rng([seed, number]))
    copy = monitor.copy()
    copy.deferred = False
    copy.resume()
    alarms, cause = 0, ""
    for _ in range(_LEAD_IMAGES):
        alarm = copy.update(images[next(walk)])
        alarms, cause = alarms + (alarm is not None), alarm.cause if alarm is not None else cause
    waited = 0
    while copy.standing is not None and waited < _PATIENCE * _LEAD_IMAGES:
        copy.update(images[next(walk)])
        waited += 1
    order = tuple(next(walk) for _ in range(most_images + EVIDENCE_IMAGES))
    settled = copy if copy.standing is None else None
    return _Start(number, settled, order, alarms, waited, cause or (monitor.standing.cause if monitor.standing else ""))


def _walk(count: int, rng: np.random.Generator) -> Iterator[int]:
    """To and fro through so many images, from anywhere and either way."""
    at, step = int(rng.integers(count)), int(rng.choice([-1, 1]))
    while True:
        yield at
        if not 0 <= at + step < count:
            step = -step
        at += step


def _false_alarms(start: _Start, images: Sequence[Pixels], most_images: int) -> int:
    """Alarms on undisturbed images."""
    assert start.monitor is not None
    copy, alarms = start.monitor.copy(), 0
    for at in start.order[:most_images]:
        if copy.update(images[at]) is not None:
            alarms += 1
            copy = start.monitor.copy()
    return alarms


def _tried(
    name: str,
    amount: float,
    starts: Sequence[_Start],
    images: Sequence[Pixels],
    seen: Seen,
    seed: int,
    most_images: int,
) -> Trial:
    disturbance: Disturbance = DISTURBANCES[name]
    delays: list[int | None] = []
    causes: list[str | None] = []
    for start in starts:
        # The place is drawn from what the amount has no part in: a spot grows where it is.
        place = np.random.default_rng([seed, start.number, list(DISTURBANCES).index(name)])
        done = disturbance.begin(amount, seen, place)
        delay, alarm = _alarm(start, images, _cached(done, images, place), most_images)
        delays.append(delay)
        causes.append(None if alarm is None else alarm.cause)
    return Trial(name, amount, disturbance.text(amount), tuple(delays), tuple(causes))


def _alarm(
    start: _Start, images: Sequence[Pixels], disturbed: Callable[[int], Pixels], most_images: int
) -> tuple[int | None, Alarm | None]:
    """After how many disturbed images the alarm came, and what it says after all the images that it looks at."""
    assert start.monitor is not None
    copy = start.monitor.copy()
    for delay, at in enumerate(start.order[:most_images], start=1):
        alarm = copy.update(disturbed(at))
        if alarm is not None:
            for later in start.order[delay : delay + EVIDENCE_IMAGES - 1]:
                copy.update(disturbed(later))
            return delay, alarm
    return None, None


def _cached(done: Done, images: Sequence[Pixels], each: np.random.Generator) -> Callable[[int], Pixels]:
    """Every image disturbed once, when it is first asked for: a replay comes by it several times."""
    made: dict[int, Pixels] = {}

    def disturbed(at: int) -> Pixels:
        if at not in made:
            made[at] = done(images[at], each)
        return made[at]

    return disturbed


def _or_never(delays: Sequence[int | None]) -> list[float]:
    return [np.inf if delay is None else delay for delay in delays]


def _images(count: int | None) -> str:
    return "no image" if count is None else f"{count} image{'s' if count > 1 else ''}"
