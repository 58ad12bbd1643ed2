"""`loupe demo`: the whole loop once, with real processes, on rendered parts."""

import csv
import secrets
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from labeling.formats import FORMATS
from labeling.importing import import_listing
from labeling.queue import next_requests
from labeling.settle import Settlement, settle
from labeling.submitting import Judgement, submit
from models.promotion import promote
from service.commands.data import probe
from service.commands.line import stop
from service.learning import learn
from service.recipe_rules import default_recipe
from service.settings import Settings, environment_of, load_settings
from service.terminal import emit, note, progress, say, table
from service.wiring import Stores, now, open_stores
from simulation.dataset import write_dataset
from simulation.inspectors import Inspector, standard_team
from simulation.line import LineReport, LineSimulator, SentPart, present, summarise
from simulation.parts import OK, Light, PartRenderer, draw_schedule
from storage import happenings, inspections
from storage import models as model_store
from storage.records import Model

PRODUCT, STATION, CAMERA = "housing", "s1", "top"
MARKER = ".loupe-demo"

LABELLED_PARTS = 240
LABELLED_DEFECT_RATE = 0.4
LABELLED_TAKT_S = 150.0
"""Ten hours for the labelled parts, so that the inspector who tires in the afternoon gets there."""
COMMISSION = 150
NORMAL_PARTS, DIMMED_PARTS, RESTORED_PARTS = 190, 30, 40
DIMMED = Light(level=0.85)
CHECK_PARTS = 240
LINE_DEFECT_RATE = 0.25
LOT_PARTS = 1000
"""One lot of material a shift."""
ARCHITECTURE, SIDE_PX = "efficientnet_lite2", 256
"""Better than the default on these small defects, for twice the time."""
TAKT_MS = 50.0
ASKED_AGAIN = 80
LINE_LABELS = 220
START_WAIT_S, SWAP_WAIT_S = 60.0, 30.0


class DemoBroken(RuntimeError):
    """A step of the demo did not come about."""

    def __init__(self, what: str, log: Path) -> None:
        super().__init__(what)
        self.remedy = f"look at {log}"


class NotADemo(ValueError):
    """The folder that the demo wants for itself holds something else."""

    def __init__(self, folder: Path) -> None:
        super().__init__(f"{folder} exists and was not made by the demo")
        self.remedy = "move it away, or set LOUPE_DATA_DIR"


@dataclass(frozen=True, slots=True)
class Round:
    """One model's time on the line: what it was trained on, and how it did on parts that nobody has labelled."""

    model: Model
    labels: int
    wrong_labels: float
    """Share of the settled labels that are wrong."""
    check: LineReport


@dataclass(frozen=True, slots=True)
class LampStory:
    """What happened around the dimmed lamp."""

    delay: int | None
    """Images from dimming to alarm; None: no alarm."""
    cause: str | None
    cleared: bool
    passed_under_alarm: int
    false_alarms: int


def run_demo(base: Settings, *, seed: int, once: bool, json: bool) -> None:
    """Play the loop; ends with a table of what happened, then serves on unless `once`."""
    began = time.monotonic()
    folder = _fresh_folder(base.data_dir.absolute() / "demo")
    settings = load_settings(
        data_dir=folder,
        database_url=f"sqlite:///{folder / 'loupe.db'}",
        image_store_url=f"file://{folder / 'images'}",
        port=free_port(),
        console_port=free_port(),
        host="127.0.0.1",
        console_host="127.0.0.1",
        commission_images=COMMISSION,
        watch_poll_s=0.5,
    )
    rng = np.random.default_rng(seed)
    renderer = PartRenderer(seed)
    with open_stores(settings) as stores:
        truth = _label_parts(stores, folder, rng, renderer)
        first = _learn(stores, truth, folder)
        with _line_server(settings, folder) as url:
            _wait_for_champion(url, first.model.id, START_WAIT_S, folder)
            sent = _play_line(url, rng, renderer)
            lamp = _lamp_story(stores, sent)
            _say_lamp(lamp)
            check_seed = int(rng.integers(2**32))
            first_check = _check(url, renderer, check_seed, "before")
            _relabel(stores, rng, truth, sent)
            second = _learn(stores, truth, folder)
            if second.promoted:
                _wait_for_champion(url, second.model.id, SWAP_WAIT_S, folder)
            second_check = _check(url, renderer, check_seed, "after")
            rounds = (
                Round(first.model, first.settlement.run.label_count, first.wrong, first_check),
                Round(second.model, second.settlement.run.label_count, second.wrong, second_check),
            )
            _summary(rounds, lamp, second.promoted, time.monotonic() - began, json)
            if not once:
                _serve_on(settings, url, folder)


@dataclass(frozen=True, slots=True)
class _Learned:
    model: Model
    settlement: Settlement
    wrong: float
    promoted: bool


def _fresh_folder(folder: Path) -> Path:
    """An empty folder; one that an earlier demo left is removed, nothing else ever."""
    if folder.exists():
        if any(folder.iterdir()) and not (folder / MARKER).exists():
            raise NotADemo(folder)
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    (folder / MARKER).touch()
    return folder


def free_port() -> int:
    """A port of this machine that nobody listens on now."""
    with socket.socket() as probe_socket:
        probe_socket.bind(("127.0.0.1", 0))
        return int(probe_socket.getsockname()[1])


def _label_parts(stores: Stores, folder: Path, rng: np.random.Generator, renderer: PartRenderer) -> dict[str, str]:
    """Three inspectors label rendered parts; returns the truth by image hash, which no plant has."""
    note(f"1/8  rendering {LABELLED_PARTS} parts; three inspectors label them, one of them tires in the afternoon")
    start = now().replace(hour=6, minute=0, second=0, microsecond=0) - timedelta(days=1)
    labels = write_dataset(
        folder / "parts",
        rng,
        LABELLED_PARTS,
        LABELLED_DEFECT_RATE,
        standard_team(),
        start,
        LABELLED_TAKT_S,
        renderer=renderer,
        repeat_rate=0.1,
    )
    listing = FORMATS["labels_csv"](labels, {})
    with progress("importing") as report:
        import_listing(listing, PRODUCT, [OK], stores.database, stores.images, probe, now(), report)
    with (folder / "parts" / "truth.csv").open(newline="") as file:
        by_name = {row["path"]: row["truth"] for row in csv.DictReader(file)}
    return {_sha256(image.path): by_name[image.name] for image in listing.images}


def _sha256(path: Path) -> str:
    import hashlib

    return hashlib.sha256(path.read_bytes()).hexdigest()


def _learn(stores: Stores, truth: dict[str, str], folder: Path) -> _Learned:
    """Settle, snapshot, train, gate, and promote what passed."""
    from models.training import TrainingSettings

    is_first = not _has_champion(stores)
    step, again = ("2/8", "on the settled labels") if is_first else ("7/8", "again, with the new labels")
    note(f"{step}  settling the labels and training {again}")
    with progress("training") as report:
        learned = learn(stores, PRODUCT, TrainingSettings(architecture=ARCHITECTURE, sides_px=(SIDE_PX,)), report)
    settlement, model = learned.settlement, learned.candidate.model
    wrong = np.mean(
        [
            settlement.classes[label] != truth[image]
            for image, label in zip(settlement.images, settlement.consensus.label, strict=True)
        ]
    )
    failed = [str(gate["reason"]) for gate in learned.candidate.failed_gates]
    if failed and is_first:
        raise DemoBroken(f"the first model failed its gates: {'; '.join(failed)}", folder)
    if failed:
        note(f"     model {model.id} was not promoted: {'; '.join(failed)}")
        return _Learned(model, settlement, float(wrong), promoted=False)
    with stores.database.write() as connection:
        promote(connection, model, "demo", "passed its gates", now())
        if is_first:
            recipe = default_recipe(PRODUCT, "demo", now())
            model_store.add_recipe(connection, replace(recipe, operating_point="balanced", keep_ok_share=1.0))
    note(f"     model {model.id} passed its gates and was promoted")
    return _Learned(model, settlement, float(wrong), promoted=True)


def _has_champion(stores: Stores) -> bool:
    with stores.database.read() as connection:
        return PRODUCT in model_store.champions(connection)


@contextmanager
def _line_server(settings: Settings, folder: Path) -> Iterator[str]:
    """A real `loupe serve` in its own process; its log goes to a file."""
    note("3/8  starting the line server")
    with (folder / "serve.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "service.cli", "serve"], env=environment_of(settings), stdout=log, stderr=log
        )
        try:
            yield f"http://127.0.0.1:{settings.port}"
        finally:
            stop([process])


def _wait_for_champion(url: str, model_id: str, wait_s: float, folder: Path) -> None:
    give_up = time.monotonic() + wait_s
    while time.monotonic() < give_up:
        try:
            state = httpx.get(f"{url}/v1/stations/{STATION}/state", timeout=2.0, trust_env=False).json()
            if state["products"].get(PRODUCT, {}).get("model") == model_id:
                return
        except (httpx.TransportError, ValueError):
            pass
        time.sleep(0.1)
    raise DemoBroken(f"the line server did not take model {model_id} within {wait_s:.0f} s", folder / "serve.log")


def _play_line(url: str, rng: np.random.Generator, renderer: PartRenderer) -> list[SentPart]:
    """Parts at takt: normal light, a dimmed lamp, the lamp put right again."""
    total = NORMAL_PARTS + DIMMED_PARTS + RESTORED_PARTS
    note(f"4/8  sending {total} parts, one every {TAKT_MS:.0f} ms; the lamp is dimmed from part {NORMAL_PARTS} on")
    dimmed = range(NORMAL_PARTS, NORMAL_PARTS + DIMMED_PARTS)
    schedule = draw_schedule(rng, total, LINE_DEFECT_RATE, lot_size=LOT_PARTS)
    shots = present(renderer, schedule, "shift", lambda n: DIMMED if n in dimmed else Light())
    return _send(url, STATION, shots, total)


def _send(url: str, station: str, shots: Iterable[Any], total: int) -> list[SentPart]:
    simulator = LineSimulator(url, station, PRODUCT, CAMERA, TAKT_MS)
    with progress("sending") as report:
        done: list[SentPart] = []

        def count(part: SentPart) -> None:
            done.append(part)
            report(len(done), total)

        return simulator.run(shots, count)


def _lamp_story(stores: Stores, sent: Sequence[SentPart]) -> LampStory:
    """What the database says about the alarm, in numbers of images."""
    place = {part.result_id: n for n, part in enumerate(sent) if part.result_id}
    with stores.database.read() as connection:
        alarms = [a for a in happenings.latest_alarms(connection, 100) if a.result_id in place]
        cleared = happenings.latest_events(connection, 100, "optics_alarm_cleared")
    after = sorted((place[a.result_id], a.cause) for a in alarms if place[a.result_id] >= NORMAL_PARTS)
    under_alarm = [p for p in sent if p.drift_state == "alarm"]
    return LampStory(
        delay=after[0][0] - NORMAL_PARTS + 1 if after else None,
        cause=after[0][1] if after else None,
        cleared=bool(cleared),
        passed_under_alarm=sum(p.disposition == "pass" for p in under_alarm),
        false_alarms=sum(place[a.result_id] < NORMAL_PARTS for a in alarms),
    )


def _say_lamp(lamp: LampStory) -> None:
    if lamp.delay is None:
        note("     no alarm was raised")
    else:
        note(f"     alarm '{lamp.cause}' at image {lamp.delay} after dimming; nothing passes until it has cleared")


def _check(url: str, renderer: PartRenderer, seed: int, name: str) -> LineReport:
    """Parts that nobody labels, the same before and after, at a station of their own."""
    note(f"{'5/8' if name == 'before' else '8/8'}  {CHECK_PARTS} parts that no model has seen, {name} relabelling")
    schedule = draw_schedule(np.random.default_rng(seed), CHECK_PARTS, LINE_DEFECT_RATE, lot_size=LOT_PARTS)
    shots = present(renderer, schedule, f"check-{name}", lambda n: Light())
    return summarise(_send(url, f"check-{name}", shots, CHECK_PARTS))


def _relabel(stores: Stores, rng: np.random.Generator, truth: dict[str, str], sent: Sequence[SentPart]) -> None:
    """Ask again where the labels are least certain, and label parts from the line."""
    team = {inspector.name: inspector for inspector in standard_team()}
    morning = now().replace(hour=8, minute=0, second=0, microsecond=0)
    sizes = {part.result_id: part for part in sent if part.result_id}
    with stores.database.write() as connection:
        settlement = settle(connection, PRODUCT, now())
        asked = next_requests(settlement.votes, settlement.consensus, ASKED_AGAIN, now_s=morning.timestamp())
        note(f"6/8  asking again about {len(asked)} uncertain parts, labelling {LINE_LABELS} parts from the line")
        for item, who in asked:
            image = settlement.images[item]
            _judge(connection, rng, team[settlement.inspectors[who]], image, truth[image], None, morning)
        kept = [
            (i.views[0].image_sha256, sizes[i.result_id])
            for i in inspections.latest(connection, 10_000, station=STATION)
            if i.result_id in sizes and i.views and i.views[0].image_kept and i.drift_state != "alarm"
        ]
        for image, part in kept[:LINE_LABELS]:
            truth[image] = part.truth
            for inspector in team.values():
                _judge(connection, rng, inspector, image, part.truth, part.size, morning)


def _judge(
    connection: Any,
    rng: np.random.Generator,
    inspector: Inspector,
    image: str,
    truth: str,
    size: float | None,
    at: datetime,
) -> None:
    """One simulated judgement, stored as the console would store it."""
    # A second look is a careful one: the part lies under the lens, so its size hardly hides it.
    said = inspector.judge(rng, truth, 0.6 if size is None else size, at)
    submit(
        connection,
        Judgement(
            id=f"demo-{secrets.token_hex(8)}",
            product=PRODUCT,
            image_sha256=image,
            inspector=inspector.name,
            class_name=said.label,
            unsure=said.unsure,
            seconds=said.seconds,
            judged_at=at,
        ),
        "demo",
        now(),
    )


def _summary(rounds: tuple[Round, Round], lamp: LampStory, swapped: bool, seconds: float, json: bool) -> None:
    if json:
        emit(
            {
                "seconds": round(seconds, 1),
                "promoted_second": swapped,
                "rounds": [_round_json(r) for r in rounds],
                "alarm": {
                    "delay_images": lamp.delay,
                    "cause": lamp.cause,
                    "cleared": lamp.cleared,
                    "passed_under_alarm": lamp.passed_under_alarm,
                    "false_alarms_before": lamp.false_alarms,
                },
            }
        )
        return
    before, after = rounds
    rows = [
        ("model", before.model.id, after.model.id if swapped else f"{after.model.id} (refused)"),
        ("labels settled", str(before.labels), str(after.labels)),
        ("settled labels that are wrong", f"{before.wrong_labels:.1%}", f"{after.wrong_labels:.1%}"),
        ("escapes (defects passed)", *(f"{r.check.escapes} of {r.check.defective}" for r in rounds)),
        ("overkill (good parts rejected)", *(f"{r.check.overkill} of {r.check.good}" for r in rounds)),
        ("parts sent to recheck", *(f"{r.check.rechecks} of {r.check.parts}" for r in rounds)),
        ("latency p50 / p99", *(f"{r.check.p50_ms:.1f} / {r.check.p99_ms:.1f} ms" for r in rounds)),
        ("answers lost", *(str(r.check.lost) for r in rounds)),
    ]
    table(
        f"what happened, on {before.check.parts} parts that nobody labelled",
        ["", "first model", "after relabelling"],
        rows,
    )
    delay = f"{lamp.delay} images, cause '{lamp.cause}'" if lamp.delay is not None else "not noticed"
    say(f"lamp dimmed to {DIMMED.level:.0%}: alarm after {delay}; {lamp.false_alarms} false alarms before")
    cleared = "cleared by itself when the lamp was put right" if lamp.cleared else "did not clear by itself"
    say(f"parts passed while the alarm stood: {lamp.passed_under_alarm}; it {cleared}")
    say(f"the whole loop took {seconds:.0f} s")


def _round_json(one: Round) -> dict[str, Any]:
    return {
        "model": one.model.id,
        "labels": one.labels,
        "wrong_labels": one.wrong_labels,
        "check": {name: getattr(one.check, name) for name in LineReport.__dataclass_fields__},
    }


def _serve_on(settings: Settings, url: str, folder: Path) -> None:
    """Keep the line server and start the console, until Ctrl-C."""
    with (folder / "console.log").open("wb") as log:
        console = subprocess.Popen(
            [sys.executable, "-m", "service.cli", "console"], env=environment_of(settings), stdout=log, stderr=log
        )
        say(f"line server  {url}/docs")
        say(f"console      http://127.0.0.1:{settings.console_port}")
        say("Ctrl-C ends the demo")
        try:
            while console.poll() is None:
                time.sleep(0.5)
            raise DemoBroken("the console ended", folder / "console.log")
        except KeyboardInterrupt:
            note("stopping")
        finally:
            stop([console])
