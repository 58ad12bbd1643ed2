"""Ten thousand hostile bodies: always an answer, never a crash, never a pass for what is no whole image."""

import json
import socket
import threading
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import islice, pairwise
from pathlib import Path

import httpx
import pytest

from tests.e2e.processes import LineProcess, line_process, opened, post_part
from tests.service.line.stocked import add_champion, change_recipe, wait_until
from tests.soak.conftest import Figures
from tests.soak.hostile import Case, cases
from tests.soak.workload import length, metric, rss_mb

SENDERS = 4
GROWTH, GROWTH_MB = 0.10, 20
GOOD_PART = 1_000_001


class Sent:
    """What was answered, by kind of case."""

    def __init__(self, line: LineProcess) -> None:
        self.line = line
        self.told: Counter[tuple[str, int, int]] = Counter()
        self.wrong: list[str] = []
        self._lock = threading.Lock()

    def send_all(self, found: Iterable[tuple[int, Case]]) -> None:
        with ThreadPoolExecutor(SENDERS) as pool:
            list(pool.map(self._send_some, [list(islice(found, n, None, SENDERS)) for n in range(SENDERS)]))

    def _send_some(self, found: list[tuple[int, Case]]) -> None:
        with httpx.Client(timeout=30) as client:
            for n, case in found:
                if case.raw:
                    self._send_raw(n, case)
                else:
                    self._send(client, n, case)

    def _send(self, client: httpx.Client, n: int, case: Case) -> None:
        headers = {"content-type": case.media_type, **case.headers}
        response = client.post(
            f"{self.line.url}/v1/inspections",
            params={"station": "s1", "trigger_id": f"h{n}"},
            content=case.body,
            headers=headers,
        )
        self._judge(n, case, response.status_code, response.content)

    def _send_raw(self, n: int, case: Case) -> None:
        with socket.create_connection(("127.0.0.1", self.line.port), timeout=30) as connection:
            data, broken = b"", ""
            try:
                connection.sendall(case.body)
                connection.shutdown(socket.SHUT_WR)
                while received := connection.recv(65536):
                    data += received
            except ConnectionError as error:
                broken = repr(error)
        head, _, body = data.partition(b"\r\n\r\n")
        if data:
            self._judge(n, case, int(head[9:12]), body)
            return
        with self._lock:
            self.told[case.kind, 0, -1] += 1
        if case.body.strip():  # empty lines are no request
            self._note_wrong(n, case, f"no answer to {case.body[:60]!r} {broken}")

    def _judge(self, n: int, case: Case, status: int, body: bytes) -> None:
        try:
            answer = json.loads(body)
            code, disposition = int(answer["result_code"]), answer["disposition"]
        except (ValueError, KeyError) as error:
            self._note_wrong(n, case, f"{status} {body[:200]!r}: {error!r}")
            return
        with self._lock:
            self.told[case.kind, status, code] += 1
        if status >= 500:
            self._note_wrong(n, case, f"{status} {body[:300]!r}")
        if disposition == "pass" and not case.may_pass:
            self._note_wrong(n, case, "it passed")

    def _note_wrong(self, n: int, case: Case, what: str) -> None:
        with self._lock:
            self.wrong.append(f"case {n} ({case.kind}, {case.media_type}): {what}")


def hostile_bodies(folder: Path, count: int, warm: int, figures: Figures) -> None:
    with line_process(folder, LOUPE_MAX_IMAGE_MB="1") as line:
        with opened(line) as stores:
            add_champion(stores, folder)
            change_recipe(stores, on_optics_alarm="continue")
        line.start()
        sent = Sent(line)
        all_cases = list(enumerate(cases(count, seed=5)))
        memory = {0: rss_mb(line.pid)}
        for begin, end in pairwise((0, warm, count // 2, count)):
            sent.send_all(all_cases[begin:end])
            wait_until(lambda: metric(line, "loupe_journal_waiting") == 0, 60)
            memory[end] = rss_mb(line.pid)
        with httpx.Client(timeout=20) as client:
            good = post_part(client, line, GOOD_PART)
        assert (good.status_code, good.json()["disposition"]) == (200, "pass")
        figures(
            bodies=count,
            statuses={str(s): n for s, n in sorted(_by_status(sent.told).items())},
            passed_as_whole_images=sum(n for (_, _, code), n in sent.told.items() if code == 0),
            rss_mb_after={str(n): round(mb) for n, mb in memory.items()},
        )
        assert sent.wrong == []
        # The allocator fills its arenas for some thousand images; what leaks goes on growing.
        assert memory[count] <= memory[count // 2] * (1 + GROWTH) + GROWTH_MB
        assert line.stop() == 0, line.log
        assert "Traceback" not in line.log


def _by_status(told: Counter[tuple[str, int, int]]) -> Counter[int]:
    found: Counter[int] = Counter()
    for (_, status, _), count in told.items():
        found[status] += count
    return found


def test_hostile_bodies_never_pass_and_never_break_the_line(tmp_path: Path, figures: Figures) -> None:
    hostile_bodies(tmp_path, 400, 100, figures)


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_ten_thousand_hostile_bodies(tmp_path: Path, figures: Figures) -> None:
    count = int(length("HOSTILE_BODIES", 10_000))
    hostile_bodies(tmp_path, count, max(1, count // 10), figures)
