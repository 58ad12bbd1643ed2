"""The disk fills up under load: records go on in the reserve, then nothing is decided, and room heals it all."""

import json
import os
import subprocess
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from storage import inspections
from tests.e2e.processes import LineProcess, line_process, opened
from tests.service.line.stocked import DARK, add_champion, change_recipe, encoded, wait_until
from tests.soak.conftest import Figures
from tests.soak.workload import length, metric

DISK_MB = 64
FAIL_SAFE = "reject"
STORAGE = 908
HEAL_WITHIN_S = 60.0


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of the test's own."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount a file system")
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "loupe-soak", str(folder)], capture_output=True, text=True
    )
    if mounted.returncode != 0:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@dataclass(slots=True)
class Sender:
    """Posts good and bad parts, one after the other, and keeps what it was answered."""

    line: LineProcess
    client: httpx.Client
    number: int = 0
    bodies: dict[int, bytes] = field(default_factory=dict)
    undecided: list[int] = field(default_factory=list)

    def send(self) -> tuple[int, str]:
        self.number += 1
        n = self.number
        response = self.client.post(
            f"{self.line.url}/v1/inspections?station=s1&trigger_id={n}",
            content=encoded(DARK if n % 3 else 230, seed=n),
            headers={"content-type": "image/png"},
        )
        assert response.status_code == 200, response.text
        answer = response.json()
        code, disposition = int(answer["result_code"]), str(answer["disposition"])
        if code == STORAGE:
            assert disposition == FAIL_SAFE
            assert answer["evaluation"] == "not_decidable"
            self.undecided.append(n)
        else:
            assert (code, disposition) == ((0, "pass") if n % 3 else (7, "reject"))
            self.bodies[n] = response.content
        return code, str(answer["image_uri"])

    def send_until(self, code: int, limit: int) -> int:
        """Returns how many it took."""
        for count in range(limit):
            if self.send()[0] == code:
                return count
        raise AssertionError(f"no answer had code {code} within {limit} parts")


def fill(disk: Path) -> None:
    """Take all room that is left."""
    with (disk / "ballast").open("ab", buffering=0) as ballast:
        for step in (1 << 20, 4096):
            try:
                while True:
                    ballast.write(bytes(step))
            except OSError:
                continue


def full_and_free_again(disk: Path, reserve_mb: int, parts: int, figures: Figures) -> None:
    # The log lies elsewhere: it is not what is tested.
    changes = {"LOUPE_JOURNAL_RESERVE_MB": str(reserve_mb), "LOUPE_DATA_DIR": str(disk / "data")}
    with line_process(disk.parent, **changes) as line, httpx.Client(timeout=20) as client:
        with opened(line) as stores:
            add_champion(stores, disk.parent)
            change_recipe(stores, on_optics_alarm="continue", fail_safe=FAIL_SAFE)
        line.start()
        sender = Sender(line, client)
        for _ in range(parts):
            sender.send()
        fill(disk)
        wait_until(lambda: bool(sender.send()) and metric(line, "loupe_journal_on_reserve") == 1, 60)
        first_on_reserve = sender.number + 1
        assert sender.send()[0] != STORAGE, "the reserve takes records"
        on_reserve = sender.send_until(STORAGE, 100_000)
        last_on_reserve = sender.number - 1
        fill(disk)
        spent = Counter(sender.send()[0] for _ in range(parts))
        state = client.get(f"{line.url}/v1/stations/s1/state").json()
        metrics = client.get(f"{line.url}/metrics").text
        assert spent[STORAGE] > 0
        assert state["state"] == "error", state
        assert "full" in json.dumps(state) or "space" in json.dumps(state), state
        assert f'result_code="{STORAGE}"' in metrics
        assert metric(line, "loupe_journal_on_reserve") == 1
        (disk / "ballast").unlink()
        wait_until(lambda: client.get(f"{line.url}/v1/stations/s1/state").json()["state"] == "ready", HEAL_WITHIN_S)
        wait_until(lambda: metric(line, "loupe_journal_on_reserve") == 0, HEAL_WITHIN_S)
        undecided = list(sender.undecided)
        after_healing = sender.number + 1
        assert STORAGE not in {sender.send()[0] for _ in range(parts)}
        wait_until(lambda: metric(line, "loupe_journal_waiting") == 0, HEAL_WITHIN_S)
        assert line.stop() == 0, line.log
        with opened(line) as stores:
            with stores.database.read() as connection:
                found = {int(r.trigger_id): r for r in inspections.latest(connection, 1_000_000)}
            assert found.keys() == sender.bodies.keys()
            assert all(record.answer.encode() == sender.bodies[n] for n, record in found.items())
            for n, record in found.items():
                (view,) = record.views
                if first_on_reserve <= n <= last_on_reserve:
                    assert (view.image_kept, record.keep_probability) == (False, 0.0)
                elif n % 3 == 0 and (n <= parts or n >= after_healing):
                    assert (view.image_kept, record.keep_probability) == (True, 1.0)
                if view.image_kept:
                    assert stores.images.has(view.image_sha256)
        figures(
            records_in_the_reserve=on_reserve,
            reserve_mb=reserve_mb,
            undecided=len(undecided),
            answered=len(sender.bodies),
            codes_when_spent={str(code): count for code, count in spent.items()},
        )


def test_full_disk_is_survived_and_healed(small_disk: Path, figures: Figures) -> None:
    full_and_free_again(small_disk, 1, 30, figures)


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_full_disk_under_many_parts(small_disk: Path, figures: Figures) -> None:
    full_and_free_again(small_disk, 4, int(length("DISK_PARTS", 1000)), figures)
