"""Changes of model under load: what they cost the parts that pass by meanwhile."""

import re
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import count
from typing import Any

import httpx

from service.bench.contenders import Contender, ContenderBroken
from service.bench.intervals import median_interval
from service.bench.load import Load
from service.bench.model import promote
from service.bench.run import Bench, bench_stores, client_of, served, warmed
from service.terminal import Report, say, table
from service.wiring import Stores, now

SWAPS = 100
PAIRS = 10
TAKT_S = 0.5
"""From one promotion to the next."""
HALF = 0.5
POLL_S = 0.2
"""How often the server looks for a promotion: the shortest takt at which every swap really happens."""
SWAP_WAIT_S = 10.0
LOOK_S = 0.1
"""Between looks at the metrics, which cost the server time too; so there are as many without swaps."""

_CHAMPION = re.compile(r'^loupe_champion_info\{.*model="([^"]+)".*\} 1', re.MULTILINE)


@dataclass(frozen=True, slots=True)
class SwapTurns:
    """Runs with and without swaps, the n-th of each belonging together; how long each swap took from its row on."""

    rate: float
    still: list[Load]
    swapping: list[Load]
    swap_ms: list[float]


def measure_swaps(bench: Bench, swaps: int, report: Report, *, pairs: int = PAIRS) -> SwapTurns:
    """Half load for some seconds without, then with promotions of two models by turns; in pairs.

    Raises ContenderBroken, ChildBroken.
    """
    plan, each = bench.plan, max(1, swaps // pairs)
    seconds = each * TAKT_S
    with served(bench, watch_poll_s=POLL_S) as started, client_of(bench) as client, bench_stores(bench) as stores:
        server = warmed(bench, client, started)
        peak = client.run("closed", server.target, "peak", concurrency=4, seconds=plan.seconds).rate
        server.settle()
        rate = HALF * peak
        turns = SwapTurns(rate, [], [], [])
        models = [path.stem for path in bench.models]
        numbers = count(1)
        for pair in range(pairs):
            for swapping in (False, True) if pair % 2 == 0 else (True, False):
                client.start("steady", server.target, f"p{pair}s{swapping:d}", rate=rate, seconds=seconds)
                if swapping:
                    chosen = [models[next(numbers) % len(models)] for _ in range(each)]
                    turns.swap_ms.extend(_swap(stores, server, chosen))
                else:
                    _look(server, each)
                (turns.swapping if swapping else turns.still).append(client.load())
                server.settle()
            report(pair + 1, pairs)
    return turns


def _swap(stores: Stores, server: Contender, chosen: Sequence[str]) -> list[float]:
    """Promote one model after the other at the takt; how long (ms) each took to decide."""
    took = []
    began = time.perf_counter()
    for number, model in enumerate(chosen):
        time.sleep(max(0.0, began + number * TAKT_S - time.perf_counter()))
        promoted = time.perf_counter()
        promote(stores, model, now())
        while deciding(server) != model:
            if time.perf_counter() - promoted > SWAP_WAIT_S:
                raise ContenderBroken(server.name, f"did not take over {model} within {SWAP_WAIT_S:g} s")
            time.sleep(LOOK_S)
        took.append(1000 * (time.perf_counter() - promoted))
    return took


def _look(server: Contender, times: int) -> None:
    """What `_swap` asks of the server, without a swap."""
    for _ in range(times):
        for pause_s in (LOOK_S, TAKT_S - LOOK_S):
            deciding(server)
            time.sleep(pause_s)


def deciding(server: Contender) -> str | None:
    """The model that decides, as the server's metrics say."""
    text = httpx.get(f"http://127.0.0.1:{server.target.port}/metrics", timeout=10.0, trust_env=False).text
    found = _CHAMPION.search(text)
    return found[1] if found else None


def summary(turns: SwapTurns) -> dict[str, Any]:
    """Stable keys."""
    pairs = list(zip(turns.still, turns.swapping, strict=True))
    return {
        "swaps": len(turns.swap_ms),
        "pairs": len(pairs),
        "rate": turns.rate,
        "requests": sum(load.requests for load in turns.swapping),
        "failures": sum(load.failures for load in turns.swapping),
        "failures_without": sum(load.failures for load in turns.still),
        "swap_ms": asdict(median_interval(turns.swap_ms)),
        "p50_ms": asdict(median_interval(load.quantile_ms(0.5) for load in turns.swapping)),
        "p99_ms": asdict(median_interval(load.quantile_ms(0.99) for load in turns.swapping)),
        "p50_without_ms": asdict(median_interval(load.quantile_ms(0.5) for load in turns.still)),
        "p99_without_ms": asdict(median_interval(load.quantile_ms(0.99) for load in turns.still)),
        "p99_over_without": asdict(
            median_interval(swap.quantile_ms(0.99) / still.quantile_ms(0.99) for still, swap in pairs)
        ),
    }


def show(result: dict[str, Any]) -> None:
    """The summary for people."""
    say(
        f"{result['swaps']} swaps under {result['rate']:.0f} requests/s: {result['failures']} failures in "
        f"{result['requests']} requests; a promotion decides after {_cell(result['swap_ms'])} ms"
    )
    rows = [
        ("with swaps", _cell(result["p50_ms"]), _cell(result["p99_ms"])),
        ("without", _cell(result["p50_without_ms"]), _cell(result["p99_without_ms"])),
    ]
    table(f"{result['pairs']} pairs, median and interval", ["", "p50 ms", "p99 ms"], rows)
    say(f"p99 with swaps is {_cell(result['p99_over_without'])} x that without")


def _cell(interval: dict[str, float]) -> str:
    return f"{interval['median']:.2f} ({interval['low']:.2f}–{interval['high']:.2f})"
