"""The bodies that the line gets."""

import json
from dataclasses import dataclass, field
from typing import Any

from models.card import OperatingPoint
from models.classifier import ViewScore
from service.line.champions import Active
from service.line.requests import PartRequest
from service.line.verdicts import Verdict


@dataclass(frozen=True, slots=True)
class Reply:
    """A body, its one-line form for PLCs, and where the time went."""

    body: bytes
    disposition: str
    result_code: int
    result_id: str
    timing_ms: dict[str, float] = field(default_factory=dict)

    @property
    def line(self) -> str:
        """`RESULT_CODE DISPOSITION RESULT_ID`."""
        return f"{self.result_code} {self.disposition} {self.result_id}"


def body_of(answer: dict[str, Any]) -> bytes:
    """The answer as it is sent and stored."""
    return json.dumps(answer, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def reply_from(body: bytes) -> Reply:
    """A stored body as a reply again."""
    answer = json.loads(body)
    return Reply(body, answer["disposition"], answer["result_code"], answer["result_id"])


def answer_of(
    *,
    result_id: str,
    part: PartRequest,
    active: Active,
    verdict: Verdict,
    deadline_met: bool,
    view: dict[str, Any],
    drift_state: str,
    image_uri: str | None,
) -> dict[str, Any]:
    """The answer of the line API for a part with one view."""
    return {
        "result_id": result_id,
        "part_id": part.part_id,
        "trigger_id": part.trigger_id,
        "station": part.station,
        "product": active.model.product,
        "result_state": "completed",
        "evaluation": verdict.evaluation,
        "disposition": verdict.disposition,
        "result_code": verdict.result_code,
        "reasons": list(verdict.reasons),
        "deadline_met": deadline_met,
        "is_partial": False,
        "is_simulated": part.mode != "production",
        "views": [view],
        "provenance": {
            "recipe": f"{active.recipe.product}@{active.recipe.station}",
            "recipe_version": active.recipe.version,
            "model": active.model.id,
            "model_sha256": active.model.sha256,
            "execution_provider": active.classifier.provider,
            "drift_state": drift_state,
        },
        "image_uri": image_uri,
    }


def view_of(
    part: PartRequest, score: ViewScore | None, active: Active, optics_state: str, ratios: dict[str, float]
) -> dict[str, Any]:
    """One view of the answer; without a score (unreadable, late) the model's fields are null."""
    point: OperatingPoint = active.point
    classes = active.classifier.card.classes
    return {
        "view_id": part.view_id,
        "class": score.class_name if score else None,
        "p_defect": round(score.p_defect, 6) if score else None,
        "thresholds": {"pass": round(point.pass_below, 6), "reject": round(point.reject_from, 6)},
        "class_probability": (
            {c.name: round(float(p), 6) for c, p in zip(classes, score.class_probability, strict=True)}
            if score
            else None
        ),
        "novelty": score.novelty if score else None,
        "regions": None,
        "optics": {"state": optics_state, "signals": {name: round(ratio, 4) for name, ratio in ratios.items()}},
    }


def refusal_body(reason: str, remedy: str, result_code: int, disposition: str) -> bytes:
    """The body of every answer that is not an inspection: a PLC that reads only two fields is still safe."""
    return body_of(
        {
            "result_id": None,
            "result_state": "aborted",
            "evaluation": "not_decidable",
            "disposition": disposition,
            "result_code": result_code,
            "reasons": [reason],
            "remedy": remedy,
        }
    )
