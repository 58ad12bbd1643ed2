"""A store as a line and a team of inspectors leave it, for the console's tests and pictures."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import cv2
import numpy as np

from monitoring.features import GRID
from monitoring.saved import packed
from service.wiring import Stores
from simulation.parts import CLASSES, Light, PartRenderer, ScheduledPart, draw_schedule, encode_jpeg
from storage import alarms, datasets, happenings, inspections, labels, models, pictures
from storage.records import (
    Alarm,
    AlarmChange,
    ConsensusRun,
    Dataset,
    Event,
    Image,
    ImageClass,
    Inspection,
    Label,
    LabelBook,
    Model,
    Promotion,
    View,
)

PRODUCT = "housing"
MODELS = ("9f31c2ab77d0", "4be8105f2c91")
"""The champion and the one before it."""
CODES = {"pass": 0, "recheck": 905}


@dataclass(frozen=True, slots=True)
class Picture:
    """An encoded image with its truth."""

    data: bytes
    truth: str

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()


def pictures_of(count: int, seed: int, width: int = 240, height: int = 180) -> list[Picture]:
    renderer = PartRenderer(seed, width, height)
    schedule = draw_schedule(np.random.default_rng(seed), count, defect_rate=0.35)
    return [_render(renderer, part) for part in schedule]


def _render(renderer: PartRenderer, part: ScheduledPart) -> Picture:
    rendered = renderer.render(np.random.default_rng(part.seed), part.defect, part.size, Light())
    return Picture(encode_jpeg(rendered.image), part.truth)


def add_book(stores: Stores, at: datetime) -> LabelBook:
    classes = tuple(ImageClass(name, number, number == 0) for number, name in enumerate(CLASSES))
    book = LabelBook(PRODUCT, 1, classes, at)
    with stores.database.write() as connection:
        labels.add_book(connection, book)
    return book


def add_images(stores: Stores, found: list[Picture], at: datetime, media_type: str = "image/jpeg") -> None:
    stores.images.put_all(picture.data for picture in found)
    rows = [
        Image(
            product=PRODUCT,
            sha256=picture.sha256,
            name=f"{picture.truth}/{n:03d}.jpg",
            media_type=media_type,
            byte_size=len(picture.data),
            width=240,
            height=180,
            part_group=f"part-{n}",
            lot=None,
            source="import",
            captured_at=at,
            added_at=at,
        )
        for n, picture in enumerate(found)
    ]
    with stores.database.write() as connection:
        pictures.store(connection, rows)


def label_of(sha256: str, inspector: str, class_name: str, at: datetime, occasion: int = 0) -> Label:
    return Label(
        id=f"test-{inspector}-{occasion}-{sha256[:16]}",
        product=PRODUCT,
        image_sha256=sha256,
        inspector=inspector,
        class_name=class_name,
        also=(),
        severity=None,
        unsure=False,
        region=None,
        comment="",
        seconds=4.0,
        occasion=occasion,
        book_version=1,
        source="import",
        judged_at=at,
        stored_at=at,
    )


def add_labels(stores: Stores, *new: Label) -> None:
    with stores.database.write() as connection:
        labels.store(connection, new)


def add_inspections(stores: Stores, found: list[Picture], newest: datetime, *, kept: bool = True) -> list[Inspection]:
    """One inspection a picture, three seconds apart, at two stations."""
    if kept:
        stores.images.put_all(picture.data for picture in found)
    rng = np.random.default_rng(7)
    rows = [
        _inspected(picture, n, newest - timedelta(seconds=3 * (len(found) - 1 - n)), float(rng.beta(1.2, 9)), kept)
        for n, picture in enumerate(found)
    ]
    with stores.database.write() as connection:
        inspections.store(connection, rows)
    return rows


def _inspected(picture: Picture, n: int, at: datetime, noise: float, kept: bool) -> Inspection:
    p_defect = noise if picture.truth == "ok" else 1 - noise
    disposition = "pass" if p_defect < 0.3 else "recheck" if p_defect < 0.7 else "reject"
    if picture.truth == "contamination" and disposition == "reject":
        disposition = "rework"
    result_id, station = f"{n:012x}-{picture.sha256[:16]}", f"press-{1 + n % 2}"
    class_name = picture.truth if p_defect > 0.5 else "ok"
    suspect = picture.truth if picture.truth != "ok" else "scratch"
    reason = {
        "pass": "",
        "recheck": f"maybe {suspect}: p_defect {p_defect:.3f} lies between 0.300 and 0.700",
    }.get(disposition, f"{suspect}: p_defect {p_defect:.3f} >= 0.700")
    reasons = (reason,) if reason else ()
    code = CODES.get(disposition, CLASSES.index(picture.truth))
    evaluation = {"pass": "ok", "recheck": "not_decidable"}.get(disposition, "not_ok")
    shares = {name: (1 - p_defect if name == "ok" else 0.0) for name in CLASSES}
    shares[picture.truth if picture.truth != "ok" else "scratch"] += p_defect
    answer: dict[str, Any] = {
        "result_id": result_id,
        "views": [
            {
                "view_id": "0",
                "class": class_name,
                "p_defect": round(p_defect, 6),
                "thresholds": {"pass": 0.3, "reject": 0.7},
                "class_probability": shares,
                "novelty": None,
                "optics": {"state": "ok", "signals": {"level.jump": 0.31, "level.band": 0.22, "focus.band": 0.12}},
            }
        ],
        "provenance": {"recipe": f"{PRODUCT}@*", "execution_provider": "CPUExecutionProvider"},
    }
    view = View(result_id, "0", "0", picture.sha256, "image/jpeg", kept, 240, 180, class_name, p_defect, None, {})
    return Inspection(
        result_id=result_id,
        station=station,
        trigger_epoch="",
        trigger_id=str(10_000 + n),
        product=PRODUCT,
        part_id=f"H-{n:05d}",
        lot="L7",
        mode="production",
        evaluation=evaluation,
        disposition=disposition,
        result_code=code,
        reasons=reasons,
        deadline_met=True,
        recipe_version=3,
        model_id=MODELS[0],
        model_sha256="0" * 64,
        drift_state="ok",
        keep_probability=1.0,
        supersedes=None,
        answer=json.dumps(answer),
        captured_at=at,
        received_at=at,
        views=(view,),
    )


def add_models(stores: Stores, at: datetime) -> None:
    """Two versions; the first of MODELS decides."""
    run = ConsensusRun("r" * 64, PRODUCT, "majority", "asked for", 1, 300, 700, at - timedelta(days=9))
    dataset = Dataset("d0f3" * 16, PRODUCT, run.id, 1, 300, at - timedelta(days=9))
    with stores.database.write() as connection:
        datasets.store_run(connection, run, [])
        datasets.store(connection, dataset, [])
        for n, model_id in enumerate(reversed(MODELS)):
            models.store(connection, _model(model_id, dataset.id, n, at - timedelta(days=8 - 6 * n)))
            models.promote(
                connection,
                Promotion(
                    PRODUCT, model_id, "promote", "more scratches labelled", "mira", at - timedelta(days=7 - 6 * n)
                ),
            )


def _model(model_id: str, dataset_id: str, n: int, at: datetime) -> Model:
    def interval(value: float, width: float, count: int) -> dict[str, float]:
        return {"value": value, "low": max(0.0, value - width), "high": min(1.0, value + width / 2), "n": count}

    card: dict[str, object] = {
        "metrics": {
            "cv_auroc": interval(0.941 + 0.03 * n, 0.02, 240),
            "cv_accuracy": interval(0.887 + 0.03 * n, 0.04, 240),
            "test": {
                "images": 60,
                "auroc": interval(0.936 + 0.03 * n, 0.05, 60),
                "escape": interval(0.042, 0.04, 24),
                "overkill": interval(0.083 - 0.03 * n, 0.05, 36),
                "recheck": interval(0.117, 0.07, 60),
            },
        },
        "operating_points": {
            name: {
                "pass": low,
                "reject": 0.7,
                "wanted_escape": wanted,
                "escape_bound": 0.8 * wanted,
                "overkill_expected": 0.05,
                "defect_parts": 90,
                "ok_parts": 150,
            }
            for name, low, wanted in (("standard", 0.3, 0.05), ("strict", 0.12, 0.01))
        },
    }
    gates: tuple[dict[str, object], ...] = (
        {"name": "better_than_chance", "passed": True, "reason": "AUROC 0.966 (0.916–0.991); it must lie above 0.5"},
        {"name": "has_test_parts", "passed": True, "reason": "the test images show 24 defective and 36 good parts"},
        {
            "name": "not_worse_than_champion",
            "passed": bool(n),
            "reason": f"AUROC changes by {'+0.030 (+0.004 to +0.058)' if n else '−0.030 (−0.058 to −0.004)'}",
        },
    )
    return Model(model_id, PRODUCT, f"{n}" * 64, dataset_id, card, gates, (), at)


def add_happenings(stores: Stores, at: datetime) -> None:
    """An alarm of each state, and events."""
    before, after = pictures_of_alarm(stores)
    dimmed = np.zeros((GRID, GRID), np.float32)
    dimmed[:, : GRID // 3] = np.log(0.7)
    lean = alarm_of("a1", at - timedelta(minutes=40), lamp="ring", before_sha256=before, after_sha256=after)
    parts = alarm_of("a2", at - timedelta(hours=3), camera="", cause="new_batch", chart="score.drift")
    new = alarm_of("a3", at - timedelta(seconds=4), station="press-1", cause="flicker")
    over = alarm_of("a4", at - timedelta(minutes=50), cause="sunlight", x=0.9, y=0.1)
    lamp_off = {"cause": "lamp_off", "side": "left", "heat_map": packed(dimmed)}
    add_alarms(
        stores,
        [lean, parts, new, over],
        [
            change_of(lean, "diagnosed", lean.raised_at + timedelta(minutes=1), **lamp_off),
            change_of(parts, "diagnosed", parts.raised_at + timedelta(minutes=1)),
            change_of(over, "cleared", at - timedelta(minutes=22), reason="normal_again"),
        ],
    )
    loaded = Event("e1", "model_loaded", PRODUCT, {"model": MODELS[0]}, at - timedelta(days=1))
    cleared = Event("e2", "optics_alarm_cleared", "press-2/0", {}, at - timedelta(minutes=22))
    with stores.database.write() as connection:
        happenings.store_events(connection, [loaded, cleared])


def pictures_of_alarm(stores: Stores) -> tuple[str, str]:
    """SHA-256 of stored pictures before and after a lamp at the left failed."""
    rendered = PartRenderer(5, 240, 180).render(np.random.default_rng(5), None, 0.0, Light()).image
    darker = (rendered * np.linspace(0.35, 1.0, 240)[None, :, None]).astype(np.uint8)
    found = (cv2.imencode(".png", picture)[1].tobytes() for picture in (rendered, darker))
    before, after = stores.images.put_all(found)
    return before, after


def alarm_of(alarm_id: str, raised_at: datetime, **fields: Any) -> Alarm:
    """An alarm of camera 0 at press-2, as it was raised."""
    told = {"station": "press-2", "camera": "0", "cause": "lamp_dim", "chart": "level.band", **fields}
    return Alarm(
        id=alarm_id,
        product=PRODUCT,
        ratio=1.4,
        images_since_onset=120,
        result_id="r",
        raised_at=raised_at,
        **told,
    )


def change_of(alarm: Alarm, kind: str, at: datetime, **fields: Any) -> AlarmChange:
    """What became of an alarm; the cause stays unless it is named."""
    return AlarmChange(alarm.id, kind, at, **{"cause": alarm.cause, **fields})


def add_alarms(stores: Stores, new: Sequence[Alarm], changes: Sequence[AlarmChange] = ()) -> None:
    with stores.database.write() as connection:
        happenings.store_alarms(connection, new)
        alarms.store_changes(connection, changes)
