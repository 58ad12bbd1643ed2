import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from storage import jobs
from storage.database import Database
from storage.records import Job
from tests.storage.samples import NOW, job, later


def test_the_oldest_job_is_taken_first_and_only_once(database: Database) -> None:
    with database.write() as connection:
        jobs.add(connection, job("second", queued_at=later(1)))
        jobs.add(connection, job("first", queued_at=NOW))
        jobs.add(connection, job("ended", state="done", queued_at=later(-9)))
        assert jobs.take(connection, later(5)) == job("first", state="running", started_at=later(5))
        second = jobs.take(connection, later(6))
        assert second is not None
        assert second.id == "second"
        assert jobs.take(connection, later(7)) is None


def test_two_workers_never_take_the_same_job(database: Database) -> None:
    total = 40
    with database.write() as connection:
        for n in range(total):
            jobs.add(connection, job(f"{n:02d}", queued_at=later(n)))
    taken: list[str] = []
    together, deadline = threading.Barrier(4), time.monotonic() + 30

    def work() -> None:
        together.wait()
        while len(taken) < total and time.monotonic() < deadline:
            with database.write() as connection:
                found = jobs.take(connection, NOW)
            if found is not None:
                taken.append(found.id)

    with ThreadPoolExecutor(4) as pool:
        for future in [pool.submit(work) for _ in range(4)]:
            future.result()
    assert Counter(taken) == Counter({f"{n:02d}": 1 for n in range(total)})


def test_a_job_ends_with_its_result(database: Database) -> None:
    with database.write() as connection:
        jobs.add(connection, job())
        jobs.take(connection, later(1))
        jobs.finish(connection, "job-1", "done", {"model": "aa11"}, later(2))
        ended: Job | None = jobs.find(connection, "job-1")
        assert ended == job(state="done", result={"model": "aa11"}, started_at=later(1), finished_at=later(2))
        assert jobs.find(connection, "none") is None


def test_what_a_dead_worker_left_is_queued_again(database: Database) -> None:
    with database.write() as connection:
        jobs.add(connection, job("left"))
        jobs.take(connection, NOW)
        jobs.add(connection, job("waiting", queued_at=later(1)))
        assert jobs.requeue_running(connection) == 1
        assert jobs.find(connection, "left") == job("left")
        assert jobs.requeue_running(connection) == 0


def test_the_newest_jobs_come_first(database: Database) -> None:
    with database.write() as connection:
        for n in range(4):
            jobs.add(connection, job(str(n), queued_at=later(n)))
        assert [found.id for found in jobs.latest(connection, 3)] == ["3", "2", "1"]
