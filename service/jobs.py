"""The worker: does what the jobs table asks for, one job after the other."""

import secrets
import signal
import threading
from collections.abc import Callable
from typing import Any

import structlog

from labeling.settle import settle
from models.dataset import snapshot
from service.settings import Settings
from service.wiring import Stores, now, open_stores
from storage import jobs
from storage.records import Job

POLL_S = 1.0


class UnknownJob(ValueError):
    """The jobs table names work that this version does not know."""

    def __init__(self, kind: str) -> None:
        super().__init__(f"job kind {kind!r} is unknown")
        self.remedy = f"use one of {', '.join(JOBS)}"


def retrain(stores: Stores, arguments: dict[str, Any]) -> dict[str, Any]:
    """Settle a product's labels and train a candidate on them; a person promotes it."""
    # Only the worker needs the trainer; the console that queues the job must not load it.
    from models.retrain import retrain as train_candidate
    from models.training import TrainingSettings

    with stores.database.write() as connection:
        settlement = settle(connection, str(arguments["product"]), now())
        dataset, _ = snapshot(connection, settlement.run, now())
    folder = stores.settings.data_dir.absolute()
    candidate = train_candidate(
        stores.database,
        stores.images,
        dataset,
        TrainingSettings(),
        cache=folder / "cache" / "features",
        folder=folder / "models",
        now=now(),
    )
    return {
        "dataset": dataset.id,
        "model": candidate.model.id,
        "failed_gates": [gate["name"] for gate in candidate.failed_gates],
    }


JOBS: dict[str, Callable[[Stores, dict[str, Any]], dict[str, Any]]] = {"retrain": retrain}


def enqueue(stores: Stores, kind: str, arguments: dict[str, Any]) -> Job:
    """Queue a job for the worker.

    Raises UnknownJob.
    """
    if kind not in JOBS:
        raise UnknownJob(kind)
    job = Job(secrets.token_hex(8), kind, arguments, "queued", {}, now(), None, None)
    with stores.database.write() as connection:
        jobs.add(connection, job)
    return job


def work(settings: Settings, *, once: bool) -> None:
    """Do jobs until SIGTERM or Ctrl-C; `once`: until nothing is queued."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    log = structlog.get_logger("worker")
    with open_stores(settings) as stores:
        with stores.database.write() as connection:
            if left := jobs.requeue_running(connection):
                log.warning("requeued", jobs=left)
        while not stop.is_set():
            if not work_one(stores, log):
                if once:
                    return
                stop.wait(POLL_S)


def work_one(stores: Stores, log: Any) -> bool:
    """Do the oldest queued job; returns whether there was one."""
    with stores.database.write() as connection:
        job = jobs.take(connection, now())
    if job is None:
        return False
    log.info("job_started", job=job.id, kind=job.kind, arguments=job.arguments)
    try:
        if job.kind not in JOBS:
            raise UnknownJob(job.kind)
        state, result = "done", JOBS[job.kind](stores, job.arguments)
    except Exception as error:  # one job must not end the worker
        state, result = "failed", {"error": str(error), "remedy": str(getattr(error, "remedy", ""))}
        log.error("job_failed", job=job.id, exc_info=error)
    with stores.database.write() as connection:
        jobs.finish(connection, job.id, state, result, now())
    log.info("job_finished", job=job.id, state=state)
    return True
