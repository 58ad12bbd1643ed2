"""Each alarm is one episode: recorded once with its pictures, told once, whatever comes in between."""

import hashlib
import json
import random
import secrets
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from monitoring import alarm as optics
from monitoring.diagnosis import Diagnosis
from monitoring.features import GRID
from monitoring.metrics import LineMetrics
from monitoring.registration import Motion
from monitoring.sights import Sight
from monitoring.watch import Observation, Watch
from service.line.alarm_book import GLITCH_IMAGES, PICTURES_LIMIT, AlarmBook
from service.line.alarm_json import diagnosis_of, heat_map_json
from service.line.alarm_memory import recall
from service.line.episodes import MISSED_IMAGES, PICTURES_WAITING, Episodes
from storage import alarms, happenings
from storage.alarms import Episode
from storage.database import Database, ensure_schema, open_database
from storage.drain import drain_once, encode
from storage.images import open_image_store
from storage.images.content import ContentStore
from storage.journal import Entry, Journal
from tests.service.line.breaking import no_large_files
from tests.storage import samples

AT = datetime(2026, 3, 1, 6, 30, tzinfo=UTC)
TOP, SIDE, ELSEWHERE = Sight("s1/top", "housing"), Sight("s1/side", "housing"), Sight("s2/top", "housing")
BEFORE = np.random.default_rng(0).integers(0, 255, (30, 40, 3)).astype(np.uint8)
AFTER = BEFORE // 2


def diagnosis(cause: str = "lamp_dim", images: int = 1, **more: Any) -> Diagnosis:
    return Diagnosis(cause, np.full((GRID, GRID), -0.25, np.float32), images, 3.5, **more)


def raised(at_image: int = 100, cause: str = "lamp_dim") -> optics.Alarm:
    return optics.Alarm(at_image - 2, at_image, "level.jump", 1.75, diagnosis(cause))


def observation(standing: optics.Alarm | None, ratio: float = 2.0, **more: Any) -> Observation:
    ratios = np.array([0.1, ratio])
    state = "ok" if standing is None else "alarm"
    return Observation(state, ("level.jump", "map.jump"), ratios, ratios, standing=standing, **more)  # type: ignore[arg-type]  # mypy widens the literals


@dataclass
class Bench:
    """Episodes with all that they write to, and what they told."""

    folder: Path
    database: Database
    images: ContentStore
    journal: Journal
    metrics: LineMetrics
    watch: Watch = field(default_factory=Watch)
    told: list[dict[str, Any]] = field(default_factory=list)
    alerted: list[dict[str, Any]] = field(default_factory=list)
    thread: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1))
    number: int = 0

    def __post_init__(self) -> None:
        self.episodes = self.opened()

    def opened(self) -> Episodes:
        def keep(messages: list[dict[str, Any]], station: str, body: bytes) -> None:
            messages.append(json.loads(body))
            assert messages[-1]["station"] == station

        book = AlarmBook(
            self.journal,
            self.metrics,
            self.folder / "alarms.json",
            tell=lambda *message: keep(self.told, *message),
            alert=lambda *message: keep(self.alerted, *message),
            address="http://line:8080",
        )
        return Episodes((self.watch,), book, self.thread.submit, lambda: AT + timedelta(days=1))

    def restart(self) -> None:
        self.episodes.close()
        self.episodes = self.opened()
        self.episodes.resume(recall(self.folder / "alarms.json"))

    def see(self, seen: Observation, sight: Sight = TOP) -> None:
        self.number += 1
        self.episodes.see(sight, seen, f"r{self.number}", AT + timedelta(seconds=self.number))

    def begin(self, alarm: optics.Alarm, sight: Sight = TOP) -> None:
        self.see(observation(alarm, alarm=alarm, before=BEFORE, after=AFTER), sight)

    def stand(self, alarm: optics.Alarm, count: int = 1, ratio: float = 2.0, sight: Sight = TOP) -> None:
        for _ in range(count):
            known = alarm.diagnosis
            alarm.diagnosis = replace(known, images=min(known.images + 1, optics.EVIDENCE_IMAGES))
            self.see(observation(alarm, ratio), sight)

    def clear(self, sight: Sight = TOP) -> None:
        self.see(observation(None, 0.2, cleared=True), sight)

    def recorded(self) -> list[Episode]:
        """All alarms, oldest first."""
        self.episodes.close()
        while drain_once(self.journal, self.database, self.images):
            pass
        with self.database.read() as connection:
            return sorted(alarms.latest(connection, 1000), key=lambda found: found.alarm.raised_at)

    def only(self) -> Episode:
        (found,) = self.recorded()
        return found


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    database = open_database(f"sqlite:///{tmp_path / 'loupe.db'}")
    ensure_schema(database)
    images = open_image_store(f"file://{tmp_path / 'images'}")
    journal = Journal(tmp_path / "journal", reserve_bytes=1 << 20)
    opened = Bench(tmp_path, database, images, journal, LineMetrics(CollectorRegistry()))
    yield opened
    opened.thread.shutdown()
    journal.close()
    database.close()


def states(messages: list[dict[str, Any]]) -> list[str]:
    return [message["state"] for message in messages]


def test_an_alarm_is_recorded_with_all_that_is_known_of_it(bench: Bench) -> None:
    alarm = raised()
    alarm.diagnosis = diagnosis("lamp_off", side="left", x=0.25, y=0.75, motion=Motion(1.0, -2.0, 0.5))
    bench.begin(alarm)
    found = bench.only().alarm
    assert (found.station, found.camera, found.product) == ("s1", "top", "housing")
    assert (found.chart, found.ratio, found.images_since_onset) == ("level.jump", 1.75, 2)
    assert (found.cause, found.side, found.x, found.y, found.size) == ("lamp_off", "left", 0.25, 0.75, 3.5)
    assert found.motion == {"right_px": 1.0, "down_px": -2.0, "turn_degrees": 0.5}
    assert (found.result_id, found.raised_at) == ("r1", AT + timedelta(seconds=1))
    assert np.array_equal(diagnosis_of(found).heat_map, alarm.heat_map)
    assert heat_map_json(found) == [[-0.25] * GRID] * GRID


def test_both_pictures_are_in_the_store_as_they_were_seen(bench: Bench) -> None:
    bench.begin(raised())
    alarm = bench.only().alarm
    for sha256, name, picture in ((alarm.before_sha256, "before", BEFORE), (alarm.after_sha256, "after", AFTER)):
        assert sha256 is not None
        data = bench.images.get(sha256)
        assert hashlib.sha256(data).hexdigest() == sha256
        decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        assert decoded is not None
        assert np.array_equal(decoded[..., ::-1], picture)
        assert bench.episodes.picture(alarm.id, name) == data


def test_the_cause_becomes_final_with_the_images_that_follow(bench: Bench) -> None:
    alarm = raised(cause="other")
    bench.begin(alarm)
    bench.stand(alarm, optics.EVIDENCE_IMAGES - 2)
    assert bench.only().state == "raised"
    alarm.diagnosis = replace(alarm.diagnosis, cause="haze")
    bench.stand(alarm)
    bench.stand(alarm, 5)
    found = bench.only()
    assert (found.state, found.alarm.cause, found.last.cause) == ("diagnosed", "other", "haze")
    assert found.changes["diagnosed"].result_id == "r12"
    assert bench.episodes.standing()[TOP].state == "diagnosed"


def test_a_motion_that_is_found_while_the_news_wait_is_in_them(bench: Bench) -> None:
    alarm, go_on = raised(cause="other"), threading.Event()
    bench.begin(alarm)
    bench.stand(alarm, optics.EVIDENCE_IMAGES - 2)

    def find_motion() -> None:
        go_on.wait(30)
        alarm.diagnosis = replace(alarm.diagnosis, cause="bump", motion=Motion(3.0, 0.0, 0.0))

    bench.thread.submit(find_motion)
    bench.stand(alarm)
    go_on.set()
    found = bench.only().changes["diagnosed"]
    assert (found.cause, found.motion) == ("bump", {"right_px": 3.0, "down_px": 0.0, "turn_degrees": 0.0})
    assert bench.told[-1]["advice"].startswith("The picture moved 3.0 px to the right: ")


def test_everybody_hears_of_an_alarm_that_lasts(bench: Bench) -> None:
    alarm = raised()
    bench.begin(alarm)
    bench.stand(alarm, 30)
    bench.stand(alarm, 19, ratio=0.1)
    bench.clear()
    found = bench.only()
    assert (found.state, found.changes["cleared"].reason, found.changes["cleared"].is_glitch) == (
        "cleared",
        "normal_again",
        False,
    )
    assert states(bench.told) == ["raised", "diagnosed", "cleared"]
    assert states(bench.alerted) == ["raised", "diagnosed", "cleared"]
    assert {message["alarm_id"] for message in bench.told} == {found.alarm.id}
    assert bench.episodes.standing() == {}


@pytest.mark.parametrize("abnormal", range(1, GLITCH_IMAGES + 1))
def test_a_glitch_is_recorded_and_told_but_alerts_nobody(bench: Bench, abnormal: int) -> None:
    alarm = raised()
    bench.begin(alarm)
    bench.stand(alarm, abnormal - 1)
    bench.stand(alarm, 3 * abnormal - 1, ratio=0.5)
    bench.clear()
    assert bench.only().changes["cleared"].is_glitch
    assert states(bench.told) == ["raised", "cleared"]
    assert bench.told[-1]["is_glitch"]
    assert bench.alerted == []


def test_with_the_fourth_abnormal_image_an_alarm_is_no_glitch(bench: Bench) -> None:
    alarm = raised()
    bench.begin(alarm)
    bench.stand(alarm, 2)
    bench.stand(alarm, 2, ratio=0.5)
    bench.recorded()
    assert bench.alerted == []
    bench.stand(alarm)
    bench.recorded()
    assert states(bench.alerted) == ["raised"]
    bench.clear()
    assert not bench.only().changes["cleared"].is_glitch
    assert states(bench.alerted) == ["raised", "cleared"]


def test_a_message_says_what_to_do_and_where_to_look(bench: Bench) -> None:
    bench.begin(raised())
    bench.recorded()
    (message,) = bench.told
    assert (message["cause"], message["title"], message["changed"]) == ("lamp_dim", "The light is weaker", "scene")
    assert message["advice"].startswith("The whole picture is about 22 % darker: ")
    assert (message["chart"], message["ratio"], message["images_since_onset"]) == ("level.jump", 1.75, 2)
    assert message["raised_at"] == "2026-03-01T06:30:01+00:00"
    link = f"http://line:8080/v1/optics/alarms/{message['alarm_id']}"
    assert message["images"] == {"before": f"{link}/before", "after": f"{link}/after"}


def test_a_message_names_all_that_stands_at_the_station(bench: Bench) -> None:
    alarms_of = {sight: raised(n) for n, sight in enumerate((TOP, SIDE, ELSEWHERE))}
    for sight, alarm in alarms_of.items():
        bench.begin(alarm, sight)
        bench.recorded()
    for sight in (TOP, SIDE):
        bench.clear(sight)
        bench.recorded()
    standing = [[one["camera"] for one in message["standing"]] for message in bench.told if message["station"] == "s1"]
    assert standing == [["top"], ["top", "side"], ["side"], []]
    assert bench.told[0]["standing"][0]["cause"] == "lamp_dim"


def test_products_of_one_camera_have_alarms_of_their_own(bench: Bench) -> None:
    lid = Sight("s1/top", "lid")
    bench.begin(raised(10))
    bench.begin(raised(20), lid)
    bench.clear(lid)
    assert [(found.alarm.product, found.state) for found in bench.recorded()] == [
        ("housing", "raised"),
        ("lid", "cleared"),
    ]
    assert bench.episodes.latest() == {"s1/top": lid}


def test_alarms_are_counted_once_by_their_final_cause(bench: Bench) -> None:
    registry = CollectorRegistry()
    bench.metrics = LineMetrics(registry)
    bench.episodes = bench.opened()

    def count(cause: str) -> float | None:
        return registry.get_sample_value("loupe_optics_alarms_total", {"camera": "s1/top", "cause": cause})

    alarm = raised(cause="other")
    bench.begin(alarm)
    alarm.diagnosis = diagnosis("haze")
    bench.stand(alarm, 5)
    bench.recorded()
    assert (count("other"), count("haze")) == (None, None)
    bench.stand(alarm, 20)
    bench.clear()
    bench.begin(raised(200, "flicker"))
    bench.clear()
    bench.recorded()
    assert (count("other"), count("haze"), count("flicker")) == (None, 1.0, 1.0)


def test_clearing_is_an_event_too(bench: Bench) -> None:
    bench.begin(raised())
    bench.clear()
    alarm_id = bench.only().alarm.id
    with bench.database.read() as connection:
        (event,) = happenings.latest_events(connection, 9, "optics_alarm_cleared")
    assert (event.subject, event.detail) == (
        "s1/top",
        {"result_id": "r2", "alarm": alarm_id, "reason": "normal_again"},
    )


def test_an_intended_change_ends_the_alarm(bench: Bench) -> None:
    alarm = raised()
    bench.begin(alarm)
    bench.stand(alarm, 5)
    bench.episodes.end(TOP, "intended_change")
    bench.episodes.end(SIDE, "intended_change")
    bench.stand(alarm, 3)
    change = bench.only().changes["cleared"]
    assert (change.reason, change.is_glitch, change.result_id) == ("intended_change", False, None)
    assert states(bench.told) == ["raised", "cleared"]
    assert bench.told[-1]["cleared_by"] == "intended_change"


def test_an_alarm_of_a_baseline_that_was_replaced_meanwhile_is_over(bench: Bench) -> None:
    bench.watch.observe(TOP, np.full((60, 80, 3), 90, np.uint8))
    alarm = raised()
    seen = observation(alarm, alarm=alarm, version=1)
    bench.watch.intended_change(TOP.camera)
    bench.episodes.end(TOP, "intended_change")
    bench.see(seen)
    assert bench.only().state == "cleared"
    assert bench.episodes.standing() == {}


def test_news_of_the_same_camera_may_overtake_each_other(bench: Bench) -> None:
    first, second = raised(100), raised(150)
    bench.stand(first, 2)
    bench.clear()
    bench.begin(first)
    bench.begin(second)
    bench.stand(second, 20)
    assert [episode.state for episode in bench.recorded()] == ["cleared", "diagnosed"]
    assert bench.episodes.standing()[TOP].state == "diagnosed"


def test_a_raise_that_is_told_twice_is_one_alarm(bench: Bench) -> None:
    bench.begin(raised())
    bench.begin(raised())
    assert bench.only().state == "raised"


def test_an_alarm_whose_raising_was_lost_is_recorded_all_the_same(bench: Bench) -> None:
    alarm = raised()
    bench.stand(alarm, MISSED_IMAGES - 1)
    assert bench.recorded() == []
    bench.stand(alarm, 2)
    bench.begin(alarm)
    found = bench.only()
    assert (found.state, found.alarm.before_sha256, found.alarm.result_id) == ("diagnosed", None, f"r{MISSED_IMAGES}")


def test_alarms_of_many_threads_are_each_recorded_and_ended_once(bench: Bench) -> None:
    """Whatever overtakes what within a camera."""
    sights = [Sight(f"s{n}/0", "housing") for n in range(8)]
    steps: list[list[Callable[[], None]]] = []
    for sight in sights:
        for at_image in range(100, 200, 10):
            alarm = raised(at_image)
            steps.append([lambda a=alarm, s=sight: bench.begin(a, s), lambda s=sight: bench.clear(s)])  # type: ignore[misc]  # mypy infers no lambda with defaults
    rng = random.Random(4)
    for pair in steps:
        rng.shuffle(pair)
    with ThreadPoolExecutor(8) as pool:
        for pair in steps:
            for step in pair:
                pool.submit(step)
    found = bench.recorded()
    assert len(found) == 80
    assert {episode.state for episode in found} == {"cleared"}
    assert bench.episodes.standing() == {}


def test_unwatched_cameras_are_not_remembered(bench: Bench) -> None:
    bench.see(Observation("unwatched"))
    assert bench.episodes.latest() == {}


def test_an_alarm_that_its_monitor_forgot_over_a_restart_is_ended(bench: Bench) -> None:
    alarm = raised()
    bench.begin(alarm)
    bench.stand(alarm, 20)
    bench.restart()
    bench.restart()
    found = bench.only()
    assert (found.state, found.changes["cleared"].reason) == ("cleared", "restart")
    assert (found.last.cause, states(bench.told)) == ("lamp_dim", ["raised", "diagnosed", "cleared"])
    assert states(bench.alerted) == ["raised", "diagnosed", "cleared"]


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b"\xff", b'[{"record": null}]'])
def test_a_memory_that_can_not_be_read_is_no_memory(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "alarms.json"
    path.write_bytes(content)
    assert recall(path) == ()
    assert recall(tmp_path / "nowhere.json") == ()


def test_a_folder_that_takes_no_file_costs_the_memory_alone(bench: Bench) -> None:
    (bench.folder / "alarms.part").mkdir()
    bench.begin(raised())
    assert bench.only().state == "raised"


def test_what_a_full_disk_did_not_take_is_written_once_there_is_room(bench: Bench) -> None:
    segments = bench.journal.folder / "segments"
    alarm = raised()
    bench.journal._segments.seal()
    segments.rename(bench.journal.folder / "away")
    segments.write_text("no folder any more")
    bench.begin(alarm)
    bench.clear()
    bench.episodes.close()
    assert states(bench.told) == ["raised", "cleared"], "people are told, on record or not"
    segments.unlink()
    (bench.journal.folder / "away").rename(segments)
    bench.episodes.retry()
    assert bench.only().state == "cleared"


def test_pictures_stay_away_from_the_reserve(bench: Bench) -> None:
    bench.journal.close()
    bench.journal = Journal(bench.folder / "large", reserve_bytes=64 << 20)
    bench.episodes = bench.opened()
    with no_large_files():
        while not bench.journal.on_reserve:
            fill = Entry(
                secrets.token_hex(8), "event", encode("event", samples.event()), AT, blobs={"0" * 64: bytes(3 << 20)}
            )
            bench.journal.append(fill)
            bench.journal.tidy(AT, timedelta(days=1))
        bench.begin(raised())
        bench.episodes.close()
    alarm = bench.only().alarm
    assert (alarm.cause, alarm.before_sha256, alarm.after_sha256) == ("lamp_dim", None, None)


def test_alarms_in_a_burst_are_all_recorded_and_hold_little_memory(bench: Bench) -> None:
    go_on = threading.Event()
    bench.thread.submit(go_on.wait, 30)
    count = PICTURES_WAITING + 20
    for n in range(count):
        bench.begin(raised(n), Sight(f"s{n}/0", "housing"))
    go_on.set()
    found = bench.recorded()
    assert len(found) == count
    assert sum(episode.alarm.after_sha256 is not None for episode in found) == PICTURES_WAITING
    with_picture = [bench.episodes.picture(episode.alarm.id, "after") is not None for episode in found]
    assert sum(with_picture) <= PICTURES_LIMIT


def test_one_record_that_fails_does_not_stop_the_next(bench: Bench) -> None:
    broken = raised()
    broken.diagnosis = replace(broken.diagnosis, size="x")  # type: ignore[arg-type]  # what nobody foresaw
    bench.begin(broken)
    bench.begin(raised(), SIDE)
    assert bench.only().alarm.camera == "side"
