"""Whatever dies: every answered inspection reaches the database once, with its images."""

import hashlib
import json
import signal
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np

from storage import inspections
from tests.e2e.processes import LineProcess, Shift, line_process, opened, part, post_part
from tests.service.line.stocked import add_champion, change_recipe, wait_until

PARTS = 200
STOP_WITHIN_S = 10.0


def assert_everything_is_recorded_once(line: LineProcess, shift: Shift, parts: int) -> None:
    with opened(line) as stores:
        with stores.database.read() as connection:
            found = inspections.latest(connection, 10 * parts)
        assert Counter(i.trigger_id for i in found) == {str(n): 1 for n in range(parts)}
        by_id = {i.result_id: i for i in found}
        for n, body in shift.bodies.items():
            record = by_id.pop(json.loads(body)["result_id"])
            assert record.answer.encode() == body
            assert record.disposition == ("pass" if n % 3 else "reject")
            (view,) = record.views
            assert view.image_sha256 == hashlib.sha256(part(n)).hexdigest()
            assert stores.images.get(view.image_sha256) == part(n)
        assert by_id == {}


def stop_and_check_the_rest(line: LineProcess) -> None:
    began = time.monotonic()
    assert line.stop() == 0, (line.folder / "serve.log").read_text()
    assert time.monotonic() - began < STOP_WITHIN_S
    assert "Traceback" not in (line.folder / "serve.log").read_text()


def test_kill_under_load_loses_nothing_and_doubles_nothing(tmp_path: Path, database_url: str) -> None:
    rng = np.random.default_rng(1)
    with line_process(tmp_path, database_url) as line:
        with opened(line) as stores:
            add_champion(stores, tmp_path)
            change_recipe(stores, keep_ok_share=1.0)
        line.start()
        shift = Shift(line)
        shift.post(list(range(PARTS)), kill_after=int(rng.integers(40, 160)), rng=rng)
        answered = dict(shift.bodies)
        assert 0 < len(answered) < PARTS
        line.start()
        with httpx.Client(timeout=20) as client:
            for n in sorted(answered)[::10]:
                assert post_part(client, line, n).content == answered[n]
        shift.post(list(range(PARTS)))
        assert len(shift.bodies) == PARTS
        stop_and_check_the_rest(line)
        assert_everything_is_recorded_once(line, shift, PARTS)


def test_stop_under_load_answers_drains_and_exits_cleanly(tmp_path: Path, database_url: str) -> None:
    with line_process(tmp_path, database_url) as line:
        with opened(line) as stores:
            add_champion(stores, tmp_path)
            change_recipe(stores, keep_ok_share=1.0)
        line.start()
        shift = Shift(line)
        shift.post(list(range(60)))
        stop_and_check_the_rest(line)
        assert_everything_is_recorded_once(line, shift, 60)


def test_stop_while_parts_come_loses_no_answer(tmp_path: Path) -> None:
    with line_process(tmp_path) as line:
        with opened(line) as stores:
            add_champion(stores, tmp_path)
        line.start()
        shift = Shift(line)
        # SIGTERM in the middle: what is in work is answered, what comes later finds nobody.
        process = line.process
        assert process is not None
        with ThreadPoolExecutor(1) as pool:
            posted = pool.submit(shift.post, list(range(400)))
            wait_until(lambda: len(shift.bodies) > 20)
            process.send_signal(signal.SIGTERM)
            posted.result()
        assert process.wait(STOP_WITHIN_S) == 0
        assert 0 < len(shift.bodies) < 400
        with opened(line) as stores, stores.database.read() as connection:
            found = {i.result_id for i in inspections.latest(connection, 1000)}
        assert {json.loads(body)["result_id"] for body in shift.bodies.values()} <= found


def test_database_that_comes_late_is_waited_for(tmp_path: Path) -> None:
    """The embedded database's folder turns up after the start."""
    with line_process(tmp_path, f"sqlite:///{tmp_path}/late/loupe.db") as line:
        line.start(ready=False)
        deadline = time.monotonic() + 30
        while True:
            try:
                response = httpx.get(f"{line.url}/health/ready")
                break
            except httpx.TransportError:
                assert time.monotonic() < deadline
                time.sleep(0.05)
        assert (response.status_code, response.json()["result_code"]) == (503, 907)
        (tmp_path / "late").mkdir()
        with opened(line) as stores:
            add_champion(stores, tmp_path)
        line.wait_ready()
        stop_and_check_the_rest(line)
