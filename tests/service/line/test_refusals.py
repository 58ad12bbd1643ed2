"""Every error that is foreseen says what happened and what to do, whatever route it comes from."""

import json
from pathlib import Path

import pytest

from service.line.refusals import refusal
from service.line.waiting import TooManyWait
from storage.database import DatabaseUnavailable
from storage.journal import JournalBroken


@pytest.mark.parametrize(
    "error",
    [
        DatabaseUnavailable("postgresql://host", "away"),
        JournalBroken(Path("journal"), "the disk is gone"),
        TooManyWait(),
    ],
)
def test_what_is_away_is_907_with_its_own_words(error: DatabaseUnavailable | JournalBroken | TooManyWait) -> None:
    status, body, _ = refusal(error, "")
    answer = json.loads(body)
    assert (status, answer["disposition"], answer["result_code"]) == (503, "recheck", 907)
    assert str(error) in answer["reasons"]
    assert error.remedy in body.decode()


def test_what_nobody_foresaw_is_907_and_tells_nothing_from_inside() -> None:
    status, body, _ = refusal(ZeroDivisionError("a secret"), "text/plain")
    assert (status, body) == (503, b"907 recheck -\n")
    assert b"secret" not in refusal(ZeroDivisionError("a secret"), "")[1]
