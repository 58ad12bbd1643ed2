"""Records with something in every field, for tests to vary."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

from storage.records import (
    Adjudication,
    Alarm,
    AlarmChange,
    Challenge,
    ConsensusRow,
    ConsensusRun,
    Dataset,
    DatasetItem,
    Event,
    Image,
    ImageClass,
    Inspection,
    Job,
    Key,
    Label,
    LabelBook,
    Lease,
    LimitSample,
    Model,
    Opinion,
    Outcome,
    Promotion,
    Recipe,
    Task,
    View,
    Withdrawal,
)

NOW = datetime(2026, 3, 1, 6, 30, 0, 123456, tzinfo=UTC)
PRODUCT = "cap"


def hash_of(name: str) -> str:
    return sha256(name.encode()).hexdigest()


def later(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def image(name: str = "1.png", **changes: Any) -> Image:
    found = Image(
        product=PRODUCT,
        sha256=hash_of(name),
        name=name,
        media_type="image/png",
        byte_size=1234,
        width=64,
        height=48,
        part_group=f"part-{name}",
        lot="L1",
        source="import",
        captured_at=NOW,
        added_at=later(1),
    )
    return replace(found, **changes)


def book(version: int = 1, **changes: Any) -> LabelBook:
    classes = (ImageClass("good", 0, True, "as drawn"), ImageClass("scratch", 1, False), ImageClass("dent", 2, False))
    return replace(LabelBook(PRODUCT, version, classes, NOW), **changes)


def full_book(version: int = 2, **changes: Any) -> LabelBook:
    classes = (
        ImageClass("good", 0, True, "as drawn", expected_share=0.9),
        ImageClass(
            "scratch",
            1,
            False,
            "longer than 1 mm",
            severity_rank=1,
            expected_share=0.1,
            accept=(LimitSample(hash_of("1.png"), "“faint”, 0.8 mm"),),
            reject=(LimitSample(hash_of("2.png")),),
        ),
        ImageClass("dent", 2, False, retired=True),
    )
    return replace(LabelBook(PRODUCT, version, classes, NOW, "mira", "limit samples"), **changes)


def label(label_id: str = "label-1", **changes: Any) -> Label:
    found = Label(
        id=label_id,
        product=PRODUCT,
        image_sha256=hash_of("1.png"),
        inspector="mira",
        class_name="scratch",
        also=("dent",),
        severity=2,
        unsure=True,
        region=(1.5, 2.0, 30.25, 4.0),
        comment="near the “rim” – 0.3 mm",
        seconds=4.25,
        occasion=1,
        book_version=1,
        source="console",
        judged_at=NOW,
        stored_at=later(2),
        shift="früh",
    )
    return replace(found, **changes)


def withdrawal(label_id: str = "label-1", **changes: Any) -> Withdrawal:
    return replace(Withdrawal(label_id, PRODUCT, hash_of("1.png"), "mira", "hit the wrong key", later(4)), **changes)


def adjudication(adjudication_id: str = "adjudication-1", **changes: Any) -> Adjudication:
    found = Adjudication(
        id=adjudication_id,
        product=PRODUCT,
        image_sha256=hash_of("1.png"),
        class_name="dent",
        reason="deeper than the “limit” sample",
        adjudicator="lea",
        book_version=1,
        decided_at=NOW,
        stored_at=later(3),
    )
    return replace(found, **changes)


def task(task_id: str = "task-1", **changes: Any) -> Task:
    asked = "optics: The parts look different"
    found = Task(task_id, PRODUCT, hash_of("1.png"), "mira", "golden", 1, NOW, later(600), "label-1", asked)
    return replace(found, **changes)


def run(name: str = "run", **changes: Any) -> ConsensusRun:
    return replace(ConsensusRun(hash_of(name), PRODUCT, "majority", "asked for", 1, 2, 5, NOW), **changes)


def consensus_row(name: str = "1.png", **changes: Any) -> ConsensusRow:
    return replace(ConsensusRow(hash_of("run"), hash_of(name), {"good": 0.25, "scratch": 0.75}, 1.5), **changes)


def dataset(name: str = "dataset", **changes: Any) -> Dataset:
    return replace(Dataset(hash_of(name), PRODUCT, hash_of("run"), 1, 2, NOW), **changes)


def dataset_item(name: str = "1.png", **changes: Any) -> DatasetItem:
    item = DatasetItem(
        hash_of("dataset"), hash_of(name), name, f"part-{name}", "train", {"good": 0.25, "scratch": 0.75}
    )
    return replace(item, **changes)


def model(model_id: str = "aa11", **changes: Any) -> Model:
    card: dict[str, object] = {"classes": [{"name": "good", "number": 0, "ok": True}], "metrics": {"auroc": 0.97}}
    gates: tuple[dict[str, object], ...] = ({"name": "parity", "passed": True, "reason": "within 1e-4"},)
    challenge: tuple[dict[str, object], ...] = ({"image_sha256": hash_of("1.png"), "p_defect": 0.125},)
    found = Model(model_id, PRODUCT, hash_of(model_id), hash_of("dataset"), card, gates, challenge, NOW)
    return replace(found, **changes)


def opinion(image: str = "1.png", **changes: Any) -> Opinion:
    return replace(Opinion("aa11", hash_of(image), {"good": 0.75, "scratch": 0.25, "dent": 0.0}), **changes)


def promotion(model_id: str = "aa11", **changes: Any) -> Promotion:
    return replace(Promotion(PRODUCT, model_id, "promote", "fewer escapes", "mira", NOW), **changes)


def recipe(version: int = 1, **changes: Any) -> Recipe:
    found = Recipe(
        product=PRODUCT,
        station="*",
        version=version,
        operating_point="standard",
        fail_safe="recheck",
        class_disposition={"dent": "rework"},
        deadline_ms=80.5,
        on_optics_alarm="not_decidable",
        keep_ok_share=0.05,
        created_by="mira",
        created_at=NOW,
        expected_views=("top", "side"),
        challenge_every_h=12.5,
        lamps={"top": "dark field", "side": "«Rotlicht»"},
    )
    return replace(found, **changes)


def view(result_id: str = "r1", view_id: str = "0", **changes: Any) -> View:
    found = View(
        result_id=result_id,
        view_id=view_id,
        camera="top",
        image_sha256=hash_of(f"{result_id}/{view_id}"),
        media_type="image/jpeg",
        image_kept=True,
        width=640,
        height=480,
        class_name="scratch",
        p_defect=0.9375,
        novelty=0.5,
        signals={"level": 0.25, "focus": -1.5},
    )
    return replace(found, **changes)


def inspection(result_id: str = "r1", **changes: Any) -> Inspection:
    found = Inspection(
        result_id=result_id,
        station="press-1",
        trigger_epoch="boot-7",
        trigger_id=f"t-{result_id}",
        product=PRODUCT,
        part_id=f"part-{result_id}",
        lot="L1",
        mode="production",
        evaluation="not_ok",
        disposition="reject",
        result_code=1,
        reasons=("scratch: p_defect 0.938", "“über” limit"),
        deadline_met=True,
        recipe_version=3,
        model_id="aa11",
        model_sha256=hash_of("aa11"),
        drift_state="stable",
        keep_probability=0.05,
        supersedes=None,
        answer='{"result_code": 1, "reasons": ["“über” limit"]}',
        captured_at=NOW,
        received_at=later(0.5),
        is_partial=True,
        views=(view(result_id, "0"), view(result_id, "1")),
    )
    return replace(found, **changes)


def outcome(outcome_id: str = "outcome-1", **changes: Any) -> Outcome:
    return replace(Outcome(outcome_id, "r1", "rework", "dent", "on the “rim”", "mira", NOW), **changes)


def challenge(challenge_id: str = "challenge-1", **changes: Any) -> Challenge:
    found = Challenge(
        id=challenge_id,
        station="press-1",
        product=PRODUCT,
        result_id="r1",
        expected="not_ok",
        expected_class="scratch",
        evaluation="not_ok",
        class_name="dent",
        passed=False,
        reason="dent instead of scratch",
        challenged_at=NOW,
    )
    return replace(found, **changes)


def lease(station: str = "press-1", **changes: Any) -> Lease:
    return replace(Lease(station, "host-a", "http://10.0.0.7:8480", 3, 41), **changes)


def alarm(alarm_id: str = "alarm-1", **changes: Any) -> Alarm:
    found = Alarm(
        id=alarm_id,
        station="press-1",
        camera="top",
        product=PRODUCT,
        cause="lamp_off",
        chart="lean_x.jump",
        ratio=1.25,
        images_since_onset=120,
        result_id="r1",
        raised_at=NOW,
        side="left",
        x=0.25,
        y=0.75,
        motion={"right_px": 1.5, "down_px": -0.25, "turn_degrees": 0.5},
        size=3.5,
        heat_map="AAAAAA==",
        before_sha256=hash_of("before"),
        after_sha256=hash_of("after"),
        baseline_version=3,
    )
    return replace(found, **changes)


def bare_alarm(alarm_id: str = "bare", **changes: Any) -> Alarm:
    """An alarm as a former release stored it."""
    return replace(Alarm(alarm_id, "press-1", "top", PRODUCT, "brighter", "level.jump", 1.25, 0, "r1", NOW), **changes)


def alarm_change(alarm_id: str = "alarm-1", kind: str = "diagnosed", **changes: Any) -> AlarmChange:
    found = AlarmChange(
        alarm_id=alarm_id,
        kind=kind,
        changed_at=later(12),
        cause="bump",
        side="top",
        x=0.5,
        y=0.125,
        motion={"right_px": -1.5, "down_px": 2.0, "turn_degrees": 0.0},
        size=7.25,
        heat_map="AACAPw==",
        reason="normal_again",
        is_glitch=True,
        result_id="r2",
    )
    return replace(found, **changes)


def event(event_id: str = "event-1", **changes: Any) -> Event:
    return replace(Event(event_id, "model_loaded", PRODUCT, {"model": "aa11", "tries": 2}, NOW), **changes)


def key(key_id: str = "key-1", **changes: Any) -> Key:
    return replace(Key(key_id, "press-1", hash_of(key_id), NOW, later(60)), **changes)


def job(job_id: str = "job-1", **changes: Any) -> Job:
    found = Job(job_id, "retrain", {"product": PRODUCT}, "queued", {}, NOW, None, None)
    return replace(found, **changes)


# In an order that foreign keys allow; a sparse record beside a full one where a field may be empty.
RECORDS: list[tuple[str, list[Any]]] = [
    ("images", [image(), image("2.png", lot=None, captured_at=None)]),
    ("label_books", [book(), full_book()]),
    (
        "labels",
        [
            label(),
            label("sparse", also=(), severity=None, region=None, comment="", seconds=None, judged_at=None, shift=""),
        ],
    ),
    ("withdrawals", [withdrawal(), withdrawal("sparse", reason="")]),
    ("adjudications", [adjudication(seq=1), adjudication("sparse", class_name=None, seq=2)]),
    ("tasks", [task(), task("sparse", inspector="", expires_at=None, label_id=None)]),
    ("consensus_runs", [run()]),
    ("consensus", [consensus_row()]),
    ("datasets", [dataset()]),
    ("dataset_items", [dataset_item()]),
    ("models", [model(), model("bb22", gates=(), challenge=())]),
    ("opinions", [opinion(), opinion("2.png")]),
    ("promotions", [promotion(seq=1)]),
    (
        "recipes",
        [
            recipe(),
            recipe(2, class_disposition={}, deadline_ms=None, expected_views=(), challenge_every_h=None, lamps={}),
        ],
    ),
    (
        "inspections",
        [
            inspection(views=()),
            inspection(
                "sparse",
                part_id=None,
                lot=None,
                reasons=(),
                model_id=None,
                model_sha256=None,
                captured_at=None,
                is_partial=False,
                views=(),
            ),
        ],
    ),
    (
        "views",
        [
            view(lamp="dark field"),
            view("sparse", width=None, height=None, class_name=None, p_defect=None, novelty=None, signals={}),
        ],
    ),
    ("outcomes", [outcome(), outcome("sparse", class_name=None, comment="")]),
    ("challenges", [challenge(), challenge("sparse", expected_class=None, class_name=None)]),
    ("leases", [lease(), lease("sparse", owner="", address="")]),
    ("alarms", [alarm(lamp="dark field"), bare_alarm()]),
    ("alarm_changes", [alarm_change(), AlarmChange("alarm-1", "cleared", NOW, "other")]),
    ("events", [event(), event("sparse", detail={})]),
    ("keys", [key(), key("sparse", revoked_at=None)]),
    ("jobs", [job(), job("ended", state="done", started_at=NOW, finished_at=later(9))]),
]
