"""What the consensus of a product's labels came to and why inspectors disagree, under stable keys.

`docs/disagreement.md` explains the keys.
"""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from labeling.agreement import Share
from labeling.disagreement.causes import BOOK, KINDS, NOISY, Causes, causes
from labeling.disagreement.conditions import Condition, conditions
from labeling.disagreement.confusions import Confusion, confusions
from labeling.disagreement.drift import FALSE_ALARMS, Drift, drifts
from labeling.disagreement.limit_samples import candidates
from labeling.disagreement.significance import FALSE_DISCOVERIES
from labeling.human_level import Error, HumanLevel, human_level
from labeling.others import others
from labeling.votes import Consensus, Floats, Ints, Votes

SEED = 0
"""Of all that is drawn at random, so that the same labels give the same report."""
SURE = 0.8
"""From this probability on an image is clear; below, the consensus is a guess."""
SHOWN = 8
"""Rows of a table that people read."""
HOURS = 6
"""The day is compared in blocks of so many hours, UTC."""
VERDICTS = ("clear", "unclear", "book", "noisy")


@dataclass(frozen=True, slots=True)
class Settled:
    """Judgements, what they came to, and what the numbers stand for."""

    source: str
    votes: Votes
    consensus: Consensus
    items: tuple[str, ...]
    inspectors: tuple[str, ...]
    classes: tuple[str, ...]
    ok: tuple[int, ...]
    """Good classes."""
    shifts: tuple[str, ...]
    """One a look, empty where nobody says."""


def summary(settled: Settled) -> dict[str, Any]:
    """Everything that was found."""
    rng = np.random.default_rng(SEED)
    votes, consensus, class_count = settled.votes, settled.consensus, len(settled.classes)
    said = others(votes, class_count)
    why = causes(votes, consensus, rng)
    items = _items(settled, why)
    levels, names = _levels(settled)
    tested = conditions(votes, said, levels, rng)
    charts = drifts(votes, class_count, rng)
    found = confusions(votes, said)
    human = human_level(votes, consensus)
    return {
        "source": settled.source,
        "method": consensus.method,
        "reason": consensus.reason,
        "labels": len(votes.item),
        "images": len(settled.items),
        "classes": _classes(settled),
        "inspectors": _inspectors(settled, human),
        "verdicts": {name: sum(one["verdict"] == name for one in items) for name in VERDICTS},
        "causes": {name: int((why.kind == number).sum()) for number, name in enumerate(KINDS)},
        "items": items,
        "confusions": [_confusion(settled, one) for one in found if one.q <= FALSE_DISCOVERIES],
        "confusions_seen": len(found),
        "borders": _borders(settled, why),
        "conditions": [_condition(settled, names, one) for one in tested if one.q <= FALSE_DISCOVERIES],
        "conditions_tested": len(tested),
        "drift": [_drift(settled, one) for one in charts],
        "drift_false_alarms": FALSE_ALARMS,
        "human_level": _human_levels(settled, human),
        "limit_samples": [
            {
                "item": settled.items[one.item],
                "classes": [settled.classes[one.first], settled.classes[one.second]],
                "role": {"first": settled.classes[one.first], "second": settled.classes[one.second]}.get(
                    one.role, one.role
                ),
                "reason": one.reason,
            }
            for one in candidates(votes, why, settled.classes)
        ],
    }


def unclear(result: dict[str, Any], verdict: str) -> list[dict[str, Any]]:
    """The items of a verdict: those whose cause is surest first, and of the unclear ones the least certain."""
    chosen = [one for one in result["items"] if one["verdict"] == verdict]
    if verdict == "unclear":
        return sorted(chosen, key=lambda one: max(one["probability"].values()))
    key = "p_book" if verdict == "book" else "p_noisy"
    return sorted(chosen, key=lambda one: -float(one[key]))


def as_csv(result: dict[str, Any]) -> str:
    """One row an item, in plain numbers."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    names = [one["class"] for one in result["classes"]]
    heads = ("label", "verdict", "cause", "looks", "effective_votes", "p_book", "p_noisy")
    writer.writerow(["item", *heads, *(f"p_{name}" for name in names)])
    for one in result["items"]:
        writer.writerow([one["item"], *(one[head] for head in heads), *(one["probability"][name] for name in names)])
    return text.getvalue()


def _items(settled: Settled, why: Causes) -> list[dict[str, Any]]:
    consensus = settled.consensus
    looks = np.bincount(settled.votes.item, minlength=len(settled.items))
    counts = np.zeros((len(settled.items), len(settled.classes)), np.int64)
    np.add.at(counts, (settled.votes.item, settled.votes.label), 1)
    return [
        {
            "item": name,
            "label": settled.classes[consensus.label[n]],
            "probability": _by_class(settled, consensus.probability[n]),
            "effective_votes": round(float(consensus.effective_votes[n]), 3),
            "looks": int(looks[n]),
            "said": {settled.classes[k]: int(counts[n, k]) for k in np.flatnonzero(counts[n])},
            "verdict": _verdict(int(why.kind[n]), float(consensus.probability[n].max())),
            "cause": KINDS[why.kind[n]],
            "p_book": round(float(why.score[n]), 3),
            "p_noisy": round(float(why.noisy[n]), 3),
        }
        for n, name in enumerate(settled.items)
    ]


def _by_class(settled: Settled, values: Floats) -> dict[str, float]:
    return {name: round(float(value), 4) for name, value in zip(settled.classes, values, strict=True)}


def _verdict(kind: int, probability: float) -> str:
    """What there is to do about an image: nothing, further looks, a word of the book, or a better picture.

    >>> _verdict(BOOK, 0.99), _verdict(NOISY, 0.6), _verdict(0, 0.7), _verdict(1, 0.9)
    ('book', 'noisy', 'unclear', 'clear')
    """
    if kind == BOOK:
        return "book"
    if probability >= SURE:
        return "clear"
    return "noisy" if kind == NOISY else "unclear"


def _classes(settled: Settled) -> list[dict[str, Any]]:
    share = settled.consensus.probability.mean(axis=0) if len(settled.items) else np.zeros(len(settled.classes))
    said = np.bincount(settled.votes.label, minlength=len(settled.classes))
    return [
        {"class": name, "ok": n in settled.ok, "labels": int(said[n]), "share": round(float(share[n]), 4)}
        for n, name in enumerate(settled.classes)
    ]


def _inspectors(settled: Settled, human: HumanLevel) -> dict[str, dict[str, Any]]:
    votes, consensus = settled.votes, settled.consensus
    found = {}
    for number, name in enumerate(settled.inspectors):
        mine = votes.inspector == number
        mix = consensus.probability[votes.item[mine]].mean(axis=0)
        found[name] = {
            "labels": int(mine.sum()),
            "agreement": round(float((consensus.label[votes.item] == votes.label)[mine].mean()), 4),
            "accuracy": round(float(mix @ np.diag(consensus.confusion[number])), 4),
            "agreement_with_others": _share(_right(human.by_inspector[number])),
        }
    return found


def _right(error: Error | None) -> Share | None:
    if error is None:
        return None
    raw = error.raw
    return Share(raw.n - raw.hits, raw.n, 1 - raw.value, 1 - raw.high, 1 - raw.low)


def _share(share: Share | None) -> dict[str, float] | None:
    if share is None:
        return None
    return {"value": round(share.value, 4), "low": round(share.low, 4), "high": round(share.high, 4), "n": share.n}


def _confusion(settled: Settled, one: Confusion) -> dict[str, Any]:
    return {
        "inspector": settled.inspectors[one.inspector],
        "others": settled.classes[one.others],
        "said": settled.classes[one.said],
        "rate": _share(one.rate),
        "team": _share(one.team),
        "q": round(one.q, 5),
    }


def _borders(settled: Settled, why: Causes) -> list[dict[str, Any]]:
    found = []
    for one in why.borders:
        theirs = (why.pair == (one.first, one.second)).all(axis=1)
        judged = np.unique(settled.votes.inspector[np.isin(settled.votes.item, one.item)])
        found.append(
            {
                "classes": [settled.classes[one.first], settled.classes[one.second]],
                "images": int(theirs.sum()),
                **{name: int((why.kind[theirs] == n).sum()) for n, name in enumerate(KINDS) if n},
                "points": {
                    settled.inspectors[who]: {
                        "value": round(float(one.point[who]), 3),
                        "spread": round(float(one.point_spread[who]), 3),
                    }
                    for who in judged.tolist()
                },
            }
        )
    return sorted(found, key=lambda one: -int(one["images"]))


def _levels(settled: Settled) -> tuple[dict[str, Ints], dict[str, Sequence[str]]]:
    """What may make an inspector judge otherwise, as numbers, and the names of the numbers."""
    votes = settled.votes
    levels: dict[str, Ints] = {"look": np.minimum(votes.occasion, 1)}
    names: dict[str, Sequence[str]] = {"look": ("first look", "further looks")}
    shifts = sorted({one for one in settled.shifts if one})
    if shifts:
        levels["shift"] = np.array([shifts.index(one) if one else -1 for one in settled.shifts], np.int64)
        names["shift"] = shifts
    if votes.time is not None and bool(np.isfinite(votes.time).any()):
        known = np.isfinite(votes.time)
        block = np.where(known, np.where(known, votes.time, 0.0) // (3600 * HOURS) % (24 // HOURS), -1)
        levels["time of day"] = block.astype(np.int64)
        names["time of day"] = [f"{hour:02}–{hour + HOURS:02} h UTC" for hour in range(0, 24, HOURS)]
    return levels, names


def _condition(settled: Settled, names: dict[str, Sequence[str]], one: Condition) -> dict[str, Any]:
    return {
        "inspector": settled.inspectors[one.inspector],
        "kind": one.kind,
        "worst": names[one.kind][one.levels[one.worst]],
        "levels": {
            names[one.kind][level]: {**(_share(rate) or {}), "expected": round(expected, 4)}
            for level, rate, expected in zip(one.levels, one.rates, one.expected, strict=True)
        },
        "q": round(one.q, 5),
    }


def _drift(settled: Settled, one: Drift) -> dict[str, Any]:
    time = settled.votes.time
    since = None if one.onset is None else int(one.look[one.onset])
    return {
        "inspector": settled.inspectors[one.inspector],
        "alarm": one.is_alarm,
        "p": round(one.p, 5),
        "since": None if since is None or time is None else float(time[since]),
        "since_item": None if since is None else settled.items[settled.votes.item[since]],
        "onset": one.onset,
        "looks": len(one.look),
        "before": None if one.before is None else round(one.before, 4),
        "after": None if one.after is None else round(one.after, 4),
        "limit": round(one.limit, 3),
        "chart": [round(float(value), 3) for value in one.chart],
    }


def _human_levels(settled: Settled, classes: HumanLevel) -> dict[str, Any]:
    found = {"classes": _human(classes, settled.classes)}
    if 0 < len(settled.ok) < len(settled.classes) and len(settled.classes) > 2:
        decided = human_level(settled.votes, settled.consensus, settled.ok)
        found["decisions"] = _human(decided, ("good", "not good"))
    return found


def _human(level: HumanLevel, names: Sequence[str]) -> dict[str, Any]:
    return {
        "error": _error(level.overall),
        "by_class": {name: _error(one) for name, one in zip(names, level.by_class, strict=True)},
        "reason": level.reason,
    }


def _error(error: Error | None) -> dict[str, Any] | None:
    if error is None:
        return None
    return {
        "raw": _share(error.raw),
        "corrected": _share(error.corrected),
        "looks": error.looks,
        "images": error.items,
    }
