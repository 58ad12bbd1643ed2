"""`/`: what the line does now, and how old that knowledge is."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import urlencode

from nicegui import ui
from starlette.concurrency import run_in_threadpool

from service.console.alarm_panel import Alarms, read_alarms, show_alarms, station_mark
from service.console.frame import DISPOSITIONS, anchor, card, cell, framed, hint, mark, row, said, table, tag, trouble
from service.console.words import STALE_AFTER, age, moment
from service.wiring import Stores, now
from storage import happenings, inspections, models
from storage.database import Database, DatabaseUnavailable
from storage.records import Event, Inspection, Promotion

REFRESH_S = 5.0
WINDOW = timedelta(hours=24)
COUNT_EVERY = timedelta(seconds=15)
STRIP = 60
LATEST = 6
DECIDED = {"promote": "promoted", "rollback": "rolled back to"}


@dataclass(frozen=True, slots=True)
class LineState:
    """What the page shows, read at one moment."""

    read_at: datetime
    counts: dict[str, dict[str, int]]
    last_seen: dict[str, datetime]
    strip: tuple[Inspection, ...]
    """Oldest first."""
    alarms: Alarms
    events: tuple[Event, ...]
    champions: dict[str, Promotion]


class DayCounts:
    """The counts of the window, shared by all visitors: over a fast line's day they cost most of a second."""

    def __init__(self) -> None:
        self._counted_at: datetime | None = None
        self._counts: dict[str, dict[str, int]] = {}

    def read(self, database: Database, at: datetime) -> dict[str, dict[str, int]]:
        """Inspections by station and disposition, at most COUNT_EVERY old."""
        if self._counted_at is None or at - self._counted_at >= COUNT_EVERY:
            with database.read() as connection:
                self._counts = inspections.counts(connection, at - WINDOW)
            self._counted_at = at
        return self._counts


def register(stores: Stores) -> None:
    """Make the page known."""
    day_counts = DayCounts()

    @ui.page("/")
    async def line_page() -> None:
        # Made anew for each visitor: a refreshable that all shared would redraw every open page at each one's tick.
        @ui.refreshable
        async def content() -> None:
            try:
                _show(await run_in_threadpool(read_line, stores, day_counts, now()))
            except DatabaseUnavailable as error:  # the page stays open and recovers with the next tick
                trouble(error)

        with framed("/", "Line"):
            await content()
        ui.timer(REFRESH_S, content.refresh, immediate=False)


def read_line(stores: Stores, day_counts: DayCounts, at: datetime) -> LineState:
    """Read the page's content."""
    counts = day_counts.read(stores.database, at)
    with stores.database.read() as connection:
        latest = inspections.latest(connection, STRIP)
        replaced = {inspection.supersedes for inspection in latest}
        return LineState(
            read_at=at,
            counts=counts,
            last_seen=inspections.last_seen(connection),
            strip=tuple(i for i in reversed(latest) if i.result_id not in replaced),
            alarms=read_alarms(connection),
            events=tuple(happenings.latest_events(connection, LATEST)),
            champions=models.champions(connection),
        )


def _show(state: LineState) -> None:
    _freshness(state)
    with card("Last verdicts"):
        _strip(state)
    with card("Stations, last 24 hours"):
        _stations(state)
    with card("Alarms", "alarms"):
        show_alarms(state.alarms, state.read_at)
    with tag("div", "columns"):
        with card("Events"):
            _events(state)
        with card("Champions"):
            _champions(state)


def _freshness(state: LineState) -> None:
    if not state.strip:
        return
    newest = state.strip[-1].received_at
    stale = state.read_at - newest >= STALE_AFTER
    with tag("p", "fresh stale" if stale else "fresh"):
        tag("strong", text=f"Newest record: {age(newest, state.read_at)}")
        tag("span", text="Nothing newer has arrived: what follows is old." if stale else moment(newest))


def _strip(state: LineState) -> None:
    if not state.strip:
        hint("No inspections yet: start the line server and send it images.", "loupe serve")
        return
    with tag("div", "strip"):
        for inspection in state.strip:
            classes = "verdict" if inspection.mode == "production" else "verdict other"
            said_so = f"{inspection.disposition}, {inspection.station}, {moment(inspection.received_at)}"
            if inspection.mode != "production":
                said_so += f", {inspection.mode}"
            with anchor(f"/inspections/{inspection.result_id}", classes) as link:
                link.props["title"] = said_so
                mark(inspection.disposition)
    with tag("div", "legend"):
        for disposition in DISPOSITIONS:
            said(disposition)
        tag("span", "quiet", "oldest left, newest right")


def _stations(state: LineState) -> None:
    if not state.last_seen:
        hint("A station appears here with its first part.")
        return
    standing = state.alarms.by_station()
    with table(("Station", "Alarms", *DISPOSITIONS, "Total", "Last part")):
        for station, seen in state.last_seen.items():
            found = state.counts.get(station, {})
            with row():
                with cell(classes="station"):
                    anchor(f"/inspections?{urlencode({'station': station})}", "", station)
                with cell(classes="alarms"):
                    station_mark(station, standing.get(station, []))
                for disposition in DISPOSITIONS:
                    with cell(classes="number"):
                        mark(disposition)
                        tag("span", text=f"{found.get(disposition, 0):,}")
                cell(f"{sum(found.values()):,}", "number")
                cell(age(seen, state.read_at), "number late" if state.read_at - seen >= STALE_AFTER else "number")


def _events(state: LineState) -> None:
    if not state.events:
        hint("No events yet.")
    for event in state.events:
        with tag("div", "happening"):
            tag("strong", text=f"{event.kind.replace('_', ' ')}: {event.subject}")
            tag("span", "quiet", age(event.happened_at, state.read_at))


def _champions(state: LineState) -> None:
    if not state.champions:
        hint("No model decides yet: train one, then promote it.", "loupe promote")
    for product, promotion in state.champions.items():
        with tag("div", "happening"):
            with tag("strong"):
                tag("span", text=f"{product}: ")
                anchor(f"/models#{promotion.model_id}", "", promotion.model_id)
            told = f"{DECIDED[promotion.kind]} by {promotion.promoted_by}, {age(promotion.promoted_at, state.read_at)}"
            tag("span", "quiet", told)
