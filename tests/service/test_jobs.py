import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from labeling.formats import FORMATS
from labeling.importing import import_listing
from service.commands.data import probe
from service.jobs import UnknownJob, enqueue, work, work_one
from service.settings import load_settings
from service.wiring import Stores, open_stores
from storage import jobs, models
from storage.records import Job
from tests.labeling.painted_parts import paint
from tests.storage.samples import NOW, job


@pytest.fixture
def stores(tmp_path: Path) -> Iterator[Stores]:
    with open_stores(load_settings(data_dir=tmp_path / "data")) as opened:
        yield opened


def find(stores: Stores, job_id: str) -> Job:
    with stores.database.read() as connection:
        found = jobs.find(connection, job_id)
    assert found is not None
    return found


def add(stores: Stores, queued: Job) -> None:
    with stores.database.write() as connection:
        jobs.add(connection, queued)


def test_a_retrain_job_makes_a_candidate(stores: Stores, tmp_path: Path) -> None:
    listing = FORMATS["folder"](paint(tmp_path / "parts", {"good": 10, "scratch": 10}), {})
    import_listing(listing, "cap", ("good",), stores.database, stores.images, probe, NOW)
    queued = enqueue(stores, "retrain", {"product": "cap"})
    assert find(stores, queued.id) == queued
    assert work_one(stores, structlog.get_logger())
    ended = find(stores, queued.id)
    assert ended.state == "done", ended.result
    with stores.database.read() as connection:
        (model,) = models.listing(connection, "cap")
        assert models.champions(connection) == {}, "a person promotes"
    assert ended.result["model"] == model.id
    assert ended.result["dataset"] == model.dataset_id
    assert ended.result["failed_gates"] == [gate["name"] for gate in model.gates if not gate["passed"]]
    assert stores.images.has(model.sha256)
    assert not work_one(stores, structlog.get_logger())


def test_a_job_that_fails_ends_with_the_reason_and_what_to_do(stores: Stores) -> None:
    queued = enqueue(stores, "retrain", {"product": "nobody's"})
    with structlog.testing.capture_logs() as logged:
        assert work_one(stores, structlog.get_logger())
    ended = find(stores, queued.id)
    assert ended.state == "failed"
    assert ended.result["error"] == 'product "nobody\'s" has no labels'
    assert "loupe import" in str(ended.result["remedy"])
    assert ended.finished_at is not None
    assert [entry["event"] for entry in logged] == ["job_started", "job_failed", "job_finished"]


def test_a_job_of_another_version_fails_and_the_next_is_done(stores: Stores) -> None:
    add(stores, job("old", kind="paint it blue"))
    add(stores, job("odd", arguments={"job": "x", "kind": "y", "event": "z"}))
    for _ in range(2):
        assert work_one(stores, structlog.get_logger())
    assert find(stores, "old").result["error"] == "job kind 'paint it blue' is unknown"
    assert find(stores, "odd").state == "failed"
    assert not work_one(stores, structlog.get_logger())


def test_an_unknown_job_is_not_queued(stores: Stores) -> None:
    with pytest.raises(UnknownJob) as refused:
        enqueue(stores, "paint it blue", {})
    assert "retrain" in refused.value.remedy
    with stores.database.read() as connection:
        assert jobs.latest(connection, 9) == []


def test_a_worker_does_first_what_a_dead_one_left(stores: Stores, tmp_path: Path) -> None:
    add(stores, job("left", state="running", started_at=NOW, arguments={"product": "none"}))
    before = signal.getsignal(signal.SIGTERM)
    try:
        work(stores.settings, once=True)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert find(stores, "left").state == "failed"
