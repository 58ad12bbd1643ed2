"""In which order things reach the disk, the socket and the database, as the kernel saw it."""

import hashlib
import json
import os
import re
import shutil
import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from storage import inspections
from storage.journal.index import Index
from tests.e2e.processes import LineProcess, line_process, opened, part, post_part
from tests.service.line.stocked import add_champion, change_recipe, wait_until
from tests.soak.conftest import Figures
from tests.soak.workload import length, metric

CALLS = "pwritev,pwritev2,pwrite64,write,writev,sendto,sendmsg,fdatasync,fsync,sync_file_range,ftruncate"
SHOWN = 1 << 17
"""Bytes of each buffer in the trace: whole images and answers."""

_LINE = re.compile(r"^(\d+) +(.*)$", re.DOTALL)
_CALL = re.compile(r"^(\w+)\((\d+)<([^>]*)>(.*)\) += (-?\d+)", re.DOTALL)
_TEXT = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')


@dataclass(frozen=True, slots=True)
class Call:
    """A system call: `begun` and `ended` are places in the trace."""

    begun: int
    ended: int
    thread: int
    name: str
    path: str
    rest: str

    @property
    def data(self) -> bytes:
        return b"".join(bytes.fromhex(text.replace("\\x", "")) for text in _TEXT.findall(self.rest))

    @property
    def offset(self) -> int:
        arguments = self.rest.rsplit(", ", 2)
        return int(arguments[-2] if self.name == "pwritev2" else arguments[-1])

    @property
    def is_entry(self) -> bool:
        """Whether it writes into the journal."""
        return self.name in ("pwritev", "pwritev2") and self.path.endswith(".seg")


def read_trace(lines: Iterable[str]) -> list[Call]:
    """The calls that succeeded, in the order in which they ended."""
    calls: list[Call] = []
    open_: dict[int, tuple[int, str]] = {}
    for number, line in enumerate(lines):
        match = _LINE.match(line)
        if match is None:
            continue
        thread, text = int(match[1]), match[2]
        begun = number
        if text.rstrip().endswith("<unfinished ...>"):
            open_[thread] = number, text.rstrip().removesuffix("<unfinished ...>")
            continue
        if text.startswith("<... ") and thread in open_:
            begun, head = open_.pop(thread)
            text = head.rstrip() + text.partition("resumed>")[2]
        found = _CALL.match(text)
        if found is not None and int(found[5]) >= 0:
            calls.append(Call(begun, number, thread, found[1], found[3], found[4]))
    return calls


@dataclass(slots=True)
class Files:
    """The content of files as the writes in the trace made it."""

    content: defaultdict[str, bytearray] = field(default_factory=lambda: defaultdict(bytearray))

    def apply(self, call: Call) -> None:
        held = self.content[call.path]
        if call.name == "ftruncate":
            size = int(call.rest.strip(", "))
            del held[size:]
            held.extend(bytes(size - len(held)))
        elif call.name == "pwrite64":
            data, offset = call.data, call.offset
            held.extend(bytes(max(0, offset + len(data) - len(held))))
            held[offset : offset + len(data)] = data

    def write(self, path: str, target: Path) -> None:
        for suffix in ("", "-wal"):
            (target.parent / f"{target.name}{suffix}").write_bytes(self.content[path + suffix])


def is_sync(call: Call, path: str) -> bool:
    return call.name in ("fsync", "fdatasync") and call.path == path


@pytest.fixture
def traced(tmp_path: Path) -> Iterator[tuple[LineProcess, Path]]:
    if shutil.which("strace") is None:
        if "strace" in os.environ.get("LOUPE_TEST_REQUIRE", ""):
            pytest.fail("strace is required and not installed")
        pytest.skip("strace is not installed")
    trace = tmp_path / "trace"
    with line_process(tmp_path, LOUPE_JOURNAL_RESERVE_MB="2") as line:
        # -D: strace runs beside the server and not above it, so signals reach the server.
        line.under = ("strace", "-D", "-f", "-y", "-xx", "-s", str(SHOWN), "-e", f"trace={CALLS}", "-o", str(trace))
        with opened(line) as stores:
            add_champion(stores, tmp_path)
            change_recipe(stores, on_optics_alarm="continue", keep_ok_share=0.5)
        line.start()
        yield line, trace


def plain(text: str) -> str:
    """-xx also writes paths in hex."""
    return bytes.fromhex(text.replace("\\x", "")).decode() if text.startswith("\\x") else text


def durable_before_answered(calls: list[Call], result_ids: list[str]) -> int:
    """Every answer's entry is on disk before its first byte goes to the socket; returns how many answers there were."""
    written = [c for c in calls if c.is_entry]
    answers = [c for c in calls if c.name in ("write", "writev", "sendto", "sendmsg") and "socket:" in c.path]
    syncs = [c for c in calls if c.name == "fdatasync" and c.path.endswith(".seg")]
    for result_id in result_ids:
        named = result_id.encode()
        entry = next(c for c in written if named in c.data)
        sync = next(c for c in syncs if c.path == entry.path and c.begun > entry.ended)
        sent = next(c for c in answers if b'"result_id":"' + named in c.data)
        assert entry.ended < sync.begun <= sync.ended < sent.begun, result_id
    return len(result_ids)


def stored_before_let_go(calls: list[Call], folder: Path, kept: dict[str, str | None]) -> int:
    """The record is committed and its image synced with its folder before the journal's mark moves past its entry.

    `kept`: SHA-256 of the kept image, or None, by result id. Returns how many entries the mark was seen to pass.
    """
    data = folder / "data"
    index, database = str(data / "line/journal/index.sqlite"), str(data / "loupe.db")
    places = {result_id: place_of(calls, result_id) for result_id in kept}
    replayed, passed = Files(), dict[str, int]()
    for call in calls:
        if call.path not in (index, f"{index}-wal"):
            continue
        replayed.apply(call)
        mark = mark_of(replayed, index, folder / "replayed.sqlite")
        for result_id, place in places.items():
            if place < mark:
                passed.setdefault(result_id, call.begun)
    assert passed.keys() == kept.keys()
    for result_id, let_go in passed.items():
        row = next(c for c in calls if c.path == f"{database}-wal" and result_id.encode() in c.data)
        commit = next(c for c in calls if is_sync(c, f"{database}-wal") and c.begun > row.ended)
        assert commit.ended < let_go, result_id
        sha256 = kept[result_id]
        if sha256 is not None:
            image = data / "images" / sha256[:2] / sha256
            file = next(c for c in calls if is_sync(c, str(image)))
            parent = next(c for c in calls if is_sync(c, str(image.parent)) and c.begun > file.ended)
            assert parent.ended < commit.begun, result_id
    return len(passed)


def place_of(calls: list[Call], result_id: str) -> tuple[int, int]:
    """Segment and offset up to which an entry may reach: the end of the write that held it is behind it."""
    call = next(c for c in calls if c.is_entry and result_id.encode() in c.data)
    segment = int(Path(call.path).stem)
    before = call.data[: call.data.index(result_id.encode())]
    return segment, call.offset + len(before)


def mark_of(replayed: Files, path: str, copy: Path) -> tuple[int, int]:
    """How far the journal on disk says that it is drained."""
    for old in copy.parent.glob(f"{copy.name}*"):
        old.unlink()
    replayed.write(path, copy)
    try:
        index = Index(copy)
        try:
            return index.state().drained_to
        finally:
            index.close()
    except sqlite3.Error:  # in the middle of a write that is more than one call
        return 0, 0


def trace_of_parts(line: LineProcess, trace: Path, parts: int) -> tuple[list[Call], dict[str, str | None]]:
    answers = []
    with httpx.Client(timeout=60) as client:
        for n in range(parts):
            response = post_part(client, line, n)
            assert response.status_code == 200
            answers.append(json.loads(response.content))
            if n == parts // 2:
                wait_until(lambda: metric(line, "loupe_journal_waiting") == 0, 60)
    wait_until(lambda: metric(line, "loupe_journal_waiting") == 0, 60)
    assert line.stop() == 0, line.log
    with opened(line) as stores, stores.database.read() as connection:
        stored = {record.result_id: record.views[0] for record in inspections.latest(connection, 10 * parts)}
    kept: dict[str, str | None] = {}
    for n, answer in enumerate(answers):
        view = stored[answer["result_id"]]
        assert view.image_sha256 == hashlib.sha256(part(n)).hexdigest()
        kept[answer["result_id"]] = view.image_sha256 if view.image_kept else None
    with trace.open(errors="replace") as lines:
        calls = read_trace(plain_paths(lines))
    return calls, kept


def plain_paths(lines: Iterable[str]) -> Iterator[str]:
    for line in lines:
        yield re.sub(r"<((?:\\x[0-9a-f]{2})+)>", lambda found: f"<{plain(found[1])}>", line)


def assert_order(traced: tuple[LineProcess, Path], parts: int, figures: Figures) -> None:
    line, trace = traced
    calls, kept = trace_of_parts(line, trace, parts)
    answered = durable_before_answered(calls, list(kept))
    let_go = stored_before_let_go(calls, line.folder, kept)
    images = sum(sha256 is not None for sha256 in kept.values())
    assert 0 < images < parts
    figures(answers_after_fdatasync=answered, let_go_after_commit=let_go, images_synced_before=images, calls=len(calls))


def test_answer_leaves_after_fdatasync_and_the_journal_lets_go_after_the_commit(
    traced: tuple[LineProcess, Path], figures: Figures
) -> None:
    assert_order(traced, 12, figures)


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_order_holds_for_many_parts(traced: tuple[LineProcess, Path], figures: Figures) -> None:
    assert_order(traced, int(length("TRACED_PARTS", 200)), figures)
