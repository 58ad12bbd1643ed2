"""Contenders in turns: the in-process limit and one or more servers, on the same images and the same cores."""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from service.bench.children import Child
from service.bench.client import Client
from service.bench.contenders import Contender
from service.bench.load import DECIDED_BELOW, Load
from service.bench.resources import family_cpu_s, used_cpu_s

STEPS_SHARE = 0.5
"""Of a turn's time, for the steps of the limit apart."""


@dataclass(frozen=True, slots=True)
class LimitTurn:
    """The in-process limit once: CPU and latency of an image on one thread, CPU and images a second on all threads.

    prepare_cpu_ms, net_cpu_ms: of `cpu_ms`, what preparing and the net cost, measured apart.
    """

    cpu_ms: float
    prepare_cpu_ms: float
    net_cpu_ms: float
    p50_ms: float
    rate: float
    threads_cpu_ms: float
    threads_rate: float


@dataclass(frozen=True, slots=True)
class ClosedTurn:
    """A server once at one concurrency; `cpu_ms` is its CPU a request, with everything that it put off for later."""

    concurrency: int
    requests: int
    failures: int
    kept: int
    codes: Counter[int]
    cpu_ms: float
    client_cpu_ms: float
    rate: float
    p50_ms: float
    p95_ms: float
    p99_ms: float


@dataclass(frozen=True, slots=True)
class OpenTurn:
    """A server once under arrivals of its own rhythm; `load` is the share of its peak."""

    arrivals: str
    load: float
    wanted_rate: float
    requests: int
    failures: int
    rate: float
    p50_ms: float
    p99_ms: float
    lag_p99_ms: float


@dataclass(slots=True)
class Turns:
    """All turns of a comparison; the n-th of each belong together."""

    limit: list[LimitTurn] = field(default_factory=list)
    closed: dict[str, list[list[ClosedTurn]]] = field(default_factory=dict)


def take_turns(
    limit: Child,
    client: Client,
    contenders: Sequence[Contender],
    *,
    pairs: int,
    seconds: float,
    threads: int,
    concurrencies: Sequence[int],
    report: Callable[[int, int], None],
) -> Turns:
    """Every contender `pairs` times, the limit first and last by turns (A B, B A, …), so that drift hits all alike."""
    turns = Turns(closed={contender.name: [] for contender in contenders})
    for pair in range(pairs):
        steps: list[Callable[[], None]] = [lambda: turns.limit.append(limit_turn(limit, seconds, threads))]
        for contender in contenders:
            steps.append(_closed_step(turns, client, contender, concurrencies, seconds, pair))
        for step in steps if pair % 2 == 0 else reversed(steps):
            step()
        report(pair + 1, pairs)
    return turns


def _closed_step(
    turns: Turns, client: Client, contender: Contender, concurrencies: Sequence[int], seconds: float, pair: int
) -> Callable[[], None]:
    def step() -> None:
        turns.closed[contender.name].append(
            [closed_turn(client, contender, c, seconds, f"p{pair}c{c}") for c in concurrencies]
        )

    return step


def limit_turn(limit: Child, seconds: float, threads: int) -> LimitTurn:
    """The limit on one thread, its two steps apart, then on all threads."""
    one = limit.ask({"kind": "whole", "seconds": seconds, "threads": 1})
    steps = limit.ask({"kind": "steps", "seconds": STEPS_SHARE * seconds})
    many = limit.ask({"kind": "whole", "seconds": seconds, "threads": threads})
    return LimitTurn(
        cpu_ms=1000 * one["cpu_s"] / one["images"],
        prepare_cpu_ms=1000 * steps["prepare_cpu_s"] / steps["images"],
        net_cpu_ms=1000 * steps["net_cpu_s"] / steps["images"],
        p50_ms=float(np.median(one["latency_ms"])),
        rate=one["images"] / one["wall_s"],
        threads_cpu_ms=1000 * many["cpu_s"] / many["images"],
        threads_rate=many["images"] / many["wall_s"],
    )


def closed_turn(client: Client, contender: Contender, concurrency: int, seconds: float, run: str) -> ClosedTurn:
    """The server at one concurrency for some seconds, then until nothing waits in it."""
    before = family_cpu_s(contender.pid)
    load = client.run("closed", contender.target, run, concurrency=concurrency, seconds=seconds)
    answered = time.perf_counter()
    contender.settle()
    # How long that takes is the benchmark's doing: what the server uses then anyway is no request's.
    idle = contender.idle_cpu_ms_per_s / 1000 * (time.perf_counter() - answered)
    cpu = used_cpu_s(contender.pid, before) - idle
    return ClosedTurn(
        concurrency=concurrency,
        requests=load.requests,
        failures=load.failures,
        kept=load.kept,
        codes=Counter(load.result_codes),
        cpu_ms=1000 * cpu / load.requests,
        client_cpu_ms=1000 * load.client_cpu_s / load.requests,
        rate=load.rate,
        p50_ms=load.quantile_ms(0.5),
        p95_ms=load.quantile_ms(0.95),
        p99_ms=load.quantile_ms(0.99),
    )


def open_turn(client: Client, contender: Contender, arrivals: str, share: float, peak: float, **plan: Any) -> OpenTurn:
    """The server under `share` of its peak rate; plan: run, seconds."""
    rate = share * peak
    load: Load = client.run(arrivals, contender.target, rate=rate, **plan)
    contender.settle()
    return OpenTurn(
        arrivals=arrivals,
        load=share,
        wanted_rate=rate,
        requests=load.requests,
        failures=load.failures,
        rate=load.rate,
        p50_ms=load.quantile_ms(0.5),
        p99_ms=load.quantile_ms(0.99),
        lag_p99_ms=float(np.quantile(load.lag_ms, 0.99)),
    )


def decided_ok(codes: Counter[int]) -> float:
    """The share of the answers that said `pass`; of those that named no code, nothing is known."""
    decided = sum(count for code, count in codes.items() if 0 <= code < DECIDED_BELOW)
    return codes[0] / decided if decided else float("nan")
