"""`/inspections` and `/inspections/{result_id}`: every part that was judged, and why."""

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from nicegui import ui
from starlette.concurrency import run_in_threadpool

from service.console.fields import Sought
from service.console.frame import DISPOSITIONS, anchor, card, cell, facts, framed, hint, mark, row, said, table, tag
from service.console.preview import full_url, thumbnail_url
from service.console.words import age, moment, percent
from service.wiring import Stores, now
from storage import inspections
from storage.records import Inspection, View

SHOWN = 50
MOST = 500


@dataclass(frozen=True, slots=True)
class Found:
    """The list and the stations to choose from."""

    read_at: datetime
    stations: tuple[str, ...]
    latest: tuple[Inspection, ...]


@dataclass(frozen=True, slots=True)
class Filter:
    """What the list is narrowed to; empty: everything."""

    station: str = ""
    disposition: str = ""

    def address(self, **changes: str) -> str:
        """The list's address with some of it changed."""
        wanted = {"station": self.station, "disposition": self.disposition, **changes}
        query = urlencode({name: value for name, value in wanted.items() if value})
        return f"/inspections?{query}" if query else "/inspections"


def register(stores: Stores) -> None:
    """Make the pages known."""

    @ui.page("/inspections")
    async def list_page(station: Sought = "", disposition: Sought = "", n: int = SHOWN) -> None:
        chosen, count = Filter(station, disposition), max(1, min(n, MOST))
        found = await run_in_threadpool(read_list, stores, chosen, count, now())
        with framed("/inspections", "Inspections"):
            _filters(chosen, found)
            _list(chosen, found, count)

    @ui.page("/inspections/{result_id}")
    async def one_page(result_id: Sought) -> None:
        found, later = await run_in_threadpool(read_one, stores, result_id)
        with framed("/inspections", "Inspection"):
            if found is None:
                hint(f"There is no inspection {result_id}. A new one takes a second to arrive from the line server.")
                return
            _one(found, later, now())


def read_list(stores: Stores, chosen: Filter, count: int, at: datetime) -> Found:
    """The newest inspections that the filter lets through."""
    with stores.database.read() as connection:
        latest = inspections.latest(
            connection, count, station=chosen.station or None, disposition=chosen.disposition or None
        )
        return Found(at, tuple(inspections.last_seen(connection)), tuple(latest))


def read_one(stores: Stores, result_id: str) -> tuple[Inspection | None, str | None]:
    """An inspection, and the id of the record that took its place."""
    with stores.database.read() as connection:
        return inspections.find(connection, result_id), inspections.superseding(connection, result_id)


def _filters(chosen: Filter, found: Found) -> None:
    with tag("div", "filters"):
        with tag("div", "choices").props('role="group" aria-label="Station"'):
            _choice("all stations", chosen.address(station=""), not chosen.station)
            for station in found.stations:
                _choice(station, chosen.address(station=station), chosen.station == station)
        with tag("div", "choices").props('role="group" aria-label="Disposition"'):
            _choice("all", chosen.address(disposition=""), not chosen.disposition)
            for name in DISPOSITIONS:
                _choice(name, chosen.address(disposition=name), chosen.disposition == name, name)


def _choice(text: str, address: str, on: bool, disposition: str = "") -> None:
    with anchor(address, "choice on" if on else "choice") as link:
        if on:
            link.props('aria-current="true"')
        if disposition:
            mark(disposition)
        tag("span", text=text)


def _list(chosen: Filter, found: Found, count: int) -> None:
    if not found.latest:
        if chosen == Filter():
            hint("No inspections yet: start the line server and send it images.", "loupe serve")
        else:
            hint("No inspection fits this choice: choose another station or disposition.")
        return
    with tag("section", "card"), table(("", "Verdict", "Station", "Product", "Class", "p(defect)", "Reasons", "When")):
        for inspection in found.latest:
            _row(inspection, found.read_at)
    if len(found.latest) == count < MOST:
        more = chosen.address(n=str(min(MOST, 2 * count)))
        anchor(more, "more", "Show older ones too")


def _row(inspection: Inspection, at: datetime) -> None:
    address = f"/inspections/{inspection.result_id}"
    view = inspection.views[0] if inspection.views else None
    with row():
        with cell(classes="thumb"), anchor(address):
            _picture(view, thumbnail=True)
        with cell(), anchor(address):
            said(inspection.disposition)
        cell(inspection.station)
        cell(inspection.product)
        cell((view and view.class_name) or "–")
        cell(f"{view.p_defect:.3f}" if view and view.p_defect is not None else "–", "number")
        cell("; ".join(inspection.reasons) or "–", "reasons")
        cell(age(inspection.received_at, at)).tooltip(moment(inspection.received_at))


def _picture(view: View | None, *, thumbnail: bool) -> None:
    if view is None or not view.image_kept:
        tag("span", "nopicture", "not kept")
        return
    source = thumbnail_url(view.image_sha256) if thumbnail else full_url(view.image_sha256, view.media_type)
    image = tag("img").props('loading="lazy"')
    image.props["src"] = source
    image.props["alt"] = f"image of view {view.view_id}"


def _one(inspection: Inspection, later: str | None, at: datetime) -> None:
    answer: dict[str, Any] = json.loads(inspection.answer)
    _verdict(inspection, later, at)
    with tag("div", "sides"):
        with tag("div", "left"):
            for view in inspection.views:
                with card(f"View {view.view_id}, camera {view.camera}", "picture"):
                    _picture(view, thumbnail=False)
        with tag("div", "right"):
            with card("Reasons"):
                for reason in inspection.reasons:
                    tag("p", text=reason)
                if not inspection.reasons:
                    tag("p", "quiet", "Nothing spoke against the part.")
            for view in answer.get("views", ()):
                with card(f"Scores of view {view['view_id']}"):
                    _scores(view)
            with card("Provenance"):
                _provenance(inspection, answer.get("provenance", {}))


def _verdict(inspection: Inspection, later: str | None, at: datetime) -> None:
    with tag("p", f"verdictline {inspection.disposition}"):
        mark(inspection.disposition)
        tag("strong", text=inspection.disposition)
        tag("span", text=f"{inspection.evaluation.replace('_', ' ')}, result code {inspection.result_code}")
        tag("span", "quiet", f"{moment(inspection.received_at)}, {age(inspection.received_at, at)}")
    if later is not None:
        with tag("p", "fresh stale"):
            tag("span", text="Another record took the place of this one: ")
            anchor(f"/inspections/{later}", "", later)
    if inspection.supersedes is not None:
        with tag("p", "fresh"):
            tag("span", text="Takes the place of ")
            anchor(f"/inspections/{inspection.supersedes}", "", inspection.supersedes)


def _scores(view: dict[str, Any]) -> None:
    if view.get("p_defect") is None:
        hint("There is no score: the image could not be judged, or not in time.")
    else:
        thresholds = view["thresholds"]
        _bar("p(defect)", view["p_defect"], (thresholds["pass"], thresholds["reject"]))
        told = f"passes below {thresholds['pass']:.3f}, rejected from {thresholds['reject']:.3f}"
        tag("p", "quiet", told)
        for name, share in sorted((view.get("class_probability") or {}).items(), key=lambda pair: -pair[1]):
            _bar(name, share)
        if view.get("novelty") is not None:
            tag("p", text=f"Novelty {view['novelty']:.2f} (1.00 is the limit of familiar parts)")
    optics = view.get("optics") or {}
    tag("p", text=f"Light and optics: {str(optics.get('state', 'unknown')).replace('_', ' ')}")
    for name, ratio in sorted((optics.get("signals") or {}).items(), key=lambda pair: -pair[1])[:6]:
        tag("p", "quiet", f"{name.replace('_', ' ')}: {ratio:.2f} × limit")


def _bar(name: str, share: float, limits: tuple[float, ...] = ()) -> None:
    with tag("div", "bar"):
        tag("span", "name", name)
        with tag("span", "track"):
            tag("span", "fill").style(f"width: {100 * min(1.0, max(0.0, share)):.2f}%")
            for limit in limits:
                tag("span", "limit").style(f"left: {100 * min(1.0, max(0.0, limit)):.2f}%")
        tag("span", "number", percent(share))


def _provenance(inspection: Inspection, provenance: dict[str, Any]) -> None:
    known = [
        ("result", inspection.result_id),
        ("station", inspection.station),
        ("product", inspection.product),
        ("part", inspection.part_id or "–"),
        ("lot", inspection.lot or "–"),
        ("trigger", inspection.trigger_id),
        ("mode", inspection.mode),
        ("deadline", "met" if inspection.deadline_met else "missed"),
        ("recipe", f"{provenance.get('recipe', '–')}, version {inspection.recipe_version}"),
        ("model", inspection.model_id or "–"),
        ("runs on", str(provenance.get("execution_provider", "–"))),
        ("drift state", inspection.drift_state.replace("_", " ")),
        ("kept with probability", f"{inspection.keep_probability:g}"),
    ]
    facts(known)
