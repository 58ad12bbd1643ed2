"""A whole measurement of the line server: images, model, server, turns, and what they came to."""

import os
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from service.bench.children import Child
from service.bench.client import Client
from service.bench.comparison import OpenTurn, Turns, open_turn, take_turns
from service.bench.contenders import Contender, ContenderBroken, line_server
from service.bench.intervals import median_interval
from service.bench.model import export_bench_model, publish
from service.bench.parts import Part, folder_parts, rendered_parts, write_parts
from service.bench.plan import LOADS, Plan
from service.bench.resources import Cores, Memory, divide_cores, family_cpu_s, family_memory, on_cores, used_cpu_s
from service.demo import free_port
from service.settings import Settings, load_settings
from service.terminal import Report
from service.wiring import Stores, now, open_stores

LOUPE = "loupe serve"
WARM_CONCURRENCY = 4
WARM_EXTRA = 100
IDLE_SLICES = 10
RESTING_CPU_S = 0.01
REST_WAIT_S = 15.0


@dataclass(frozen=True, slots=True)
class Bench:
    """What every measurement needs: images on disk, model files, and a folder that goes away afterwards."""

    scratch: Path
    parts: Sequence[Part]
    architecture: str
    side_px: int
    models: tuple[Path, ...]
    cores: Cores
    threads: int
    plan: Plan

    @property
    def images(self) -> Path:
        """The folder with the images."""
        return self.scratch / "parts"


@dataclass(frozen=True, slots=True)
class Extra:
    """Another server to compare: its name, and how it is started on the bench's cores and model."""

    name: str
    start: Callable[[Bench], AbstractContextManager[Contender]]


@dataclass(frozen=True, slots=True)
class Compared:
    """Turns of another server and of the line server, and the other's memory afterwards."""

    name: str
    turns: Turns
    memory: Memory
    idle_cpu_ms_per_s: float


@dataclass(frozen=True, slots=True)
class Measured:
    """What came of measuring the line server, and others beside it."""

    turns: Turns
    compared: list[Compared]
    open_turns: list[OpenTurn]
    peak_rate: float
    idle_cpu_ms_per_s: float
    memory: Memory
    limit_memory: Memory


@contextmanager
def prepared(
    plan: Plan, architecture: str, side_px: int, size: tuple[int, int], folder: Path | None, *, models: int = 1
) -> Iterator[Bench]:
    """Images and models for a measurement; gone at the end of the block. side_px: as for `export_bench_model`.

    Raises NoImages; KeyError for an architecture that there is not.
    """
    parts = rendered_parts(plan.images, *size) if folder is None else folder_parts(folder, plan.images)
    chosen = load_settings()
    threads = chosen.threads or max(2, os.cpu_count() or 2)
    with tempfile.TemporaryDirectory(prefix="loupe-bench-") as name:
        scratch = Path(name)
        write_parts(parts, scratch / "parts")
        paths = tuple(scratch / f"bench-{number}.onnx" for number in range(models))
        for seed, path in enumerate(paths):
            export_bench_model(architecture, side_px, parts, path, seed)
        yield Bench(scratch, parts, architecture, side_px, paths, divide_cores(threads), threads, plan)


def bench_settings(bench: Bench, name: str, **changes: Any) -> Settings:
    """Every setting's default, but for a place and a port of its own and for what decides about speed here."""
    chosen = load_settings()
    # A plant's own settings must not reach the server under test: it would publish to the plant's broker.
    defaults = {field: info.get_default() for field, info in Settings.model_fields.items()}
    own = {
        "data_dir": bench.scratch / name,
        "host": "127.0.0.1",
        "port": free_port(),
        "threads": chosen.threads,
        "provider": chosen.provider,
        "commission_images": bench.plan.commission_images,
    }
    return load_settings(**{**defaults, **own, **changes})


@contextmanager
def served(
    bench: Bench, name: str = LOUPE, module: Sequence[str] = ("service.cli", "serve"), **changes: Any
) -> Iterator[Contender]:
    """A line server on the bench's models, on its cores, with some settings changed; gone at the end of the block.

    Raises ContenderBroken.
    """
    folder = name.replace(" ", "-")
    settings = bench_settings(bench, folder, **changes)
    with open_stores(settings) as stores:
        publish(stores, bench.models, now())
    with ExitStack() as stack:
        with on_cores(bench.cores.contender):
            server = stack.enter_context(line_server(settings, bench.scratch / f"{folder}.log", name, module))
        yield server


def bench_stores(bench: Bench, name: str = LOUPE) -> AbstractContextManager[Stores]:
    """The stores of a line server that `served` has started."""
    return open_stores(bench_settings(bench, name.replace(" ", "-")))


@contextmanager
def limit_of(bench: Bench) -> Iterator[Child]:
    """The in-process limit, on the contenders' cores."""
    with ExitStack() as stack:
        with on_cores(bench.cores.contender):
            limit = stack.enter_context(Child("service.bench.limit", str(bench.models[0]), str(bench.images)))
        yield limit


@contextmanager
def client_of(bench: Bench) -> Iterator[Client]:
    """The load generator, on its cores."""
    with ExitStack() as stack:
        with on_cores(bench.cores.client):
            client = stack.enter_context(Client(bench.images))
        yield client


def warmed(bench: Bench, client: Client, contender: Contender) -> Contender:
    """The server where it stays: caches filled, the light of its camera learned; its idle CPU measured.

    Raises ContenderBroken.
    """
    requests = bench.plan.commission_images + WARM_EXTRA
    load = client.run("closed", contender.target, "warm", concurrency=WARM_CONCURRENCY, requests=requests)
    if load.failures:
        found = Counter(zip(load.statuses, load.result_codes, strict=True)).most_common(3)
        told = ", ".join(f"{count} with status {status} and result code {code}" for (status, code), count in found)
        log = bench.scratch / f"{contender.name.replace(' ', '-')}.log"
        raise ContenderBroken(contender.name, f"failed {load.failures} of {load.requests} first parts ({told})", log)
    contender.settle()
    _wait_until_it_rests(contender.pid)
    return replace(contender, idle_cpu_ms_per_s=_idle_cpu_ms_per_s(contender.pid, bench.plan.idle_seconds))


def _wait_until_it_rests(pid: int) -> None:
    """Until a second has cost little, but not for ever: a journal fills its reserve once, which is no request's."""
    give_up = time.monotonic() + REST_WAIT_S
    while time.monotonic() < give_up:
        before = family_cpu_s(pid)
        time.sleep(1.0)
        if used_cpu_s(pid, before) < RESTING_CPU_S:
            return


def _idle_cpu_ms_per_s(pid: int, seconds: float) -> float:
    """The lowest of ten slices: what a server still prepares or tidies up must not pass for idling and be taken off."""
    slices = []
    for _ in range(IDLE_SLICES):
        began, before = time.perf_counter(), family_cpu_s(pid)
        time.sleep(seconds / IDLE_SLICES)
        slices.append(1000 * used_cpu_s(pid, before) / (time.perf_counter() - began))
    return min(slices)


def measure_server(bench: Bench, extras: Sequence[Extra], report: Report) -> Measured:
    """The line server beside the limit: closed loop in pairs, open loop at shares of the peak; then the extras.

    Raises ContenderBroken, ChildBroken.
    """
    plan = bench.plan
    total = plan.pairs * (1 + len(extras))
    with served(bench) as started, limit_of(bench) as limit, client_of(bench) as client:
        server = warmed(bench, client, started)
        turns = take_turns(
            limit,
            client,
            [server],
            pairs=plan.pairs,
            seconds=plan.seconds,
            threads=bench.threads,
            concurrencies=plan.concurrencies,
            report=lambda done, _: report(done, total),
        )
        peak = _peak_rate(turns, server.name)
        open_turns = _open_turns(client, server, peak, plan)
        memory, limit_memory = family_memory(server.pid), family_memory(limit.pid)
        compared = []
        for number, extra in enumerate(extras, 1):
            before = number * plan.pairs
            told = _after(report, before, total)
            compared.append(_compare(bench, limit, client, server, extra, told))
    return Measured(turns, compared, open_turns, peak, server.idle_cpu_ms_per_s, memory, limit_memory)


def _after(report: Report, before: int, total: int) -> Report:
    return lambda done, _: report(before + done, total)


def _compare(bench: Bench, limit: Child, client: Client, server: Contender, extra: Extra, report: Report) -> Compared:
    plan = bench.plan
    with extra.start(bench) as started:
        other = warmed(bench, client, started)
        turns = take_turns(
            limit,
            client,
            [server, other],
            pairs=plan.pairs,
            seconds=plan.extra_seconds,
            threads=bench.threads,
            concurrencies=plan.extra_concurrencies,
            report=report,
        )
        return Compared(extra.name, turns, family_memory(other.pid), other.idle_cpu_ms_per_s)


def _peak_rate(turns: Turns, name: str) -> float:
    """The best median rate of any concurrency."""
    by_concurrency = zip(*([turn.rate for turn in pair] for pair in turns.closed[name]), strict=True)
    return max(median_interval(rates).median for rates in by_concurrency)


def _open_turns(client: Client, server: Contender, peak: float, plan: Plan) -> list[OpenTurn]:
    return [
        open_turn(client, server, arrivals, share, peak, run=f"{arrivals}{share}r{turn}", seconds=plan.open_seconds)
        for turn in range(plan.open_rounds)
        for arrivals in plan.arrivals
        for share in LOADS
    ]
