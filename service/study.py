"""The capability study: parts with known answers sent to the line several times, Loupe as one more inspector."""

import time
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import httpx
import numpy as np

from labeling.agreement import GOOD, NOT_GOOD, UNDECIDED, AgreementStudy, study
from labeling.formats import INSPECTOR
from labeling.votes import Votes
from service.line_client import PostedView, post_part
from service.study_items import KnownItem, Report
from storage import labels
from storage.database import Connection

LOUPE = "Loupe"
PAUSES_S = (0.1, 0.2, 0.4, 0.8, 1.6)
DECISION_OF = {"ok": GOOD, "not_ok": NOT_GOOD, "not_decidable": UNDECIDED}
SAID = {GOOD: "ok", NOT_GOOD: "not_ok", UNDECIDED: "recheck"}
WORST_LAST = (GOOD, UNDECIDED, NOT_GOOD)


class MoreViewsExpected(ValueError):
    """The recipe joins more views to a part than the study sends."""

    def __init__(self, station: str, views: Sequence[str]) -> None:
        sent = f"view {', '.join(views)}" if any(views) else "one image a part"
        super().__init__(f"the recipe of station {station} waits for more views of a part; the study sends {sent}")
        self.remedy = "name each view that the recipe expects: --view top --view side (`loupe recipe show` lists them)"


@dataclass(frozen=True, slots=True)
class Look:
    """What Loupe said of an item (its number) in a round."""

    item: int
    round: int
    evaluation: str
    result_code: int
    latency_ms: float
    product: str
    made_by: tuple[tuple[str, str | int], ...]
    """Model, recipe and execution provider, as pairs of name and value."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a person said of an item (its number); `decision` as in labeling.agreement."""

    item: int
    inspector: str
    occasion: int
    decision: int


@dataclass(frozen=True, slots=True)
class Found:
    """A study's figures; the inspector with number n is names[n], of which the first is Loupe."""

    names: tuple[str, ...]
    agreement: AgreementStudy


def send_rounds(
    http: httpx.Client,
    items: Sequence[KnownItem],
    query: dict[str, str],
    rounds: int,
    takt_ms: float,
    rng: np.random.Generator,
    report: Report = lambda done, total: None,
) -> list[Look]:
    """Post every item once a round, each round in an order of its own, each post with a trigger of its own.

    query: station, trigger_epoch and whatever else every post says. A part that is found wrong stops nothing: posts are
    inspections in challenge mode, not challenges. takt_ms: the least time from post to post.

    Raises LineUnreachable, LineRefused, MoreViewsExpected.
    """
    looks: list[Look] = []
    due = time.monotonic()
    for number in range(rounds):
        for item in rng.permutation(len(items)).tolist():
            time.sleep(max(0.0, due - time.monotonic()))
            due = max(due, time.monotonic()) + takt_ms / 1000
            looks.append(_look(http, items[item], item, number, {**query, "trigger_id": str(len(looks) + 1)}))
            report(len(looks), rounds * len(items))
    return looks


def _look(http: httpx.Client, known: KnownItem, item: int, number: int, query: dict[str, str]) -> Look:
    views = [PostedView(view.path.read_bytes(), view.media_type, view.view_id) for view in known.views]
    began = time.perf_counter()
    answer = post_part(http, "/v1/inspections", views, {**query, "mode": "challenge"}, pauses_s=PAUSES_S)
    latency_ms = 1000 * (time.perf_counter() - began)
    if answer["result_state"] == "processing":
        raise MoreViewsExpected(query["station"], [view.view_id for view in views])
    provenance = answer["provenance"]
    names = ("model", "model_sha256", "recipe", "recipe_version", "execution_provider")
    return Look(
        item,
        number,
        answer["evaluation"],
        answer["result_code"],
        latency_ms,
        answer["product"],
        tuple((name, provenance[name]) for name in names),
    )


def judgements(
    connection: Connection, product: str, items: Sequence[KnownItem], strangers: Collection[str]
) -> list[Judgement]:
    """What people said in Loupe of the very same images; an unsure label decides nothing.

    Of an item with several views an occasion counts when all of them were labelled, and the worst label speaks.
    strangers: inspectors who are left out, because the known answers are theirs.
    """
    shown: dict[str, set[int]] = {}
    for number, item in enumerate(items):
        for view in item.views:
            shown.setdefault(view.sha256, set()).add(number)
    book = labels.newest_book(connection, product)
    good = {c.name for c in book.classes if c.ok} if book else set()
    said: dict[tuple[int, str, int], dict[str, int]] = {}
    for label in labels.of_product(connection, product):
        if label.inspector in {INSPECTOR, *strangers}:
            continue
        decision = UNDECIDED if label.unsure else GOOD if label.class_name in good else NOT_GOOD
        for number in shown.get(label.image_sha256, ()):
            said.setdefault((number, label.inspector, label.occasion), {})[label.image_sha256] = decision
    return [
        Judgement(number, inspector, occasion, max(by_image.values(), key=WORST_LAST.index))
        for (number, inspector, occasion), by_image in said.items()
        if by_image.keys() == {view.sha256 for view in items[number].views}
    ]


def figures(items: Sequence[KnownItem], looks: Sequence[Look], people: Sequence[Judgement]) -> Found:
    """The attribute study of Loupe and of people over the same items."""
    names = (LOUPE, *sorted({one.inspector for one in people}))
    number_of = {name: number for number, name in enumerate(names[1:], start=1)}
    rows = [(look.item, 0, DECISION_OF[look.evaluation], look.round) for look in looks]
    rows += [(one.item, number_of[one.inspector], one.decision, one.occasion) for one in people]
    item, inspector, label, occasion = np.array(rows, np.int64).reshape(-1, 4).T
    found = study(
        Votes(item, inspector, label, occasion),
        np.array([GOOD if known.ok else NOT_GOOD for known in items]),
        ok=[GOOD],
        undecided=[UNDECIDED],
        part=np.unique([known.part for known in items], return_inverse=True)[1],
    )
    return Found(names, found)


def wrong_items(items: Sequence[KnownItem], looks: Sequence[Look]) -> list[dict[str, Any]]:
    """The items that Loupe did not judge as they are every time, and what it said, round by round; escapes first."""
    said: dict[int, list[str]] = {}
    for look in sorted(looks, key=lambda look: look.round):
        said.setdefault(look.item, []).append(SAID[DECISION_OF[look.evaluation]])
    wrong = [
        {
            "path": item.name,
            "part": item.part,
            "class": item.class_name,
            "expected": "ok" if item.ok else "not_ok",
            "said": said.get(number, []),
        }
        for number, item in enumerate(items)
        if set(said.get(number, [])) - {"ok" if item.ok else "not_ok"}
    ]
    return sorted(wrong, key=lambda one: (one["expected"] == "ok", -one["said"].count("ok"), one["path"]))


def provenance(looks: Sequence[Look]) -> list[dict[str, Any]]:
    """Under what the verdicts were made, most first; more than one where something changed meanwhile."""
    return [{**dict(made_by), "answers": n} for made_by, n in Counter(look.made_by for look in looks).most_common()]
