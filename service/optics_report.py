"""What a camera's optics monitor notices, as programs, terminals and tables read it."""

import csv
import io
from collections import Counter
from collections.abc import Sequence
from typing import Any

from monitoring.advice import title_of
from monitoring.charts import Charts
from monitoring.disturbances import DISTURBANCES, Seen
from monitoring.optics import OpticsMonitor
from monitoring.selftest import SelfTest, Trial
from service.saved_baselines import SavedBaseline

AT_ONCE, SOON = 2, 50
"""Images within which something counts as found at once, and soon."""
FEW_IMAGES = 60

PHASES = {
    "commissioning": "the camera still learns what is normal: nothing alarms yet",
    "provisional": "commissioning has not ended: only gross changes alarm",
}


def summary(
    found: SelfTest, monitor: OpticsMonitor, seen: Seen, replays: int, seed: int, skipped: Sequence[dict[str, str]]
) -> dict[str, Any]:
    """The report as a JSON object; `docs/optics-bench.md` lists its keys."""
    low, high = found.false_alarm_share
    result: dict[str, Any] = {
        "images": found.images,
        "width": seen.width,
        "height": seen.height,
        "is_mono": seen.is_mono,
        "is_linear": seen.is_linear,
        "noise": round(seen.noise, 3),
        "hides_rounding": seen.hides_rounding,
        "skipped": list(skipped),
        "phase": found.phase,
        "layout": found.layout,
        "calibration": calibration(monitor.state()),
        "replays": replays,
        "most_images": found.most_images,
        "seed": seed,
        "quiet_images": found.quiet_images,
        "false_alarms": found.false_alarms,
        "false_alarms_per_10k": {
            "value": 1e4 * found.false_alarms / found.quiet_images,
            "low": 1e4 * low,
            "high": 1e4 * high,
        },
        "not_shown": list(found.not_shown),
        "disturbances": [_disturbance(found, name) for name in found.trials],
    }
    return {**result, "cautions": cautions(result)}


def calibration(state: Any) -> dict[str, Any] | None:
    """False alarms seen while commissioning, of a monitor's state; None before it has ended."""
    found = state["calibration"]
    return found and {name: found[name] for name in ("images", "alarms", "rate_per_10k", "low", "high")}


def _disturbance(found: SelfTest, name: str) -> dict[str, Any]:
    at_once, soon = (found.smallest_within(name, images) for images in (AT_ONCE, SOON))
    return {
        "name": name,
        "what": DISTURBANCES[name].what,
        "title": title_of(name),
        "sentence": found.sentence(name),
        "smallest_at_once": None if at_once is None else _amount(at_once),
        "smallest_soon": None if soon is None else _amount(soon),
        "trials": [_trial(trial) for trial in found.trials[name]],
    }


def _amount(trial: Trial) -> dict[str, Any]:
    short = DISTURBANCES[trial.disturbance].amount_text(trial.amount)
    return {"amount": trial.amount, "short": short, "text": trial.text}


def _trial(trial: Trial) -> dict[str, Any]:
    return {
        **_amount(trial),
        "times": len(trial.delays),
        "found": trial.found,
        "share_within_5": trial.share_within(5),
        "share_within_20": trial.share_within(20),
        "share_within_200": trial.share_within(200),
        "median_delay": trial.median_delay,
        "tries": [{"delay": delay, "cause": cause} for delay, cause in zip(trial.delays, trial.causes, strict=True)],
        "named_right": trial.named_right,
        "causes": dict(Counter(filter(None, trial.causes)).most_common()),
    }


def cautions(result: dict[str, Any]) -> list[str]:
    """What to be careful about."""
    found = []
    if result["phase"] in PHASES:
        found.append(PHASES[result["phase"]])
    if result["layout"] == "frame":
        found.append("too little keeps still before this camera: light and parts can't be told apart as well")
    if result["false_alarms"]:
        found.append(
            f"{result['false_alarms']} alarms on {result['quiet_images']} undisturbed images: "
            "what is found late may be one of these"
        )
    if result["images"] < FEW_IMAGES:
        found.append(f"{result['images']} images say little about how parts and light vary; give {FEW_IMAGES} or more")
    if result["layout"] == "scene" and not result["hides_rounding"]:
        found.append("the images have so little noise that changes of less than a count look otherwise than they would")
    if result["not_shown"]:
        names = ", ".join(title_of(name).lower() for name in result["not_shown"])
        found.append(f"not tried, for the camera sees one colour: {names}")
    return found


def heads() -> list[str]:
    """The heads of `rows`."""
    return ["smallest", f"in {AT_ONCE} images", f"in {SOON} images", "not found", "called right"]


def rows(result: dict[str, Any]) -> list[list[str]]:
    """A row a disturbance: the smallest amount found at once and soon, the largest one missed, and its name."""
    return [
        [
            one["what"],
            _text(one["smallest_at_once"]),
            _text(one["smallest_soon"]),
            _text(_missed(one)),
            _named(one),
        ]
        for one in result["disturbances"]
    ]


def _text(found: dict[str, Any] | None) -> str:
    return "–" if found is None else str(found["short"])


def _missed(one: dict[str, Any]) -> dict[str, Any] | None:
    """The largest amount that half of the times or more ended without an alarm."""
    missed = [trial for trial in one["trials"] if trial["median_delay"] is None]
    return missed[-1] if missed else None


def _named(one: dict[str, Any]) -> str:
    """How often a disturbance was called what it is, and what else most often.

    >>> _named({"name": "haze", "trials": [{"found": 5, "named_right": 4, "causes": {"haze": 4, "noise": 1}}]})
    '4 of 5, else noise'
    """
    found, right = (sum(trial[key] for trial in one["trials"]) for key in ("found", "named_right"))
    if not found:
        return "–"
    causes = sum((Counter(trial["causes"]) for trial in one["trials"]), Counter[str]())
    others = [cause for cause, _ in causes.most_common() if cause != one["name"]]
    return f"{right} of {found}" + (f", else {others[0].replace('_', ' ')}" if others else "")


def as_csv(result: dict[str, Any]) -> str:
    """A row an amount of a disturbance."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    figures = ("times", "found", "share_within_5", "share_within_20", "share_within_200", "median_delay", "named_right")
    writer.writerow(["disturbance", "amount", "text", *figures, "causes"])
    for one in result["disturbances"]:
        for trial in one["trials"]:
            causes = " ".join(f"{cause}:{count}" for cause, count in trial["causes"].items())
            values = ["" if trial[name] is None else trial[name] for name in figures]
            writer.writerow([one["name"], trial["amount"], trial["text"], *values, causes])
    return text.getvalue()


def false_alarm_text(found: dict[str, Any] | None) -> str:
    """A calibration's false alarms an image, with their interval.

    >>> false_alarm_text({"images": 400, "alarms": 0, "rate_per_10k": 0.0, "low": 0.0, "high": 91.8})
    '0 per 10,000 (0–91.8), 400 images'
    """
    if found is None:
        return "not calibrated"
    return f"{found['rate_per_10k']:.3g} per 10,000 ({found['low']:.3g}–{found['high']:.3g}), {found['images']} images"


def chart_rows(monitor: OpticsMonitor) -> list[list[str]]:
    """What commissioning learnt of each signal, under `CHART_HEADS`: of a map, of its most restless cell."""
    state = monitor.state()
    if state["charts"] is None:
        return []
    charts = Charts.from_state(state["charts"])
    layout, baseline = charts.layout, charts.baseline
    signals = [chart.partition(".")[0] for chart in layout.charts if chart.endswith(".jump")]
    jumps, drifts = charts.limits[: len(signals)], charts.limits[len(signals) : 2 * len(signals)]
    found = []
    for place, name in enumerate(signals):
        where = layout.places == place
        widths = (
            baseline.spread[where].max(),
            baseline.band[where].max(),
            *(limit[place] for limit in (jumps, drifts)),
        )
        found.append([name.replace("_", " "), *(f"{width:.3g}" for width in widths)])
    return found


CHART_HEADS = ("signal", "image to image", "band ±", "jump limit ×", "drift limit ×")


def status_row(saved: SavedBaseline) -> dict[str, Any]:
    """How a camera's monitor stood when it was saved, as a JSON object."""
    state = saved.state
    standing = state["standing"]
    charts, calibrated = state["charts"], calibration(state)
    return {
        **saved.sight._asdict(),
        "version": saved.version,
        "saved_at": saved.saved_at.isoformat(),
        "phase": "commissioning" if charts is None else "provisional" if calibrated is None else "calibrated",
        "layout": state["layout"],
        "images_learnt": state["learnt"],
        "commission": state["commission"],
        "images": state["images"],
        "calibration": calibrated,
        "standing": standing
        and {
            "cause": standing["diagnosis"]["cause"],
            "title": title_of(standing["diagnosis"]["cause"]),
            "chart": standing["chart"],
            "ratio": standing["ratio"],
            "images": state["images"] - standing["onset"],
        },
    }
