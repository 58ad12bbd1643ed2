"""Every answer that is no inspection: the one place where the domain's errors meet HTTP."""

from service.line.answers import refusal_body
from service.line.requests import (
    BodyTooLarge,
    BodyTooSlow,
    KeyMissing,
    NotReady,
    OtherImage,
    Overloaded,
    Refusal,
    UnknownType,
    WrongRequest,
    WrongStation,
)
from service.line.verdicts import NOT_INSPECTED, NOT_READY, OVERLOAD
from service.line.waiting import TooManyWait
from storage.database import DatabaseUnavailable
from storage.journal import JournalBroken

STATUS: dict[type[Refusal], tuple[int, int]] = {
    WrongRequest: (422, NOT_INSPECTED),
    UnknownType: (415, NOT_INSPECTED),
    BodyTooLarge: (413, NOT_INSPECTED),
    BodyTooSlow: (422, NOT_INSPECTED),
    OtherImage: (409, NOT_INSPECTED),
    KeyMissing: (401, NOT_INSPECTED),
    WrongStation: (403, NOT_INSPECTED),
    Overloaded: (503, OVERLOAD),
    NotReady: (503, NOT_READY),
}
"""HTTP status and result code of each refusal."""

DISPOSITION = "recheck"
"""Of a part about which not even its recipe is known."""


def refusal(error: Exception, accept: str) -> tuple[int, bytes, str]:
    """Status, body and content type for an error, foreseen or not.

    What nobody foresaw still tells the line what to do with the part.
    """
    if isinstance(error, Refusal):
        status, result_code = next(found for kind, found in STATUS.items() if isinstance(error, kind))
        return worded(status, result_code, str(error), error.remedy, accept)
    if isinstance(error, DatabaseUnavailable | JournalBroken | TooManyWait):
        return worded(503, NOT_READY, str(error), error.remedy, accept)
    reason = f"{type(error).__name__} inside Loupe; see the log"
    return worded(503, NOT_READY, reason, "send the trigger again; report the log if it stays", accept)


def worded(status: int, result_code: int, reason: str, remedy: str, accept: str) -> tuple[int, bytes, str]:
    """Status, body and content type in the form that the caller reads."""
    if "text/plain" in accept:
        return status, f"{result_code} {DISPOSITION} -\n".encode(), "text/plain; charset=utf-8"
    return status, refusal_body(reason, remedy, result_code, DISPOSITION), "application/json"
