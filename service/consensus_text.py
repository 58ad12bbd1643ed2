"""What the consensus came to, in words and in rows of tables, for the terminal and for the page."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from service.consensus_report import SHOWN, SURE, VERDICTS

MEANING = {
    "clear": "settled",
    "unclear": "further looks would help",
    "book": "the label book must say what these are; further looks don't help",
    "noisy": "the same look comes out now so, now so: a better picture or definition",
}
HEADS: dict[str, Sequence[str]] = {
    "classes": ("class", "share", "labels"),
    "inspectors": ("inspector", "labels", "accuracy", "agrees with the others"),
    "verdicts": ("images", "", "what there is to do"),
    "items": ("image", "said", "consensus", "book", "chance"),
    "confusions": ("inspector", "says", "of what others call", "how often", "the others"),
    "conditions": ("inspector", "on", "differs", "expected", "q"),
    "drift": ("inspector", "since", "differed before", "since then"),
    "human": ("error of one inspector", "raw", "corrected", "looks"),
    "limits": ("border", "shows", "image", "why"),
}


def rows(result: dict[str, Any], kind: str) -> list[list[str]]:
    """The rows of a table of HEADS."""
    return _ROWS[kind](result)


def item_rows(items: Sequence[dict[str, Any]]) -> list[list[str]]:
    """Images with what was said of them and what it means, the first SHOWN."""
    return [
        [
            one["item"],
            ", ".join(f"{n} × {name}" for name, n in sorted(one["said"].items(), key=lambda pair: -pair[1])),
            f"{one['label']} {percent(max(one['probability'].values()))}",
            percent(one["p_book"]),
            percent(one["p_noisy"]),
        ]
        for one in items[:SHOWN]
    ]


def percent(value: float | None) -> str:
    """A share in per cent.

    >>> percent(0.9731), percent(0.004), percent(None)
    ('97 %', '0.4 %', '–')
    """
    if value is None:
        return "–"
    return f"{100 * value:.0f} %" if value >= 0.095 or value == 0 else f"{100 * value:.1f} %"


def interval(share: dict[str, float] | None) -> str:
    """A share with its interval.

    >>> interval({"value": 0.041, "low": 0.02, "high": 0.075, "n": 200})
    '4.1 % (2.0–7.5)'
    """
    if share is None:
        return "–"
    return f"{100 * share['value']:.1f} % ({100 * share['low']:.1f}–{100 * share['high']:.1f})"


def cautions(result: dict[str, Any]) -> list[str]:
    """What keeps the figures from meaning what they seem to."""
    found = []
    if len(result["inspectors"]) == 2:
        found.append("two inspectors: where they differ, nobody can tell which of them is wrong or has changed")
    if result["human_level"]["classes"]["error"] is None:
        found.append(result["human_level"]["classes"]["reason"])
    again = sum(one["looks"] > len(one["said"]) for one in result["items"])
    contested = len(result["items"]) - result["causes"]["clear"]
    if contested and not again:
        found.append("no image was judged often enough to tell a book's fault from chance: ask for repeats")
    return found


def quiet(result: dict[str, Any]) -> list[str]:
    """What was looked for and not found."""
    found = []
    if not result["confusions"] and result["confusions_seen"]:
        found.append("nobody confuses two classes more often than the others do")
    if not result["conditions"] and result["conditions_tested"]:
        found.append("nobody judges otherwise on a shift, at a time of day, or at a further look")
    if result["drift"] and not any(one["alarm"] for one in result["drift"]):
        found.append("nobody has begun to judge otherwise")
    return found


def since(one: dict[str, Any]) -> str:
    """When a drift began: the time and the image.

    >>> since({"since": 1780000000.0, "since_item": "a.png"}), since({"since": 0.0, "since_item": "a.png"})
    ('2026-05-28 20:26 UTC, a.png', 'a.png')
    """
    if not one["since"]:
        return str(one["since_item"])
    return f"{datetime.fromtimestamp(one['since'], UTC):%Y-%m-%d %H:%M} UTC, {one['since_item']}"


def _classes(result: dict[str, Any]) -> list[list[str]]:
    return [
        [one["class"] + (" (good)" if one["ok"] else ""), percent(one["share"]), str(one["labels"])]
        for one in result["classes"]
    ]


def _inspectors(result: dict[str, Any]) -> list[list[str]]:
    return [
        [name, str(one["labels"]), percent(one["accuracy"]), interval(one["agreement_with_others"])]
        for name, one in result["inspectors"].items()
    ]


def _verdicts(result: dict[str, Any]) -> list[list[str]]:
    meaning = MEANING | {"clear": f"settled: at least {percent(SURE)} sure"}
    return [[name, str(result["verdicts"][name]), meaning[name]] for name in VERDICTS]


def _confusions(result: dict[str, Any]) -> list[list[str]]:
    return [
        [one["inspector"], one["said"], one["others"], interval(one["rate"]), interval(one["team"])]
        for one in result["confusions"]
    ]


def _conditions(result: dict[str, Any]) -> list[list[str]]:
    found = []
    for one in result["conditions"]:
        level = one["levels"][one["worst"]]
        found.append(
            [
                one["inspector"],
                f"{one['kind']}: {one['worst']}",
                interval(level),
                percent(level["expected"]),
                f"{one['q']:.3f}",
            ]
        )
    return found


def _drift(result: dict[str, Any]) -> list[list[str]]:
    return [
        [one["inspector"], since(one), percent(one["before"]), percent(one["after"])]
        for one in result["drift"]
        if one["alarm"]
    ]


def _human(result: dict[str, Any]) -> list[list[str]]:
    found = []
    for kind, level in result["human_level"].items():
        named = {{"classes": "in the class", "decisions": "in the decision"}[kind]: level["error"]} | {
            f"of {name}": one for name, one in level["by_class"].items()
        }
        found += [
            [name, interval(one["raw"]), interval(one["corrected"]), str(one["looks"])]
            for name, one in named.items()
            if one is not None
        ]
    return found


def _limits(result: dict[str, Any]) -> list[list[str]]:
    return [[" / ".join(one["classes"]), one["role"], one["item"], one["reason"]] for one in result["limit_samples"]]


_ROWS = {
    "classes": _classes,
    "inspectors": _inspectors,
    "verdicts": _verdicts,
    "confusions": _confusions,
    "conditions": _conditions,
    "drift": _drift,
    "human": _human,
    "limits": _limits,
}
