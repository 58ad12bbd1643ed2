"""Parts that still waited for views when their line server ended: the next one decides them without the others."""

from dataclasses import replace

import structlog

from service.line.answers import finished
from service.line.pipeline import Told
from service.line.requests import PartRequest
from storage.drain import decode, encode
from storage.journal import Entry, Journal, JournalBroken, Waiting
from storage.records import Inspection

log = structlog.get_logger("line")


def recover(journal: Journal, told: Told) -> None:
    """Decide the parts that waited for views when the process that wrote this journal ended; `told` hears of each."""
    parts: dict[str, list[Waiting]] = {}
    for entry in journal.provisional():
        parts.setdefault(entry.id.rpartition(".")[0], []).append(entry)
    for result_id, entries in parts.items():
        try:
            _recover_part(journal, result_id, entries, told)
        except (JournalBroken, KeyError, ValueError) as error:  # its views stay where they are until the next start
            log.error("part_not_recovered", reason=str(error), result_id=result_id)


def _recover_part(journal: Journal, result_id: str, entries: list[Waiting], told: Told) -> None:
    last = entries[-1]
    inspection: Inspection = decode(last)
    blobs = {sha256: data for entry in entries for sha256, data in entry.blobs.items()}
    # A view that came while the disk was on its reserve, or that the disk has damaged, has no image.
    views = tuple(replace(view, image_kept=view.image_sha256 in blobs) for view in inspection.views)
    part, body = _part(inspection), finished(last.answer or b"{}").body
    journal.append(
        Entry(
            id=result_id,
            kind=last.kind,
            record=encode(last.kind, replace(inspection, views=views)),
            written_at=inspection.received_at,
            keys={part.part_key: ""},
            answer=body,
            blobs=blobs,
            closes=tuple(entry.id for entry in entries),
        )
    )
    told(part, body)


def _part(inspection: Inspection) -> PartRequest:
    """The part as it was asked for; of its views it is not known any more how they were announced."""
    return PartRequest(
        station=inspection.station,
        trigger_id=inspection.trigger_id,
        trigger_epoch=inspection.trigger_epoch,
        product=inspection.product,
        part_id=inspection.part_id,
        lot=inspection.lot,
        captured_at=inspection.captured_at,
        deadline_ms=None,
        mode=inspection.mode,
        views=(),
    )
