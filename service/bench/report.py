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


def summary(bench: Bench, size: str, measured: Measured, server: str) -> dict[str, Any]:
    """Everything that was measured, under stable keys."""
    return {
        "architecture": bench.architecture,
        "side": bench.side_px,
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
                **server_summary(measured.turns, server, bench.threads),
                "peak_rate": measured.peak_rate,
                "open": _open(measured.open_turns),
                "idle_cpu_ms_per_s": measured.idle_cpu_ms_per_s,
                "memory": asdict(measured.memory),
                "peak_memory_over_limit": measured.memory.peak_mb / measured.limit_memory.peak_mb,
            },
            **{
                other.name: {
                    **server_summary(other.turns, other.name, bench.threads),
                    "beside": _beside(other.turns, other.name, server),
                    "idle_cpu_ms_per_s": other.idle_cpu_ms_per_s,
                    "memory": asdict(other.memory),
                    "peak_memory_over_limit": other.memory.peak_mb / measured.limit_memory.peak_mb,
                }
                for other in measured.compared
            },
        },
    }


def server_summary(turns: Turns, server: str, threads: int) -> dict[str, Any]:
    """One server's closed-loop turns, beside the limit's turn of the same pair; threads: of server and limit."""
    pairs = turns.closed[server]
    every = [turn for pair in pairs for turn in pair]
    requests = sum(turn.requests for turn in every)
    closed = [_closed(turns, [pair[n] for pair in pairs], threads) for n in range(len(pairs[0]))]
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
        "prepare_cpu_ms": _interval(turn.prepare_cpu_ms for turn in found),
        "net_cpu_ms": _interval(turn.net_cpu_ms for turn in found),
        "p50_ms": _interval(turn.p50_ms for turn in found),
        "rate": _interval(turn.rate for turn in found),
        "threads_cpu_ms": _interval(turn.threads_cpu_ms for turn in found),
        "threads_rate": _interval(turn.threads_rate for turn in found),
    }


def _closed(turns: Turns, found: Sequence[ClosedTurn], threads: int) -> dict[str, Any]:
    both = list(zip(turns.limit, found, strict=True))
    concurrency = found[0].concurrency
    # With fewer requests under way the server does not keep all its threads busy: that limit is none of its own.
    all_busy = concurrency >= max(HEADLINE_CONCURRENCY, threads)
    of_threads = _interval(limit.threads_cpu_ms / turn.cpu_ms for limit, turn in both) if all_busy else None
    return {
        "concurrency": concurrency,
        "share_of_limit": _interval(limit.cpu_ms / turn.cpu_ms for limit, turn in both),
        "share_of_threads_limit": of_threads,
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
            "loupe_requests_per_cpu_s_over_this": _interval(other.cpu_ms / loupe.cpu_ms for loupe, other in found),
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
        f"{result['architecture']} on {result['side']} px, "
        f"{result['images']} images of {result['size']} ({result['image_kb']:.0f} KB), "
        f"{result['pairs']} pairs, {result['threads']} threads on cores "
        f"{', '.join(map(str, result['cores']['contender']))} ({shared})"
    )
    say(f"median and {100 * limit['cpu_ms']['coverage']:.0f} % interval; x = times the in-process limit")
    say(
        f"in-process limit: {_cell(limit['cpu_ms'])} ms CPU an image "
        f"({limit['prepare_cpu_ms']['median']:.2f} to prepare, {limit['net_cpu_ms']['median']:.2f} in the net), "
        f"p50 {_cell(limit['p50_ms'])} ms, "
        f"{_cell(limit['rate'], 0)} images/s on one thread, {limit['memory']['peak_mb']:.0f} MB"
    )
    say(
        f"on {result['threads']} threads: {_cell(limit['threads_cpu_ms'])} ms CPU an image, "
        f"{_cell(limit['threads_rate'], 0)} images/s"
    )
    for name, server in result["servers"].items():
        _show_server(name, server, result["threads"])


def _show_server(name: str, server: dict[str, Any], threads: int) -> None:
    shares = ["share of limit", f"on {threads} threads"]
    columns = ["in flight", *shares, "CPU ms", "per CPU-s", "requests/s", "x", "p50 ms", "p99 ms"]
    rows = [
        (
            one["concurrency"],
            _cell(one["share_of_limit"]),
            "" if one["share_of_threads_limit"] is None else _cell(one["share_of_threads_limit"]),
            f"{one['cpu_ms']['median']:.2f}",
            f"{one['requests_per_cpu_s']['median']:.0f}",
            _cell(one["rate"], 0),
            f"{one['rate_over_limit']['median']:.2f}",
            _cell(one["p50_ms"], 1),
            _cell(one["p99_ms"], 1),
        )
        for one in server["closed"]
    ]
    table(f"{name}: closed loop", columns, rows)
    if "beside" in server:
        _show_beside(name, server["beside"])
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


def _show_beside(name: str, beside: Sequence[dict[str, Any]]) -> None:
    columns = ["in flight", "requests per CPU-s", "CPU", "requests/s", "p50", "p99", "Loupe's failures"]
    rows = [
        (
            one["concurrency"],
            _cell(one["loupe_requests_per_cpu_s_over_this"]),
            _cell(one["loupe_cpu_over_this"]),
            _cell(one["loupe_rate_over_this"]),
            _cell(one["loupe_p50_over_this"]),
            _cell(one["loupe_p99_over_this"]),
            one["loupe_failures"],
        )
        for one in beside
    ]
    table(f"Loupe as a multiple of {name}, in pairs", columns, rows)


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
