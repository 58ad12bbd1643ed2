"""The worker's queue."""

from datetime import datetime

from sqlalchemy import Connection, insert, select, update

from storage.database import from_row, to_row
from storage.records import Job
from storage.tables import jobs


def add(connection: Connection, job: Job) -> None:
    """Queue a job."""
    connection.execute(insert(jobs).values(to_row(job)))


def take(connection: Connection, now: datetime) -> Job | None:
    """Mark the oldest queued job as running and return it; two workers never take the same one."""
    query = select(jobs.c.id).where(jobs.c.state == "queued").order_by(jobs.c.queued_at).limit(1)
    # SQLite ignores FOR UPDATE; there a writing transaction is alone already.
    job_id = connection.execute(query.with_for_update(skip_locked=True)).scalar()
    if job_id is None:
        return None
    connection.execute(update(jobs).where(jobs.c.id == job_id).values(state="running", started_at=now))
    return find(connection, job_id)


def finish(connection: Connection, job_id: str, state: str, result: dict[str, object], now: datetime) -> None:
    """Write how a job ended."""
    connection.execute(update(jobs).where(jobs.c.id == job_id).values(state=state, result=result, finished_at=now))


def requeue_running(connection: Connection) -> int:
    """Queue again what a dead worker left running; returns how many."""
    statement = update(jobs).where(jobs.c.state == "running").values(state="queued", started_at=None)
    return connection.execute(statement).rowcount


def find(connection: Connection, job_id: str) -> Job | None:
    """One job."""
    row = connection.execute(select(jobs).where(jobs.c.id == job_id)).mappings().first()
    return None if row is None else from_row(Job, row)


def latest(connection: Connection, limit: int) -> list[Job]:
    """The newest jobs, newest first."""
    query = select(jobs).order_by(jobs.c.queued_at.desc()).limit(limit)
    return [from_row(Job, row) for row in connection.execute(query).mappings()]
