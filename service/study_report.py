"""What a capability study came to: stable keys for programs, a row an inspector as text and as CSV.

`docs/challenges.md` explains the keys.
"""

import csv
import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np

from labeling.agreement import BANDS, InspectorAgreement
from service.figure_text import as_json, kappa_text, rated, share_text
from service.line.verdicts import NOT_INSPECTED
from service.study import Found, Look, provenance, wrong_items
from service.study_items import KnownItem

FIGURES = {
    "repeatability": "judged the same every time",
    "effectiveness": "judged right every time",
    "miss": "misses",
    "false_alarm": "false alarms",
    "recheck": "rechecks",
}
COUNTING = (
    "Parts are counted, not looks: of misses, false alarms and rechecks a part brings the share of its looks. "
    "A recheck does not pass the part: it is no miss, it counts as a false alarm on a good part, and it is never "
    "right. Intervals are 95 % (Clopper-Pearson); bands are those of the AIAG handbook, for the value found and, 'at "
    "worst', for what so few parts can't rule out."
)


@dataclass(frozen=True, slots=True)
class Sent:
    """What was sent, when, and where."""

    station: str
    rounds: int
    seed: int
    started_at: datetime
    ended_at: datetime


def summary(sent: Sent, items: Sequence[KnownItem], looks: Sequence[Look], found: Found) -> dict[str, Any]:
    """Everything that was found, under stable keys."""
    codes = Counter(look.result_code for look in looks)
    agreement = found.agreement
    return {
        "product": looks[0].product,
        "station": sent.station,
        "started_at": sent.started_at.isoformat(timespec="seconds"),
        "ended_at": sent.ended_at.isoformat(timespec="seconds"),
        "rounds": sent.rounds,
        "seed": sent.seed,
        "views": [view.view_id for view in items[0].views if view.view_id],
        "images": sum(len(item.views) for item in items),
        "parts": len({item.part for item in items}),
        "good_parts": len({item.part for item in items if item.ok}),
        "defective_parts": len({item.part for item in items if not item.ok}),
        "looks": len(looks),
        "not_inspected": sum(n for code, n in codes.items() if code >= NOT_INSPECTED),
        "result_codes": {str(code): codes[code] for code in sorted(codes)},
        "latency_ms": _latency([look.latency_ms for look in looks]),
        "provenance": provenance(looks),
        "inspectors": [_inspector(found.names[one.inspector], one) for one in agreement.inspectors],
        "pairs": [
            {
                "inspectors": [found.names[pair.first], found.names[pair.second]],
                "agreement": as_json(pair.agreement),
                "kappa": as_json(pair.kappa),
            }
            for pair in agreement.pairs
        ],
        "all_agree": as_json(agreement.between),
        "all_right": as_json(agreement.effectiveness),
        "fleiss_kappa": agreement.fleiss,
        "wrong": wrong_items(items, looks),
    }


def _latency(ms: Sequence[float]) -> dict[str, float]:
    p50, p95 = np.quantile(ms, (0.5, 0.95))
    return {"p50": round(float(p50), 2), "p95": round(float(p95), 2), "max": round(max(ms), 2)}


def _inspector(name: str, found: InspectorAgreement) -> dict[str, Any]:
    shares = (found.repeatability, found.effectiveness, found.miss, found.false_alarm, found.undecided)
    return {
        "inspector": name,
        "is_loupe": found.inspector == 0,
        "looks": found.looks,
        "parts": found.parts,
        **{figure: rated(figure, share) for figure, share in zip(FIGURES, shares, strict=True)},
        "kappa": as_json(found.kappa),
    }


def columns() -> list[str]:
    """The heads of `rows`."""
    return ["inspector", "looks", "parts", *FIGURES.values(), "kappa"]


def rows(result: dict[str, Any]) -> list[list[str]]:
    """A row of text an inspector."""
    return [
        [
            one["inspector"],
            str(one["looks"]),
            str(one["parts"]),
            *(share_text(one[figure]) for figure in FIGURES),
            kappa_text(one["kappa"]),
        ]
        for one in result["inspectors"]
    ]


def as_csv(result: dict[str, Any]) -> str:
    """One row an inspector, plain numbers, with what names the study in every row."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    parts_of = ("value", "low", "high", "n")
    banded = [figure for figure in FIGURES if figure in BANDS]
    named = ("product", "station", "started_at", "rounds")
    writer.writerow(
        [
            *named,
            "inspector",
            "looks",
            "parts",
            *(f"{figure}_{part}" for figure in (*FIGURES, "kappa") for part in parts_of),
            *(f"{figure}_{kind}" for figure in banded for kind in ("band", "worst_band")),
        ]
    )
    for one in result["inspectors"]:
        writer.writerow(
            [
                *(result[name] for name in named),
                one["inspector"],
                one["looks"],
                one["parts"],
                *((one[figure] or {}).get(part, "") for figure in (*FIGURES, "kappa") for part in parts_of),
                *((one[figure] or {}).get(kind, "") for figure in banded for kind in ("band", "worst_band")),
            ]
        )
    return text.getvalue()


def facts(result: dict[str, Any]) -> list[tuple[str, str]]:
    """Time, system codes and provenance, as name and text."""
    ms = result["latency_ms"]
    found = [
        ("latency p50 / p95 / max", f"{ms['p50']:.1f} / {ms['p95']:.1f} / {ms['max']:.1f} ms"),
        ("looks that nobody could take", f"{result['not_inspected']} of {result['looks']} (codes from 900 on)"),
    ]
    for one in result["provenance"]:
        text = (
            f"model {one['model']} (SHA-256 {one['model_sha256'][:16]}…), recipe {one['recipe']} version "
            f"{one['recipe_version']}, {one['execution_provider']}: {one['answers']} answers"
        )
        found.append(("made by", text))
    return found


def cautions(result: dict[str, Any]) -> list[str]:
    """What keeps the figures from meaning what they seem to; mostly nothing."""
    found = [
        f"no part is {kind}: name the good classes with --ok, or add such parts"
        for kind, parts in (("good", result["good_parts"]), ("defective", result["defective_parts"]))
        if not parts
    ]
    if len(result["provenance"]) > 1:
        found.append(
            "model, recipe or execution provider changed meanwhile, so the figures are of no single one: study again"
        )
    if result["not_inspected"]:
        found.append(
            f"{result['not_inspected']} of {result['looks']} looks ended in a code from 900 on: they count as rechecks"
        )
    return found
