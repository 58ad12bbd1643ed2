"""What is asked of the index, and what need not be."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.journal import Entry, Journal, index
from storage.journal.known import Known

AT = datetime(2026, 3, 1, tzinfo=UTC)
WINDOW = timedelta(hours=24)


def entry(n: int) -> Entry:
    return Entry(f"id{n}", "inspection", b"record", AT, {f"key {n}": "digest"}, b"answer %d" % n)


def found(journal: Journal, numbers: Sequence[int]) -> list[bytes | None]:
    answers = [journal.answered(f"key {n}", AT - WINDOW) for n in numbers]
    return [None if answer is None else answer.answer for answer in answers]


@given(st.lists(st.text()), st.lists(st.text()))
def test_what_was_added_is_known(added: list[str], others: list[str]) -> None:
    known = Known()
    for key in added:
        known.add(key)
    assert all(key in known for key in added)
    assert [key for key in others if key in known] == [key for key in others if key in added]


def test_every_answer_is_found_before_while_and_after_the_index_is_learned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("storage.journal.journal.LEARN_MAX", 7)
    numbers = range(60)
    expected: list[bytes | None] = [b"answer %d" % n for n in numbers]
    journal = Journal(tmp_path, reserve_bytes=1 << 20)
    journal.append(*(entry(n) for n in range(40)))
    journal.close()
    journal = Journal(tmp_path, reserve_bytes=1 << 20)
    assert found(journal, range(40)) == expected[:40]
    for n in range(40, 60):
        journal.append(entry(n))
        journal.tidy(AT, WINDOW)
        assert found(journal, range(n + 1)) == expected[: n + 1]
    assert found(journal, range(60, 90)) == [None] * 30
    journal.close()


def test_nothing_that_stands_is_missed_while_the_index_is_learned_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index, "CAPACITY", 50)
    monkeypatch.setattr("storage.journal.journal.LEARN_MAX", 10)
    journal = Journal(tmp_path, reserve_bytes=1 << 20)
    first = journal._index._known
    for n in range(300):
        journal.append(entry(n))
        journal.tidy(AT, WINDOW)
        assert found(journal, [n, n // 2, 0]) == [b"answer %d" % k for k in (n, n // 2, 0)]
    assert journal._index._known is not first
    journal.close()


def test_what_is_forgotten_is_unlearned_when_there_is_much_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index, "CAPACITY", 50)
    journal = Journal(tmp_path, reserve_bytes=1 << 20)
    journal.append(*(entry(n) for n in range(40)))
    journal.close()
    journal = Journal(tmp_path, reserve_bytes=1 << 20)
    later = AT + 2 * WINDOW
    for _ in range(2):
        journal.tidy(later, WINDOW)
    assert found(journal, [0]) == [None]
    assert journal._index._known.count == 0, "it was learned when all was forgotten already"
    for n in range(40, 89):
        journal.append(replace(entry(n), written_at=later))
        journal.tidy(later, WINDOW)
    even_later = later + 2 * WINDOW
    journal.tidy(even_later, WINDOW)
    assert "key 40" in journal._index._known, "there is room for it yet"
    journal.append(replace(entry(89), written_at=even_later))
    journal.tidy(even_later, WINDOW)
    known = journal._index._known
    assert ["key 40" in known, "key 89" in known, known.count] == [False, True, 1]
    assert found(journal, [40, 89]) == [None, b"answer 89"]
    journal.close()
