"""What a measurement came to: stable keys for programs, tables for people. `docs/performance.md` explains them."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

from service.bench.comparison import ClosedTurn, OpenTurn, Turns, decided_ok
from service.bench.intervals import median_interval
from service.bench.run import Bench, Measured
from service.terminal import say, table

HEADLINE_CONCURRENCY = 4
"""Enough to keep the default two threads busy, too little to queue: the share of the limit that is quoted."""


def summary(bench: Bench, architecture: str, size: str, measured: Measured, server: str) -> dict[str, Any]:
    """Everything that was measured, under stable keys."""
    return {
        "architecture": architecture,
        "size": size,
        "images": len(bench.parts),
        "image_kb": sum(len(part.data) for part in bench.parts) / len(bench.parts) / 1000,
        "pairs": len(measured.turns.limit),
        "threads": bench.threads,
        "cores": {
            "contender": sorted(bench.cores.contender),
            "client": sorted(bench.cores.client),
            "shared": bench.cores.shared,
        },
        "limit": {**_limit(measured.turns), "memory": asdict(measured.limit_memory)},
        "servers": {
            server: {
                **server_summary(measured.turns, server),
                "peak_rate": measured.peak_rate,
                "open": _open(measured.open_turns),
                "idle_cpu_ms_per_s": measured.idle_cpu_ms_per_s,
                "memory": asdict(measured.memory),
                "peak_memory_over_limit": measured.memory.peak_mb / measured.limit_memory.peak_mb,
            },
            **{
                other.name: {
                    **server_summary(other.turns, other.name),
                    "beside": _beside(other.turns, other.name, server),
                    "idle_cpu_ms_per_s": other.idle_cpu_ms_per_s,
                    "memory": asdict(other.memory),
                    "peak_memory_over_limit": other.memory.peak_mb / measured.limit_memory.peak_mb,
                }
                for other in measured.compared
            },
        },
    }


def server_summary(turns: Turns, server: str) -> dict[str, Any]:
    """One server's closed-loop turns, beside the limit's turn of the same pair."""
    pairs = turns.closed[server]
    every = [turn for pair in pairs for turn in pair]
    requests = sum(turn.requests for turn in every)
    closed = [_closed(turns, [pair[n] for pair in pairs]) for n in range(len(pairs[0]))]
    headline = next((one for one in closed if one["concurrency"] == HEADLINE_CONCURRENCY), closed[0])
    codes: Counter[int] = sum((turn.codes for turn in every), Counter())
    return {
        "share_of_limit": headline["share_of_limit"],
        "requests": requests,
        "failures": sum(turn.failures for turn in every),
        "ok_share": decided_ok(codes),
        "kept_share": sum(turn.kept for turn in every) / requests,
        "client_cpu_ms": _interval(turn.client_cpu_ms for turn in every),
        "closed": closed,
    }


def _limit(turns: Turns) -> dict[str, Any]:
    found = turns.limit
    return {
        "cpu_ms": _interval(turn.cpu_ms for turn in found),
        "p50_ms": _interval(turn.p50_ms for turn in found),
        "rate": _interval(turn.rate for turn in found),
        "threads_cpu_ms": _interval(turn.threads_cpu_ms for turn in found),
        "threads_rate": _interval(turn.threads_rate for turn in found),
    }


def _closed(turns: Turns, found: Sequence[ClosedTurn]) -> dict[str, Any]:
    both = list(zip(turns.limit, found, strict=True))
    return {
        "concurrency": found[0].concurrency,
        "share_of_limit": _interval(limit.cpu_ms / turn.cpu_ms for limit, turn in both),
        "cpu_ms": _interval(turn.cpu_ms for turn in found),
        "rate": _interval(turn.rate for turn in found),
        "rate_over_limit": _interval(turn.rate / limit.threads_rate for limit, turn in both),
        "requests_per_cpu_s": _interval(1000 / turn.cpu_ms for turn in found),
        "p50_ms": _interval(turn.p50_ms for turn in found),
        "p95_ms": _interval(turn.p95_ms for turn in found),
        "p99_ms": _interval(turn.p99_ms for turn in found),
        "p50_minus_limit_ms": _interval(turn.p50_ms - limit.p50_ms for limit, turn in both),
        "failures": sum(turn.failures for turn in found),
    }


def _beside(turns: Turns, name: str, server: str) -> list[dict[str, Any]]:
    """The line server as a multiple of another one, by concurrency, from turns of the same pair."""
    both = [list(zip(*pair, strict=True)) for pair in zip(turns.closed[server], turns.closed[name], strict=True)]
    by_concurrency = zip(*both, strict=True)
    return [
        {
            "concurrency": found[0][0].concurrency,
            "loupe_cpu_over_this": _interval(loupe.cpu_ms / other.cpu_ms for loupe, other in found),
            "loupe_rate_over_this": _interval(loupe.rate / other.rate for loupe, other in found),
            "loupe_p50_over_this": _interval(loupe.p50_ms / other.p50_ms for loupe, other in found),
            "loupe_p99_over_this": _interval(loupe.p99_ms / other.p99_ms for loupe, other in found),
            "loupe_failures": sum(loupe.failures for loupe, _ in found),
        }
        for found in by_concurrency
    ]


def _open(turns: Sequence[OpenTurn]) -> list[dict[str, Any]]:
    kinds = dict.fromkeys((turn.arrivals, turn.load) for turn in turns)
    by_kind = {kind: [turn for turn in turns if (turn.arrivals, turn.load) == kind] for kind in kinds}
    return [
        {
            "arrivals": arrivals,
            "load": load,
            "wanted_rate": found[0].wanted_rate,
            "rate": _interval(turn.rate for turn in found),
            "p50_ms": _interval(turn.p50_ms for turn in found),
            "p99_ms": _interval(turn.p99_ms for turn in found),
            "p99_over_p50": _interval(turn.p99_ms / turn.p50_ms for turn in found),
            "client_lag_p99_ms": _interval(turn.lag_p99_ms for turn in found),
            "failures": sum(turn.failures for turn in found),
        }
        for (arrivals, load), found in by_kind.items()
    ]


def _interval(values: Iterable[float]) -> dict[str, float]:
    return asdict(median_interval(values))


def show(result: dict[str, Any]) -> None:
    """The summary as tables."""
    limit = result["limit"]
    shared = "shared with the client" if result["cores"]["shared"] else "the client has its own"
    say(
        f"{result['architecture']}, {result['images']} images of {result['size']} ({result['image_kb']:.0f} KB), "
        f"{result['pairs']} pairs, {result['threads']} threads on cores "
        f"{', '.join(map(str, result['cores']['contender']))} ({shared})"
    )
    say(f"median and {100 * limit['cpu_ms']['coverage']:.0f} % interval; x = times the in-process limit")
    say(
        f"in-process limit: {_cell(limit['cpu_ms'])} ms CPU an image, p50 {_cell(limit['p50_ms'])} ms, "
        f"{_cell(limit['rate'], 0)} images/s on one thread, {_cell(limit['threads_rate'], 0)} on {result['threads']}, "
        f"{limit['memory']['peak_mb']:.0f} MB"
    )
    for name, server in result["servers"].items():
        _show_server(name, server)


def _show_server(name: str, server: dict[str, Any]) -> None:
    columns = ["in flight", "share of limit", "CPU ms", "requests/s", "x", "per CPU-s", "p50 ms", "p95", "p99"]
    rows = [
        (
            one["concurrency"],
            _cell(one["share_of_limit"]),
            _cell(one["cpu_ms"]),
            _cell(one["rate"], 0),
            f"{one['rate_over_limit']['median']:.2f}",
            _cell(one["requests_per_cpu_s"], 0),
            _cell(one["p50_ms"]),
            _cell(one["p95_ms"], 1),
            _cell(one["p99_ms"], 1),
        )
        for one in server["closed"]
    ]
    table(f"{name}: closed loop", columns, rows)
    for one in server.get("beside", ()):
        say(
            f"beside {name}, at {one['concurrency']} in flight, Loupe: {_cell(one['loupe_rate_over_this'])} x its "
            f"requests/s, {_cell(one['loupe_cpu_over_this'])} x its CPU, {_cell(one['loupe_p99_over_this'])} x its p99"
            + (f", {one['loupe_failures']} FAILURES" if one["loupe_failures"] else "")
        )
    alone = server["closed"][0]
    say(
        f"{name}: {server['requests']} requests, {server['failures']} failures, {100 * server['ok_share']:.1f} % pass, "
        f"{100 * server['kept_share']:.0f} % of the images kept; at {alone['concurrency']} in flight the p50 is "
        f"{_cell(alone['p50_minus_limit_ms'])} ms over one image in process"
    )
    memory = server["memory"]
    say(
        f"{name}: {memory['peak_mb']:.0f} MB at its peak ({server['peak_memory_over_limit']:.1f} x), "
        f"{memory['now_mb']:.0f} MB after; idle it uses {server['idle_cpu_ms_per_s']:.1f} ms CPU a second"
    )
    if "open" in server:
        _show_open(name, server)


def _show_open(name: str, server: dict[str, Any]) -> None:
    columns = ["arrivals", "load", "requests/s", "p50 ms", "p99 ms", "p99 / p50", "client's own lag p99 ms", "failures"]
    rows = [
        (
            one["arrivals"],
            f"{100 * one['load']:.0f} %",
            _cell(one["rate"], 0),
            _cell(one["p50_ms"]),
            _cell(one["p99_ms"], 1),
            _cell(one["p99_over_p50"], 1),
            _cell(one["client_lag_p99_ms"]),
            one["failures"],
        )
        for one in server["open"]
    ]
    table(f"{name}: open loop, latency from when a request was due; peak {server['peak_rate']:.0f}/s", columns, rows)


def _cell(interval: dict[str, float], digits: int = 2) -> str:
    low, high = interval["low"], interval["high"]
    return f"{interval['median']:.{digits}f} ({low:.{digits}f}–{high:.{digits}f})"
