"""What a capability study came to: stable keys for programs, a row an inspector as CSV, one printable page for people.

`docs/challenges.md` explains the keys.
"""

import csv
import io
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from html import escape
from typing import Any

import numpy as np

from labeling.agreement import BANDS, InspectorAgreement, Kappa, Share, band, worst_band
from service.line.verdicts import NOT_INSPECTED
from service.study import LOUPE, Found, KnownImage, Look, provenance, wrong_images

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
    "right. Intervals are 95 % (Clopper-Pearson); bands are those of the AIAG handbook, for the value found and, in "
    "brackets where it is another, for what so few parts can't rule out."
)


@dataclass(frozen=True, slots=True)
class Sent:
    """What was sent, when, and where."""

    station: str
    rounds: int
    seed: int
    started_at: datetime
    ended_at: datetime


def summary(sent: Sent, images: Sequence[KnownImage], looks: Sequence[Look], found: Found) -> dict[str, Any]:
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
        "images": len(images),
        "parts": len({image.part for image in images}),
        "good_parts": len({image.part for image in images if image.ok}),
        "defective_parts": len({image.part for image in images if not image.ok}),
        "looks": len(looks),
        "not_inspected": sum(n for code, n in codes.items() if code >= NOT_INSPECTED),
        "result_codes": {str(code): codes[code] for code in sorted(codes)},
        "latency_ms": _latency([look.latency_ms for look in looks]),
        "provenance": provenance(looks),
        "inspectors": [_inspector(found.names[one.inspector], one) for one in agreement.inspectors],
        "pairs": [
            {
                "inspectors": [found.names[pair.first], found.names[pair.second]],
                "agreement": _share(pair.agreement),
                "kappa": _kappa(pair.kappa),
            }
            for pair in agreement.pairs
        ],
        "all_agree": _share(agreement.between),
        "all_right": _share(agreement.effectiveness),
        "fleiss_kappa": agreement.fleiss,
        "wrong": wrong_images(images, looks),
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
        **{figure: _rated(figure, share) for figure, share in zip(FIGURES, shares, strict=True)},
        "kappa": _kappa(found.kappa),
    }


def _rated(figure: str, share: Share | None) -> dict[str, Any] | None:
    if share is None or figure not in BANDS:
        return _share(share)
    return {**asdict(share), "band": band(figure, share.value), "worst_band": worst_band(figure, share)}


def _share(share: Share | None) -> dict[str, Any] | None:
    return None if share is None else asdict(share)


def _kappa(kappa: Kappa | None) -> dict[str, Any] | None:
    return None if kappa is None else asdict(kappa)


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


def share_text(share: dict[str, Any] | None) -> str:
    """A share with its interval, how many parts it rests on, and its band.

    >>> share_text({"value": 0.84, "low": 0.709, "high": 0.928, "n": 50, "band": "marginal", "worst_band": "marginal"})
    '84.0 % (70.9–92.8) of 50, marginal'
    """
    if share is None:
        return "–"
    text = f"{100 * share['value']:.1f} % ({100 * share['low']:.1f}–{100 * share['high']:.1f}) of {share['n']}"
    if "band" not in share:
        return text
    worse = "" if share["worst_band"] == share["band"] else f" [{share['worst_band']}]"
    return f"{text}, {share['band']}{worse}"


def kappa_text(kappa: dict[str, Any] | None) -> str:
    """A kappa with its interval.

    >>> kappa_text({"value": 0.8629, "low": 0.7763, "high": 0.9496, "n": 50})
    '0.863 (0.776–0.950)'
    """
    return "–" if kappa is None else f"{kappa['value']:.3f} ({kappa['low']:.3f}–{kappa['high']:.3f})"


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


STYLE = """
@page { size: A4 landscape; margin: 15mm }
body { font: 14px/1.45 system-ui, sans-serif; color: #1c2024; max-width: 1150px; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.5rem; margin-bottom: .2rem } h2 { font-size: 1.1rem; margin-top: 1.6rem }
table { border-collapse: collapse; width: 100%; page-break-inside: auto } tr { page-break-inside: avoid }
th, td { border-bottom: 1px solid #d5d9de; padding: .35rem .5rem; text-align: left; vertical-align: top }
th { background: #f2f4f6; font-weight: 600 } .small { color: #59636e; font-size: .85rem }
.acceptable { color: #116329 } .marginal { color: #7d4e00 } .unacceptable { color: #a40e26; font-weight: 600 }
@media print { body { margin: 0; max-width: none } th { background: none } }
"""


def as_html(result: dict[str, Any]) -> str:
    """One page that needs nothing else: no script, no font, no picture from anywhere."""
    title = f"Capability of inspection: {result['product']} at station {result['station']}"
    people = [one["inspector"] for one in result["inspectors"][1:]]
    beside = f", beside {', '.join(people)}" if people else ""
    parts = (
        f"{result['parts']} parts ({result['good_parts']} good, {result['defective_parts']} defective), "
        f"{result['images']} images, {result['rounds']} rounds, each in a random order of its own (seed "
        f"{result['seed']}): {result['looks']} looks of {LOUPE}{beside}."
    )
    body = [
        f"<h1>{escape(title)}</h1>",
        f'<p class="small">{escape(result["started_at"])} to {escape(result["ended_at"])}</p>',
        f"<p>{escape(parts)}</p>",
        "<h2>Inspectors</h2>",
        _table(columns(), [_html_row(one) for one in result["inspectors"]]),
        f'<p class="small">{escape(COUNTING)}</p>',
        *_between(result),
        "<h2>Not judged right every time</h2>",
        _wrong(result["wrong"]),
        "<h2>Time and origin</h2>",
        _table(["", ""], [[escape(name), escape(value)] for name, value in facts(result)]),
    ]
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head>\n<body>\n"
        + "\n".join(body)
        + "\n</body></html>\n"
    )


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


def _html_row(one: dict[str, Any]) -> list[str]:
    shares = [
        f'<span class="{(one[figure] or {}).get("band", "")}">{escape(share_text(one[figure]))}</span>'
        for figure in FIGURES
    ]
    return [escape(one["inspector"]), str(one["looks"]), str(one["parts"]), *shares, escape(kappa_text(one["kappa"]))]


def _between(result: dict[str, Any]) -> list[str]:
    if not result["pairs"]:
        return []
    pairs = [
        [escape(" and ".join(pair["inspectors"])), share_text(pair["agreement"]), kappa_text(pair["kappa"])]
        for pair in result["pairs"]
    ]
    fleiss = result["fleiss_kappa"]
    said = (
        f"All agree every time: {share_text(result['all_agree'])}. All are right every time: "
        f"{share_text(result['all_right'])}. Fleiss' kappa: {'–' if fleiss is None else f'{fleiss:.3f}'}."
    )
    return ["<h2>Between inspectors</h2>", _table(["inspectors", "agreement", "kappa"], pairs), f"<p>{said}</p>"]


def _wrong(wrong: Sequence[dict[str, Any]]) -> str:
    if not wrong:
        return f"<p>None: {LOUPE} was right every time.</p>"
    names = ("path", "part", "class", "expected")
    return _table(
        ["image", "part", "class", "expected", f"{LOUPE} said, round by round"],
        [[*(escape(one[name]) for name in names), escape(", ".join(one["said"]))] for one in wrong],
    )


def _table(heads: Iterable[str], cells: Iterable[Sequence[str]]) -> str:
    """Heads are text, cells are HTML."""
    head = "".join(f"<th>{escape(name)}</th>" for name in heads)
    body = "\n".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in cells)
    return f"<table><thead><tr>{head}</tr></thead><tbody>\n{body}\n</tbody></table>"
