"""What the bench of the optics monitor came to: stable keys for programs, tables for people and for pages."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from monitoring.calibration import clopper_pearson
from service.bench.level_detectors import Result
from service.bench.optics import SEVERITIES, CameraRun, Plan, Scenario, Verdict

OURS = "Loupe"
KINDS = {
    **{f"severity_{n + 1}": ("sudden", n) for n in range(SEVERITIES)},
    "slow": ("slow", None),
}
"""What results are told of: kind and severity of a change."""
HEADS = {"severity_1": "smallest", "severity_2": "middle", "severity_3": "gross", "slow": "slowly"}


def summary(plan: Plan, runs: Sequence[CameraRun], found: dict[str, list[Result]]) -> dict[str, Any]:
    """Everything, under stable keys."""
    ours = [[verdict.delay for verdict in run.verdicts] for run in runs]
    us = float(np.mean([run.us for run in runs]))
    level_us = float(np.mean([run.level_us for run in runs]))
    contenders = {
        OURS: {
            **_contender(plan, runs, ours, [len(run.false_alarms) for run in runs]),
            "us": us,
            "us_over_loupe": 1.0,
            "named_right": _named_right(runs),
        }
    }
    for name, results in found.items():
        own = float(np.mean([result.us for result in results])) + level_us
        contenders[name] = {
            **_contender(plan, runs, [result.delays for result in results], [r.false_alarms for r in results]),
            "us": own,
            "us_over_loupe": own / us,
            "thresholds": {run.camera: result.threshold for run, result in zip(runs, results, strict=True)},
        }
    return {
        "commission": plan.commission,
        "in_control": plan.in_control,
        "post": plan.post,
        "places": plan.places,
        "contenders": contenders,
        "cameras": [_camera(run) for run in runs],
        "changes": _changes(runs),
        "scenarios": [
            {
                "camera": run.camera,
                "change": scenario.name,
                "kind": scenario.kind,
                "severity": scenario.happening.severity + 1,
                "place": scenario.happening.place,
                "delay": verdict.delay,
                "cause": verdict.cause,
                "chart": verdict.chart,
            }
            for run in runs
            for scenario, verdict in zip(run.scenarios, run.verdicts, strict=True)
        ],
    }


def _contender(
    plan: Plan, runs: Sequence[CameraRun], delays: Sequence[Sequence[int | None]], false_alarms: Sequence[int]
) -> dict[str, Any]:
    """False alarms, and what is found by severity and kind."""
    images = plan.in_control * len(runs)
    low, high = clopper_pearson(sum(false_alarms), images)
    all_delays = [
        (scenario, min(delay, scenario.images) if delay is not None and delay <= scenario.images else None)
        for run, of_run in zip(runs, delays, strict=True)
        for scenario, delay in zip(run.scenarios, of_run, strict=True)
    ]
    return {
        "false_alarms": sum(false_alarms),
        "false_alarms_per_10k": {"value": 1e4 * sum(false_alarms) / images, "low": 1e4 * low, "high": 1e4 * high},
        "false_alarms_by_camera": {run.camera: count for run, count in zip(runs, false_alarms, strict=True)},
        **{
            key: found
            for key, (kind, severity) in KINDS.items()
            if (
                found := _found(
                    [d for s, d in all_delays if s.kind == kind and severity in (None, s.happening.severity)]
                )
            )
        },
    }


def _found(delays: Sequence[int | None]) -> dict[str, Any]:
    """How many of so many scenarios were found, and how soon; a delay is None where so many are missed."""
    if not delays:
        return {}
    waited = sorted(np.inf if delay is None else delay for delay in delays)
    middle, late = (waited[min(len(waited) - 1, int(np.ceil(share * len(waited))) - 1)] for share in (0.5, 0.9))
    return {
        "scenarios": len(delays),
        "found": sum(delay is not None for delay in delays),
        "share": sum(delay is not None for delay in delays) / len(delays),
        "median_delay": None if middle == np.inf else int(middle),
        "p90_delay": None if late == np.inf else int(late),
    }


def _named_right(runs: Sequence[CameraRun]) -> dict[str, float | None]:
    """The share of what was found that was called what it is, by severity and of slow changes."""
    both = [(s, v) for run in runs for s, v in zip(run.scenarios, run.verdicts, strict=True) if v.delay is not None]
    found: dict[str, float | None] = {}
    for key, (kind, severity) in KINDS.items():
        those = [s.name == v.cause for s, v in both if s.kind == kind and severity in (None, s.happening.severity)]
        found[key] = sum(those) / len(those) if those else None
    return found


def _camera(run: CameraRun) -> dict[str, Any]:
    both = list(zip(run.scenarios, run.verdicts, strict=True))
    optics = [verdict.delay for scenario, verdict in both if scenario.kind != "part"]
    right = [s.name == v.cause for s, v in both if s.kind != "part" and v.delay is not None]
    return {
        "camera": run.camera,
        "layout": run.layout,
        "phase": run.phase,
        "false_alarms": run.false_alarms,
        **_found(optics),
        "named_right": sum(right) / len(right) if right else None,
        "us": run.us,
    }


def _changes(runs: Sequence[CameraRun]) -> list[dict[str, Any]]:
    """What the monitor made of each change, by kind and severity, over all cameras."""
    groups: dict[tuple[str, str], list[tuple[Scenario, Verdict]]] = {}
    for run in runs:
        for scenario, verdict in zip(run.scenarios, run.verdicts, strict=True):
            groups.setdefault((scenario.kind, scenario.name), []).append((scenario, verdict))
    found = []
    for (kind, name), both in groups.items():
        causes: dict[str, int] = {}
        for _, verdict in both:
            if verdict.cause is not None:
                causes[verdict.cause] = causes.get(verdict.cause, 0) + 1
        by_severity = [_found([v.delay for s, v in both if s.happening.severity == n]) for n in range(SEVERITIES)]
        found.append(
            {
                "change": name,
                "kind": kind,
                "severities": by_severity,
                "causes": dict(sorted(causes.items(), key=lambda pair: -pair[1])),
            }
        )
    return found


Table = tuple[str, list[str], list[list[str]]]
"""Title, heads and rows."""


def tables(result: dict[str, Any]) -> list[Table]:
    """The summary for people."""
    return [_contenders(result), _by_change(result), _by_camera(result)]


def as_markdown(result: dict[str, Any]) -> str:
    """The summary for a page."""
    parts = []
    for title, heads, rows in tables(result):
        lines = [f"**{title}**", "", f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
        parts.append("\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)]))
    return "\n\n".join(parts) + "\n"


def _contenders(result: dict[str, Any]) -> Table:
    shown = [key for key in KINDS if key in result["contenders"][OURS]]
    heads = ["", "false alarms per 10,000", *(HEADS[key] for key in shown), "CPU µs an image", "x Loupe"]
    rows = []
    for name, one in result["contenders"].items():
        rate = one["false_alarms_per_10k"]
        alarms = f"{rate['value']:.1f} ({rate['low']:.1f}–{rate['high']:.1f})"
        cells = [_found_text(one[key]) for key in shown]
        rows.append([name, alarms, *cells, f"{one['us']:.0f}", f"{one['us_over_loupe']:.2f}"])
    return "found, median and 90 % delay in images", heads, rows


def _found_text(found: dict[str, Any]) -> str:
    """A share with its delays.

    >>> _found_text({"share": 0.9583, "median_delay": 2, "p90_delay": None})
    '96 %, 2, –'
    """
    if not found:
        return "–"
    median, late = ("–" if found[name] is None else str(found[name]) for name in ("median_delay", "p90_delay"))
    return f"{100 * found['share']:.0f} %, {median}, {late}"


def _by_change(result: dict[str, Any]) -> Table:
    heads = ["change", *(HEADS[f"severity_{n + 1}"] for n in range(SEVERITIES)), "called"]
    names = {"sudden": "", "slow": ", slowly", "part": " (parts)"}
    rows = []
    for one in result["changes"]:
        called = ", ".join(f"{cause.replace('_', ' ')} {count}" for cause, count in list(one["causes"].items())[:4])
        cells = [_of(found) for found in one["severities"]]
        rows.append([one["change"].replace("_", " ") + names[one["kind"]], *cells, called])
    return f"{OURS} by change: found of all, median delay", heads, rows


def _of(found: dict[str, Any]) -> str:
    if not found:
        return "–"
    delay = "–" if found["median_delay"] is None else str(found["median_delay"])
    return f"{found['found']} of {found['scenarios']}, {delay}"


def _by_camera(result: dict[str, Any]) -> Table:
    rows = [
        [
            one["camera"].replace("_", " "),
            one["layout"],
            one["phase"],
            str(len(one["false_alarms"])),
            _of(one),
            "–" if one["named_right"] is None else f"{100 * one['named_right']:.0f} %",
            f"{one['us']:.0f}",
        ]
        for one in result["cameras"]
    ]
    heads = ["camera", "measured on", "phase", "false alarms", "found", "called right", "CPU µs"]
    return f"{OURS} by camera", heads, rows
