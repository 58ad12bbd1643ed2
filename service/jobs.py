"""The worker: does what the jobs table asks for, one job after the other."""

import fcntl
import secrets
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import structlog

from service.learning import learn
from service.settings import Settings
from service.wiring import Stores, data_folder, now, open_stores
from storage import jobs
from storage.database import DatabaseUnavailable
from storage.records import Job

POLL_S = 1.0
RETRY_S = 5.0


class WorkerRunning(RuntimeError):
    """Another worker does the jobs already."""

    def __init__(self, lock: Path) -> None:
        super().__init__(f"another worker holds {lock}")
        self.remedy = "one is enough: its jobs are done one after the other"


class UnknownJob(ValueError):
    """The jobs table names work that this version does not know."""

    def __init__(self, kind: str) -> None:
        super().__init__(f"job kind {kind!r} is unknown")
        self.remedy = f"use one of {', '.join(JOBS)}"


def retrain(stores: Stores, arguments: dict[str, Any]) -> dict[str, Any]:
    """Settle a product's labels and train a candidate on them."""
    from models.training import TrainingSettings

    learned = learn(stores, str(arguments["product"]), TrainingSettings())
    return {
        "dataset": learned.dataset.id,
        "model": learned.candidate.model.id,
        "failed_gates": [gate["name"] for gate in learned.candidate.failed_gates],
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
    """Do jobs until SIGTERM or Ctrl-C; `once`: until nothing is queued. A database that is away is waited for.

    Raises WorkerRunning.
    """
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    log = structlog.get_logger("worker")
    with _alone(data_folder(settings) / "worker.lock"):
        while not stop.is_set():
            try:
                with open_stores(settings) as stores:
                    _work_until(stores, log, stop, once=once)
                    return
            except DatabaseUnavailable as error:
                if once:
                    raise
                log.error("database_away", reason=str(error))
                stop.wait(RETRY_S)


def _work_until(stores: Stores, log: Any, stop: threading.Event, *, once: bool) -> None:
    with stores.database.write() as connection:
        if left := jobs.requeue_running(connection):
            log.warning("requeued", jobs=left)
    while not stop.is_set():
        if not work_one(stores, log):
            if once:
                return
            stop.wait(POLL_S)


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """One worker a data folder: what is marked as running when it starts was left by a dead one."""
    with path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise WorkerRunning(path) from error
        yield


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
