"""The line server's parts, built from the settings, started and stopped together."""

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import structlog
from prometheus_client import CollectorRegistry

from models.classifier import Classifier
from monitoring.metrics import LineMetrics
from monitoring.watch import Watch
from service.line.access import Access
from service.line.admission import Admission
from service.line.background import Repeating
from service.line.champions import Champions
from service.line.pipeline import LinePipeline
from service.line.stations import Stations
from service.settings import Settings
from service.wiring import now
from storage import keys
from storage.database import Database, DatabaseUnavailable, ensure_schema, open_database
from storage.drain import BATCH, drain_once
from storage.images import open_image_store
from storage.images.content import ContentStore
from storage.journal import Journal

DRAIN_INTERVAL_S = 0.3
"""Between drains records gather: a transaction and its fsyncs cost the same for one record as for many."""
SAVE_INTERVAL_S = 30.0
PRUNE_INTERVAL_S = 600.0


@dataclass(frozen=True, slots=True)
class LineServer:
    """Everything that a request needs."""

    settings: Settings
    database: Database
    images: ContentStore
    journal: Journal
    watch: Watch
    champions: Champions
    access: Access
    stations: Stations
    metrics: LineMetrics
    registry: CollectorRegistry
    pipeline: LinePipeline
    admission: Admission
    pool: ThreadPoolExecutor
    clock: Callable[[], datetime]
    started: float
    """time.monotonic() at the start; the heartbeat counts from here."""

    def state(self, product: str | None = None) -> str:
        """preoperational, ready or error: for a product, or for any where none is named."""
        if self.journal.failure is not None:
            return "error"
        products = self.champions.summary()
        concerned = [products[product]] if product in products else [] if product else list(products.values())
        if any(facts["model"] and facts["recipe_fits"] for facts in concerned):
            return "ready"
        return "error" if concerned else "preoperational"


@contextmanager
def running(settings: Settings) -> Iterator[LineServer]:
    """A line server with its background threads; on leaving, everything answered is drained as far as possible.

    The database may be away: verdicts wait for the first model, records wait in the journal.

    Raises JournalLocked, WrongDatabaseUrl, UnknownImageStore, SchemaBehind.
    """
    folder = settings.data_dir.absolute() / "line"
    database = open_database(settings.database_address)
    # A schema that does not fit is refused at once; a database that is away is waited for by `_follow`.
    with suppress(DatabaseUnavailable):
        ensure_schema(database)
    images = open_image_store(settings.image_store_address)
    journal = Journal(folder / "journal")
    registry = CollectorRegistry()
    metrics = LineMetrics(registry)
    watch = Watch(settings.commission_images)
    _restore_watch(watch, folder / "optics.json")
    champions = Champions(
        database, images, folder / "models", lambda path: Classifier(path, settings.provider, threads=1)
    )
    pipeline = LinePipeline(
        journal,
        images,
        watch,
        metrics,
        now,
        window=timedelta(hours=settings.idempotency_window_h),
        pixel_limit=int(settings.max_megapixels * 1e6),
    )
    server = LineServer(
        settings=settings,
        database=database,
        images=images,
        journal=journal,
        watch=watch,
        champions=champions,
        access=Access(),
        stations=Stations(),
        metrics=metrics,
        registry=registry,
        pipeline=pipeline,
        admission=Admission(settings.queue_limit, metrics),
        pool=ThreadPoolExecutor(settings.threads, thread_name_prefix="inspect"),
        clock=now,
        started=time.monotonic(),
    )
    threads = [
        Repeating("follow", settings.watch_poll_s, lambda: _follow(server)).start(),
        Repeating("drain", DRAIN_INTERVAL_S, lambda: _drain(server)).start(),
        Repeating("save_optics", SAVE_INTERVAL_S, lambda: _save_watch(watch, folder / "optics.json")).start(),
        Repeating("prune", PRUNE_INTERVAL_S, lambda: _prune(server)).start(),
    ]
    try:
        yield server
    finally:
        server.pool.shutdown(wait=True)
        for thread in threads:
            thread.stop()
        _drain_rest(server)
        journal.close()
        database.close()
        _save_watch(watch, folder / "optics.json")


def _follow(server: LineServer) -> bool:
    """Follow promotions, recipes and keys."""
    if not server.champions.is_following:
        ensure_schema(server.database)
    # Keys come first: nothing may be ready before it is guarded, and loading a model takes its time.
    with server.database.read() as connection:
        server.access.replace(keys.listing(connection))
    for swap in server.champions.refresh():
        if swap.reason is None:
            server.metrics.champion(swap.product, swap.model_id)
            server.pipeline.event("model_loaded", swap.product, {"model": swap.model_id})
        else:
            detail: dict[str, object] = {"model": swap.model_id, "reason": swap.reason}
            server.pipeline.event("model_refused", swap.product, detail)
    server.metrics.ready.set(float(server.state() == "ready"))
    return False


def _drain(server: LineServer) -> bool:
    if server.journal.failure is not None:
        server.journal.probe()
    moved = drain_once(server.journal, server.database, server.images)
    server.metrics.journal_waiting.set(server.journal.waiting_count)
    if moved or server.journal.waiting_count == 0:
        server.metrics.drained_at.set(server.clock().timestamp())
    return moved == BATCH


def _drain_rest(server: LineServer) -> None:
    log = structlog.get_logger("line")
    try:
        while drain_once(server.journal, server.database, server.images):
            pass
    except (OSError, RuntimeError) as error:
        # The records are safe where they are; the next start moves them.
        log.warning("drain_postponed", waiting=server.journal.waiting_count, reason=str(error))


def _prune(server: LineServer) -> bool:
    server.journal.prune(server.clock(), timedelta(hours=server.settings.idempotency_window_h))
    return False


def _restore_watch(watch: Watch, path: Path) -> None:
    if not path.exists():
        return
    try:
        watch.restore(json.loads(path.read_text()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        # A baseline that can't be read is learned anew; refusing to serve would stop the line.
        structlog.get_logger("line").error("optics_state_unreadable", path=str(path), reason=str(error))
        path.rename(path.with_suffix(".unreadable"))


def _save_watch(watch: Watch, path: Path) -> bool:
    states: dict[str, Any] = watch.states()
    partial = path.with_suffix(".part")
    partial.write_text(json.dumps(states))
    partial.replace(path)
    return False
