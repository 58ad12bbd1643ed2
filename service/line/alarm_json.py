"""An optics alarm as programs read it: in answers, over MQTT and in webhooks."""

from typing import Any

import numpy as np

from monitoring.advice import advise
from monitoring.diagnosis import Diagnosis
from monitoring.features import GRID
from monitoring.registration import Motion
from monitoring.saved import StateDamaged, packed, unpacked
from storage.alarms import CLEARED, DIAGNOSED, Episode
from storage.records import Alarm, AlarmChange

ALARMS = "/v1/optics/alarms"
PICTURES = ("before", "after")


def alarm_json(episode: Episode, address: str = "") -> dict[str, Any]:
    """An alarm with its newest diagnosis, what to do, and links to its pictures under `address`."""
    alarm, changes, last = episode.alarm, episode.changes, episode.last
    advice = advise(diagnosis_of(last))
    cleared = changes.get(CLEARED)
    return {
        "alarm_id": alarm.id,
        "state": episode.state,
        "station": alarm.station,
        "camera": alarm.camera or None,
        "product": alarm.product,
        "lamp": alarm.lamp or None,
        "cause": last.cause,
        "title": advice.title,
        "changed": advice.kind,
        "advice": advice.text,
        "side": last.side,
        "x": last.x,
        "y": last.y,
        "motion": last.motion,
        "chart": alarm.chart,
        "ratio": round(alarm.ratio, 4),
        "images_since_onset": alarm.images_since_onset,
        "baseline_version": alarm.baseline_version or None,
        "result_id": alarm.result_id or None,
        "raised_at": alarm.raised_at.isoformat(),
        "diagnosed_at": changes[DIAGNOSED].changed_at.isoformat() if DIAGNOSED in changes else None,
        "cleared_at": cleared.changed_at.isoformat() if cleared else None,
        "cleared_by": cleared.reason if cleared else None,
        "is_glitch": cleared.is_glitch if cleared else None,
        "images": {
            name: f"{address}{ALARMS}/{alarm.id}/{name}" if picture_of(alarm, name) else None for name in PICTURES
        },
    }


def picture_of(alarm: Alarm, name: str) -> str | None:
    """SHA-256 of the picture before or after, where it was kept."""
    return alarm.before_sha256 if name == "before" else alarm.after_sha256


def heat_map_json(record: Alarm | AlarmChange) -> list[list[float]] | None:
    """The heat map as 28 rows of 28 numbers; None where it was not kept."""
    if not record.heat_map:
        return None
    found: list[list[float]] = np.round(diagnosis_of(record).heat_map.astype(np.float64), 4).tolist()
    return found


def diagnosis_of(record: Alarm | AlarmChange) -> Diagnosis:
    """The diagnosis that a record holds; the heat map is 0 where it was not kept."""
    try:
        heat_map = unpacked("heat_map", record.heat_map, np.float32, GRID, GRID)
    except StateDamaged:
        heat_map = np.zeros((GRID, GRID), np.float32)
    motion = Motion.from_state(record.motion) if record.motion else None
    # A column of text holds any side, a diagnosis one of four: nothing acts on another.
    side: Any = record.side
    return Diagnosis(record.cause, heat_map, 0, record.size or 0.0, side, record.x, record.y, motion)


def diagnosis_fields(diagnosis: Diagnosis) -> dict[str, Any]:
    """The fields of a record that hold a diagnosis."""
    return {
        "cause": diagnosis.cause,
        "side": diagnosis.side,
        "x": diagnosis.x,
        "y": diagnosis.y,
        "motion": diagnosis.motion.state() if diagnosis.motion else None,
        "size": float(diagnosis.size),
        "heat_map": packed(diagnosis.heat_map) if diagnosis.heat_map.any() else "",
    }
