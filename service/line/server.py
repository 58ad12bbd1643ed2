"""The line server's parts, built from the settings, started and stopped together."""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import structlog
from prometheus_client import CollectorRegistry

from models.batching import open_classifier
from monitoring import signals
from monitoring.metrics import LineMetrics
from monitoring.product_watch import ProductWatch
from monitoring.sights import Sight
from monitoring.watch import Watch
from service.line import baselines
from service.line.access import Access
from service.line.admission import Admission
from service.line.alarm_book import AlarmBook
from service.line.alarm_memory import recall
from service.line.background import Repeating
from service.line.champions import Champions, Swap
from service.line.correcting import Corrections
from service.line.dispatch import Dispatcher
from service.line.episodes import Episodes
from service.line.forwarding import Forwarder
from service.line.loading import ModelLoader
from service.line.looking import Looking
from service.line.optics_tasks import ask_inspectors
from service.line.ownership import BEAT_S, Ownership, owner_id
from service.line.pipeline import LinePipeline, Told
from service.line.publishing import VerdictPublisher
from service.line.recording import alias
from service.line.recovery import recover
from service.line.requests import PartRequest
from service.line.siblings import Siblings
from service.line.stations import Stations
from service.line.stopping import Stopping
from service.line.waiting import Waiters
from service.line.watching import Watching
from service.line.webhook import Webhook, read_addresses
from service.settings import Settings
from service.wiring import now
from storage import challenges, keys
from storage.database import Database, DatabaseUnavailable, ensure_schema, open_database
from storage.drain import BATCH, drain_once
from storage.images import open_image_store
from storage.images.content import ContentStore
from storage.journal import Journal, JournalBroken, JournalLocked

DRAIN_BREATH_S = 0.004
"""After each slice of a drain, so that parts get the processor and the interpreter: they have a takt, records don't."""
DRAIN_INTERVAL_S = 0.5
"""Between drains records gather: a transaction and its fsyncs cost the same for one record as for many."""
DRAIN_PAUSE_MAX_S = 5.0
"""While the database is away: every try reads a batch and makes its images durable before it fails."""
TIDY_INTERVAL_S = 0.3
EXPIRE_INTERVAL_S = 0.02
IDLE_S = 5.0
SAVE_INTERVAL_S = 30.0
SIBLINGS_INTERVAL_S = 10.0
ASK_POLLS = 5
"""Promotions are looked for so many times as often as alarms that inspectors can be asked about."""
ASK_PAUSE_MAX_S = 60.0
LOCK_WAIT_S = 5.0
"""Another line server may be draining the journal of this one when it starts again."""
ALARMS, BASELINES, PRODUCTS = "alarms.json", "baselines", "products"
FIRST_DRAIN_S = 3.0
"""At the end, stations are given back when everything is drained, or after this time."""


@dataclass(frozen=True, slots=True)
class LineServer:
    """Everything that a request needs."""

    settings: Settings
    database: Database
    images: ContentStore
    journal: Journal
    watch: Watch
    baselines: Path
    """Where what the watch has learnt is kept."""
    products: ProductWatch
    learnt_products: Path
    """Where what that has learnt is kept."""
    episodes: Episodes
    champions: Champions
    access: Access
    stations: Stations
    metrics: LineMetrics
    registry: CollectorRegistry
    pipeline: LinePipeline
    told: Told
    """Hears every last word on a part."""
    admission: Admission
    dispatcher: Dispatcher
    waiters: Waiters
    stopping: Stopping
    ownership: Ownership
    siblings: Siblings
    forwarder: Forwarder
    clock: Callable[[], datetime]
    started: float
    """time.monotonic() at the start; the heartbeat counts from here."""

    @property
    def draining(self) -> bool:
        """Whether the server is stopping: what is in work is answered, nothing new is taken on."""
        return self.stopping.begun

    def state(self, product: str | None = None) -> str:
        """preoperational, initialized, ready or error: for a product, or for any where none is named.

        Preoperational: nothing is known that could decide. Initialized: its model is being loaded, or rests.
        """
        if self.journal.failure is not None:
            return "error"
        products = self.champions.summary()
        concerned = [products[product]] if product in products else [] if product else list(products.values())
        if any(facts["model"] and facts["recipe_fits"] for facts in concerned):
            return "ready"
        if any(facts["refused"] or (facts["model"] and not facts["recipe_fits"]) for facts in concerned):
            return "error"
        return "initialized" if concerned else "preoperational"

    def station_state(self, station: str) -> str:
        """The state of the station's last product; error too while its last challenge failed or is too long ago."""
        product = self.stations.product(station)
        state = self.state(product)
        if state != "ready":
            return state
        last = self.stations.challenge(station)
        named = product or (last.product if last is not None else next(iter(self.champions.loaded), ""))
        return (
            "ready"
            if self.stations.lets_through(station, self.champions.recipe(named, station), self.clock())
            else "error"
        )

    def answered(self, result_id: str) -> bytes | None:
        """What was answered under this id, from the journal or from a part that still waits for views."""
        # What was promised while views were awaited may have become something else: that holds.
        stored = self.journal.answered(alias(result_id), self.window_start())
        body = stored.answer if stored is not None else self.journal.find(result_id)
        if body is None:
            open_part = self.pipeline.open_parts.find_result(result_id)
            body = open_part.processing if open_part is not None else None
        return body

    def window_start(self) -> datetime:
        """Answers older than this are no longer repeated."""
        return self.clock() - timedelta(hours=self.settings.idempotency_window_h)


@contextmanager
def running(settings: Settings) -> Iterator[LineServer]:
    """A line server with its background threads; on leaving, everything answered is drained, for a short while.

    The database may be away: verdicts wait for the first model, records wait in the journal.

    Raises JournalLocked, JournalUnusable, WrongDatabaseUrl, UnknownImageStore, SchemaBehind, WrongMqttAddress,
    WrongWebhookAddress.
    """
    folder = settings.line_folder
    with ExitStack() as closing:
        database = open_database(settings.database_address)
        closing.callback(database.close)
        access = Access()
        # A schema that does not fit is refused at once; a database that is away is waited for by `_follow`.
        with suppress(DatabaseUnavailable):
            ensure_schema(database)
            with database.read() as connection:
                access.replace(keys.listing(connection))
        images = open_image_store(settings.image_store_address)
        # Compiled code is loaded, or made, now: no part shall wait for it.
        signals.warm()
        journal = _open_journal(folder / "journal", int(settings.journal_reserve_mb * 1e6))
        closing.callback(journal.close)
        server = _assembled(settings, database, images, journal, access, folder, closing)
        recover(journal, server.told)
        baselines.restore(server.watch, server.baselines)
        baselines.restore(server.products, server.learnt_products)
        server.episodes.resume(recall(folder / ALARMS))
        closing.callback(baselines.save, server.watch, server.baselines)
        closing.callback(baselines.save, server.products, server.learnt_products)
        closing.callback(_release, server)
        closing.callback(_drain_rest, server, FIRST_DRAIN_S)
        closing.callback(server.episodes.close)
        for thread in _threads(server, folder):
            closing.callback(thread.start().stop)
        closing.callback(server.dispatcher.close)
        yield server


def _assembled(
    settings: Settings,
    database: Database,
    images: ContentStore,
    journal: Journal,
    access: Access,
    folder: Path,
    closing: ExitStack,
) -> LineServer:
    registry = CollectorRegistry()
    metrics = LineMetrics(registry)
    chores = ThreadPoolExecutor(1, "optics")
    closing.callback(chores.shutdown, cancel_futures=True)
    elsewhere = _elsewhere(chores)
    watch = Watch(settings.commission_images, elsewhere=elsewhere)
    products = ProductWatch(settings.commission_parts, elsewhere=elsewhere)
    waiters = Waiters()
    publisher = None
    if settings.mqtt_url:
        publisher = VerdictPublisher(settings.mqtt_url, counted=metrics.published)
        closing.callback(publisher.close)
    webhooks = [Webhook(url, counted=metrics.alerted) for url in read_addresses(settings.webhook_url)]
    for webhook in webhooks:
        closing.callback(webhook.close)

    episodes = _episodes(
        settings, watch, products, publisher, webhooks, elsewhere, journal=journal, metrics=metrics, folder=folder
    )

    def told(part: PartRequest, body: bytes) -> None:
        waiters.tell(part.part_key, body)
        # What acts on verdicts must not act on a shadow's or a challenge's.
        if publisher is not None and part.mode == "production":
            publisher.publish(part.station, body)

    def event(kind: str, station: str, detail: dict[str, object]) -> None:
        pipeline.event(kind, station, detail)

    siblings = Siblings(
        folder,
        int(settings.journal_reserve_mb * 1e6),
        lambda found, until: _drain_sibling(found, database, images, told, until),
    )
    ownership = Ownership(
        database,
        owner_id(folder / "owner"),
        settings.line_address,
        folder / "stations.json",
        clock=now,
        tell=event,
        before_taking=siblings.look,
        count=metrics.stations_owned.set,
    )
    closing.callback(ownership.close)
    stopping = Stopping()
    engines = folder / "engines"
    engines.mkdir(parents=True, exist_ok=True)
    loader = ModelLoader(
        images,
        folder / "models",
        lambda path: open_classifier(path, settings.provider, threads=1, engine_cache=engines),
    )
    pipeline = LinePipeline(
        journal,
        images,
        Looking(watch, Corrections(elsewhere), int(settings.max_megapixels * 1e6)),
        Watching(products, episodes, metrics),
        metrics,
        now,
        told,
        ownership.earlier,
        window=timedelta(hours=settings.idempotency_window_h),
    )
    return LineServer(
        settings=settings,
        database=database,
        images=images,
        journal=journal,
        watch=watch,
        baselines=folder / BASELINES,
        products=products,
        learnt_products=folder / PRODUCTS,
        episodes=episodes,
        champions=Champions(loader, int(settings.model_memory_mb * 1e6)),
        access=access,
        stations=Stations(folder / "challenges.json"),
        metrics=metrics,
        registry=registry,
        pipeline=pipeline,
        told=told,
        admission=Admission(settings.queue_limit, metrics),
        dispatcher=Dispatcher(settings.threads or max(2, os.cpu_count() or 2)),
        waiters=waiters,
        stopping=stopping,
        ownership=ownership,
        siblings=siblings,
        forwarder=Forwarder(ownership, stopping, metrics),
        clock=now,
        started=time.monotonic(),
    )


def _episodes(
    settings: Settings,
    watch: Watch,
    products: ProductWatch,
    publisher: VerdictPublisher | None,
    webhooks: Sequence[Webhook],
    elsewhere: Callable[[Callable[[], None]], object],
    *,
    journal: Journal,
    metrics: LineMetrics,
    folder: Path,
) -> Episodes:
    def tell(station: str, body: bytes) -> None:
        if publisher is not None:
            publisher.publish_optics(station, body)

    def alert(station: str, body: bytes) -> None:
        for webhook in webhooks:
            webhook.post(body)

    def keep(sight: Sight) -> None:
        for kept, name in ((watch, BASELINES), (products, PRODUCTS)):  # one of them has it
            baselines.save_now(kept, sight, folder / name)

    book = AlarmBook(journal, metrics, folder / ALARMS, tell=tell, alert=alert, address=settings.line_address)
    return Episodes((watch, products), book, elsewhere, now, keep)


def _elsewhere(chores: ThreadPoolExecutor) -> Callable[[Callable[[], None]], None]:
    """Runs a function on the thread for chores; what breaks there is told, for nobody waits for it."""

    def tell(chore: Future[None]) -> None:
        if not chore.cancelled() and (error := chore.exception()) is not None:
            structlog.get_logger("line").error("optics_chore_broke", error=str(error), kind=type(error).__name__)

    return lambda work: chores.submit(work).add_done_callback(tell)


def _threads(server: LineServer, folder: Path) -> list[Repeating]:
    return [
        Repeating("follow", server.settings.watch_poll_s, lambda: _follow(server)),
        Repeating("load", server.settings.watch_poll_s, lambda: _load(server), wake=server.champions.pending),
        Repeating("drain", DRAIN_INTERVAL_S, lambda: _drain(server), slowest_s=DRAIN_PAUSE_MAX_S),
        Repeating("tidy", TIDY_INTERVAL_S, lambda: _tidy(server)),
        Repeating("expire", IDLE_S, lambda: _expire(server), wake=server.pipeline.open_parts.began),
        Repeating("own", BEAT_S, server.ownership.look),
        Repeating("take_over", BEAT_S, server.ownership.take),
        Repeating("drain_siblings", SIBLINGS_INTERVAL_S, server.siblings.look),
        Repeating(
            "ask_inspectors",
            ASK_POLLS * server.settings.watch_poll_s,
            lambda: _ask_inspectors(server),
            slowest_s=ASK_PAUSE_MAX_S,
        ),
        Repeating("save_optics", SAVE_INTERVAL_S, lambda: _save(server)),
    ]


def _follow(server: LineServer) -> bool:
    """Follow promotions, recipes, keys and challenges."""
    if not server.champions.is_following:
        ensure_schema(server.database)
    with server.database.read() as connection:
        # Keys come first: nothing may be ready before it is guarded.
        server.access.replace(keys.listing(connection))
        server.stations.follow(challenges.latest(connection))
        server.champions.follow(connection)
    server.metrics.ready.set(float(server.state() == "ready"))
    return False


def _load(server: LineServer) -> bool:
    """Load what was promoted, on a thread of its own: keys and recipes are followed meanwhile."""
    for swap in server.champions.load():
        _tell_swap(server, swap)
    server.metrics.models_loaded.set(len(server.champions.loaded))
    server.metrics.models_bytes.set(server.champions.loaded_bytes)
    server.metrics.ready.set(float(server.state() == "ready"))
    return False


def _tell_swap(server: LineServer, swap: Swap) -> None:
    detail: dict[str, object] = {"model": swap.model_id}
    if swap.reason is None:
        server.metrics.champion(swap.product, swap.model_id)
    else:
        detail["reason"] = swap.reason
    with suppress(JournalBroken):  # the swap has happened, on record or not; the log has it
        server.pipeline.event("model_refused" if swap.reason else "model_loaded", swap.product, detail)


def _drain(server: LineServer) -> bool:
    moved = drain_once(server.journal, server.database, server.images, lambda: time.sleep(DRAIN_BREATH_S))
    server.metrics.journal_waiting.set(server.journal.waiting_count)
    if moved or server.journal.waiting_count == 0:
        server.metrics.drained_at.set(server.clock().timestamp())
    return moved > 0 and server.journal.waiting_count >= BATCH


def _open_journal(folder: Path, reserve_bytes: int) -> Journal:
    give_up = time.monotonic() + LOCK_WAIT_S
    while True:
        try:
            return Journal(folder, reserve_bytes=reserve_bytes)
        except JournalLocked:
            if time.monotonic() > give_up:
                raise
        time.sleep(0.1)


def _drain_sibling(journal: Journal, database: Database, images: ContentStore, told: Told, until: float) -> None:
    """What a dead line server left: its parts that waited for views are decided, and all goes to the database."""
    recover(journal, told)
    while time.monotonic() < until and drain_once(journal, database, images):
        pass


def _release(server: LineServer) -> None:
    try:
        server.ownership.release()
    except Exception as error:  # noqa: BLE001 - the edge of the process: others take over all the same, only later
        structlog.get_logger("line").warning("stations_not_released", reason=str(error))


def _drain_rest(server: LineServer, limit_s: float) -> None:
    log, until = structlog.get_logger("line"), time.monotonic() + limit_s
    try:
        while time.monotonic() < until and drain_once(server.journal, server.database, server.images):
            pass
    except Exception as error:  # noqa: BLE001 - the edge of the process: whatever it is, the records are safe on disk
        log.warning("drain_postponed", waiting=server.journal.waiting_count, reason=str(error))


def _tidy(server: LineServer) -> bool:
    try:
        server.journal.tidy(server.clock(), timedelta(hours=server.settings.idempotency_window_h))
    finally:  # only tidying makes the room that a probe after a full disk needs
        # Here too: while the database is away draining waits for it, or fails, and does not come to telling.
        server.metrics.journal_waiting.set(server.journal.waiting_count)
        server.metrics.journal_on_reserve.set(float(server.journal.on_reserve))
        if server.journal.failure is not None:
            server.journal.probe()
        server.episodes.retry()
    return False


def _ask_inspectors(server: LineServer) -> bool:
    ask_inspectors(server.database, server.clock())
    return False


def _expire(server: LineServer) -> bool:
    """Look often while parts wait for their views, and not while none does: a thread that wakes costs the line."""
    server.pipeline.open_parts.began.clear()
    server.pipeline.expire_parts()
    if not server.pipeline.open_parts:
        return False
    time.sleep(EXPIRE_INTERVAL_S)
    return True


def _save(server: LineServer) -> bool:
    with ExitStack() as both:  # one that can't be written keeps the other from nothing
        both.callback(baselines.save, server.products, server.learnt_products)
        both.callback(baselines.save, server.watch, server.baselines)
    return False
