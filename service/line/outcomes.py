"""What a person says became of a part: appended, and of one id only one word."""

import hashlib
from typing import Literal

import orjson
from pydantic import BaseModel, Field

from service.line.recording import new_id
from service.line.requests import OtherImage
from service.line.server import LineServer
from storage import outcomes
from storage.drain import encode
from storage.journal import Entry
from storage.records import Outcome


class OtherWord(OtherImage):
    """Another word was said under the same id; the first one stands."""

    def __init__(self, word_id: str) -> None:
        super().__init__(f"something else was said under the id {word_id!r}", "give every word an id of its own")


class PersonsWord(BaseModel):
    """What a person says became of a part."""

    disposition: Literal["pass", "reject", "rework", "recheck"]
    by: str = Field(min_length=1, max_length=200)
    class_name: str | None = Field(None, alias="class", max_length=200)
    comment: str = Field("", max_length=2000)
    id: str | None = Field(None, max_length=200, description="Made by the sender, so that sending twice stores once.")


def take_word(line: LineServer, result_id: str, word: PersonsWord) -> bytes:
    """Put the word on record; returns the body of the answer, the same one when it is sent again.

    Raises OtherWord, DatabaseUnavailable (of a word with an id, whether it is new), JournalBroken.
    """
    at = line.clock()
    outcome = Outcome(
        id=word.id or new_id(),
        result_id=result_id,
        disposition=word.disposition,
        class_name=word.class_name,
        comment=word.comment.replace("\x00", ""),  # PostgreSQL knows no text with a NUL
        decided_by=word.by,
        decided_at=at,
    )
    key, digest = f"word {outcome.id}", _digest(outcome)
    body = orjson.dumps({"id": outcome.id, "result_id": result_id, "disposition": outcome.disposition})
    if word.id is not None:
        before = _said_before(line, key, word.id)
        if before is not None and before != digest:
            raise OtherWord(word.id)
        if before is not None:
            return body
    line.journal.append(Entry(new_id(), "outcome", encode("outcome", outcome), at, keys={key: digest}, answer=body))
    return body


def _said_before(line: LineServer, key: str, word_id: str) -> str | None:
    """The digest of what was said under this id, from the journal or, when it is older, from the database."""
    found = line.journal.answered(key, line.window_start())
    if found is not None:
        return found.digest
    with line.database.read() as connection:
        older = outcomes.find(connection, word_id)
    return None if older is None else _digest(older)


def _digest(outcome: Outcome) -> str:
    said = [outcome.result_id, outcome.disposition, outcome.class_name, outcome.comment, outcome.decided_by]
    return hashlib.sha256(orjson.dumps(said)).hexdigest()
