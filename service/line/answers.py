"""The bodies that the line gets."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import orjson

from models.card import OperatingPoint
from models.regions import Region
from service.line.champions import Active
from service.line.looking import UNWATCHED, Look
from service.line.requests import PartRequest
from service.line.verdicts import DEADLINE, MISSING_VIEW, Verdict


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

    @property
    def timing(self) -> bytes:
        """The header `Server-Timing`."""
        return ", ".join([f"{stage};dur={ms:.2f}" for stage, ms in self.timing_ms.items()]).encode()


def body_of(answer: dict[str, Any]) -> bytes:
    """The answer as it is sent and stored."""
    return orjson.dumps(answer)


def told_as(accept: str, reply: Reply, body: bytes) -> tuple[bytes, str]:
    """What the caller reads, one line for a PLC or the JSON `body`, and its content type."""
    if "text/plain" in accept:
        return f"{reply.line}\n".encode(), "text/plain; charset=utf-8"
    return body, "application/json"


def reply_from(body: bytes) -> Reply:
    """A stored body as a reply again."""
    answer = orjson.loads(body)
    return Reply(body, answer["disposition"], answer["result_code"], answer["result_id"])


def reply_of(
    result_id: str,
    part: PartRequest,
    active: Active,
    verdict: Verdict,
    looks: Sequence[Look],
    image_uri: str | None,
    *,
    processing: bool = False,
) -> Reply:
    """The answer of the line API; `looks` may be fewer than the part's views."""
    found = {look.view_id: look for look in looks}
    answer = {
        "result_id": result_id,
        "part_id": part.part_id,
        "trigger_id": part.trigger_id,
        "station": part.station,
        "product": active.model.product,
        "result_state": "processing" if processing else "completed",
        "evaluation": verdict.evaluation,
        "disposition": verdict.disposition,
        "result_code": verdict.result_code,
        "reasons": verdict.reasons,
        "deadline_met": verdict.result_code != DEADLINE,
        "is_partial": verdict.result_code == MISSING_VIEW,
        "is_simulated": part.mode != "production",
        "views": [
            *(_view(look, active) for look in looks),
            # Nobody looked at these, but the line shall find them.
            *(_view(Look(view, ""), active) for view in part.views if view.view_id not in found),
        ],
        "provenance": {
            "recipe": f"{active.recipe.product}@{active.recipe.station}",
            "recipe_version": active.recipe.version,
            "model": active.model.id,
            "model_sha256": active.model.sha256,
            "execution_provider": active.classifier.provider,
            "drift_state": drift_state(looks),
        },
        "image_uri": image_uri,
    }
    return Reply(body_of(answer), verdict.disposition, verdict.result_code, result_id)


def is_simulated(body: bytes) -> bool:
    """Whether a stored body is no verdict on a part of production."""
    return bool(orjson.loads(body)["is_simulated"])


def finished(processing: bytes) -> Reply:
    """The last word on a part whose other views never came, from what its first views were answered."""
    return reply_from(body_of({**orjson.loads(processing), "result_state": "completed"}))


def drift_state(looks: Sequence[Look]) -> str:
    """The worst state of the part's cameras."""
    states = [look.drift_state for look in looks]
    return next((state for state in ("alarm", "commissioning", "provisional", "ok") if state in states), UNWATCHED)


def _view(look: Look, active: Active) -> dict[str, Any]:
    """One view of the answer; without a score (unreadable, late) the model's fields are null."""
    point: OperatingPoint = active.point
    score = look.score
    return {
        "view_id": look.view_id,
        "class": score.class_name if score else None,
        "p_defect": round(score.p_defect, 6) if score else None,
        "thresholds": {"pass": round(point.pass_below, 6), "reject": round(point.reject_from, 6)},
        "class_probability": (
            dict(
                zip(
                    (c.name for c in active.classifier.card.classes),
                    (round(p, 6) for p in score.class_probability.tolist()),
                    strict=True,
                )
            )
            if score
            else None
        ),
        "novelty": score.novelty if score else None,
        "regions": _regions(score.regions) if score and score.regions is not None else None,
        "optics": {
            "state": look.drift_state,
            "signals": look.signals,
            **({"correction": asdict(look.correction)} if look.correction is not None else {}),
        },
    }


def _regions(found: Sequence[Region]) -> list[dict[str, Any]]:
    return [{"x": r.x, "y": r.y, "w": r.width, "h": r.height, "score": round(r.score, 6)} for r in found]


def refusal_body(reason: str, remedy: str, result_code: int, disposition: str) -> bytes:
    """The body of every answer that is not an inspection: a PLC that reads only two fields is still safe."""
    return body_of(
        {
            "result_id": None,
            "result_state": "aborted",
            "evaluation": "not_decidable",
            "disposition": disposition,
            "result_code": result_code,
            # What was sent may be quoted, and JSON's escapes can spell text that is no Unicode.
            "reasons": [reason.encode("utf-8", "replace").decode()],
            "remedy": remedy,
        }
    )
