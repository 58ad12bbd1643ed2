"""Label books and labels as JSON: the same in the console's API and on the command line."""

from dataclasses import asdict
from typing import Any

from labeling.book_changes import BookChange, differences
from storage.records import Adjudication, Label, LabelBook, Withdrawal


def book_json(book: LabelBook) -> dict[str, Any]:
    """One version in full."""
    return {
        "product": book.product,
        "version": book.version,
        "author": book.author,
        "note": book.note,
        "created_at": book.created_at.isoformat(),
        "classes": [asdict(entry) for entry in book.classes],
    }


def history_json(history: list[LabelBook]) -> list[dict[str, Any]]:
    """Versions, newest first, each with what it changed."""
    before = [*history[1:], None]
    return [
        {
            "version": book.version,
            "author": book.author,
            "note": book.note,
            "created_at": book.created_at.isoformat(),
            "changed": list(differences(former, book)),
        }
        for book, former in zip(history, before, strict=True)
    ]


def change_json(done: BookChange) -> dict[str, Any]:
    """What a change did."""
    return {
        "product": done.after.product,
        "version": done.after.version,
        "written": done.after is not done.before,
        "changed": list(differences(done.before, done.after)) if done.after is not done.before else [],
        "judge_again": len(done.judge_again),
    }


def label_json(label: Label) -> dict[str, Any]:
    """One judgement."""
    return {
        "id": label.id,
        "inspector": label.inspector,
        "class_name": label.class_name,
        "also": list(label.also),
        "severity": label.severity,
        "unsure": label.unsure,
        "region": None if label.region is None else list(label.region),
        "comment": label.comment,
        "seconds": label.seconds,
        "occasion": label.occasion,
        "shift": label.shift,
        "book_version": label.book_version,
        "judged_at": None if label.judged_at is None else label.judged_at.isoformat(),
    }


def withdrawal_json(withdrawal: Withdrawal) -> dict[str, Any]:
    """Who took a label out of what counts."""
    return {
        "id": withdrawal.label_id,
        "image_sha256": withdrawal.image_sha256,
        "withdrawn_by": withdrawal.withdrawn_by,
        "reason": withdrawal.reason,
        "withdrawn_at": withdrawal.withdrawn_at.isoformat(),
    }


def adjudication_json(decision: Adjudication) -> dict[str, Any]:
    """One decision of a lead."""
    return {
        "class_name": decision.class_name,
        "reason": decision.reason,
        "adjudicator": decision.adjudicator,
        "book_version": decision.book_version,
        "decided_at": decision.decided_at.isoformat(),
    }
