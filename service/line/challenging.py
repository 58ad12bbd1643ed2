"""A part with a known answer sent through the whole system: did Loupe find what is there?"""

from datetime import datetime
from typing import Any

from models.card import ModelCard
from service.line.requests import WrongRequest
from service.line.verdicts import NOT_INSPECTED, PASS
from storage.records import Challenge

OK, NOT_OK = "ok", "not_ok"


def check_expected(expected: str | None, card: ModelCard) -> str:
    """What a challenge must find: `ok`, `not_ok`, or a class of the model.

    Raises WrongRequest.
    """
    known = [OK, NOT_OK, *(c.name for c in card.classes)]
    if expected not in known:
        raise WrongRequest(
            f"a challenge must say what is expected, not {expected!r}", f"add &expected= one of {', '.join(known)}"
        )
    return expected


def challenge_id(result_id: str) -> str:
    """The id of the challenge that an inspection was: one inspection is one challenge, however often it is sent."""
    return f"{result_id}.challenge"


def judged(answer: dict[str, Any], expected: str, card: ModelCard, at: datetime) -> Challenge:
    """The challenge that an answer of the line API makes.

    A part that is not good counts as found when it is rejected or sent to recheck as a suspect; one that nobody could
    look at, or that nobody looked at in time, was not found.
    """
    wanted_class = next((c for c in card.classes if c.name == expected), None)
    wanted_ok = expected == OK or (wanted_class is not None and wanted_class.ok)
    code = int(answer["result_code"])
    found = next((c.name for c in card.classes if c.number == code and not c.ok), None)
    if wanted_ok:
        passed = code == PASS
    elif wanted_class is not None:
        passed = found == wanted_class.name
    else:
        passed = PASS < code < NOT_INSPECTED
    said = found if found is not None else f"{answer['evaluation']} ({code})"
    return Challenge(
        id=challenge_id(answer["result_id"]),
        station=answer["station"],
        product=answer["product"],
        result_id=answer["result_id"],
        expected=OK if wanted_ok else NOT_OK,
        expected_class=wanted_class.name if wanted_class is not None else None,
        evaluation=answer["evaluation"],
        class_name=found,
        passed=passed,
        reason="" if passed else f"expected {expected}, Loupe says {said}",
        challenged_at=at,
    )
