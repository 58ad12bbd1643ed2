"""How long charts of a process that has not changed run until they say it has: the figures of docs/spc.md.

Run from the top folder as `python -m tests.monitoring.spc_run_lengths`: about ten minutes. Seed 7, 3000 runs a figure
(2 % standard error), of averages 1000 (3 %).
"""

import sys
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from monitoring.spc import CHARTS, NELSON, WESTERN_ELECTRIC, p_chart
from monitoring.spc.counts import Counts, Flags
from monitoring.spc.run_rules import RULE_SETS, Zones, broken, zones

RUNS = 3000
BLOCK = 1000
ALONE = "beyond_3_sigma"


def mean_run(draw: Callable[[], Flags], runs: int = RUNS) -> float:
    """Points until the first that is told, on average; `draw` gives a block of a new run, told points True."""
    total = 0
    for _ in range(runs):
        while not (told := draw()).any():
            total += told.size
        total += int(told.argmax()) + 1
    return total / runs


def placed(k: Counts, parts: int, share: float) -> Zones:
    """Zones of counts around a known share."""
    z = (k - parts * share) / np.sqrt(parts * share * (1 - share))
    return zones(z, k, np.full(k.size, parts), share)


def told_by(found: Zones, rules: str) -> Flags:
    """Points that break a rule of the set; `ALONE` is the first rule alone."""
    if rules == ALONE:
        return broken(found, WESTERN_ELECTRIC)[ALONE]
    told: Flags = np.any(list(broken(found, rules).values()), axis=0)
    return told


def in_control(rng: np.random.Generator) -> None:
    """Charts of a known centre, by how many rejects a subgroup holds, with a shift of one sigma beside it."""
    say(
        "rejects expected | 3 sigma | WE | as in the books | Nelson | as in the books || one sigma up: 3 sigma | WE | N"
    )
    for parts, share in ((50, 0.004), (50, 0.02), (100, 0.02), (100, 0.05), (200, 0.05), (1000, 0.05), (10_000, 0.05)):
        shifted = share + float(np.sqrt(share * (1 - share) / parts))

        def run(rules: str, rate: float, books: bool, parts: int = parts, share: float = share) -> str:
            def draw() -> Flags:
                found = placed(rng.binomial(parts, rate, BLOCK), parts, share)
                return told_by(replace(found, sparse=np.zeros(BLOCK, np.bool_)) if books else found, rules)

            return f"{mean_run(draw):.0f}"

        figures = [run(ALONE, share, False)]
        figures += [run(rules, share, books) for rules in (WESTERN_ELECTRIC, NELSON) for books in (False, True)]
        figures += [run(rules, shifted, False) for rules in (ALONE, WESTERN_ELECTRIC, NELSON)]
        say(f"{parts * share:g} ({parts} parts, {100 * share:g} %) | " + " | ".join(figures))


def single_rules(rng: np.random.Generator) -> None:
    """Each rule alone, where many rejects are expected."""
    for name in dict.fromkeys(name for rules in RULE_SETS.values() for name in rules):
        rules = next(rules for rules, names in RULE_SETS.items() if name in names)

        def draw(name: str = name, rules: str = rules) -> Flags:
            return broken(placed(rng.binomial(100_000, 0.5, BLOCK), 100_000, 0.5), rules)[name]

        say(f"{name} | {mean_run(draw):.0f}")


def averages(rng: np.random.Generator) -> None:
    """The EWMA chart of a known centre, by weight; subgroups of one size, and of 20 to 180 parts."""
    say("weight | expected 1 | 5 | 50 | 5, varying size || one sigma up, expected 5")
    for weight in (0.05, 0.1, 0.2, 0.4, 1.0):

        def run(parts: int, share: float, rate: float, vary: bool = False, weight: float = weight) -> str:
            def draw() -> Flags:
                n = rng.integers(parts // 5, 2 * parts - parts // 5 + 1, BLOCK) if vary else np.full(BLOCK, parts)
                chart = CHARTS["ewma"](rng.binomial(n, rate), n, centre=share, weight=weight)
                return np.array([bool(names) for names in chart.rules])

            return f"{mean_run(draw, RUNS // 3):.0f}"

        shifted = 0.05 + float(np.sqrt(0.05 * 0.95 / 100))
        say(
            f"{weight:g} | {run(50, 0.02, 0.02)} | {run(100, 0.05, 0.05)} | {run(1000, 0.05, 0.05)} | "
            f"{run(100, 0.05, 0.05, True)} || {run(100, 0.05, shifted)}"
        )


def scattered(rng: np.random.Generator) -> None:
    """Rates that differ from subgroup to subgroup: a p chart of the true centre, and p′ with limits from a baseline."""
    say("variance ratio | p, 3 sigma | p, WE | p′ of 25 subgroups, 3 sigma, median | p′ of 100, median | p′ known, WE")
    parts, share = 1000, 0.05
    for ratio in (1.0, 1.2, 2.0, 4.0):
        rho = (ratio - 1) / (parts - 1)

        def counts(size: int, rho: float = rho) -> Counts:
            if rho == 0:
                return rng.binomial(parts, share, size)
            a, b = share * (1 / rho - 1), (1 - share) * (1 / rho - 1)
            return rng.binomial(parts, rng.beta(a, b, size))

        def known(rules: str, sigma_z: float, counts: Callable[[int], Counts] = counts) -> str:
            def draw() -> Flags:
                found = placed(counts(BLOCK), parts, share)
                return told_by(replace(found, z=found.z / sigma_z), rules)

            return f"{mean_run(draw):.0f}"

        def learnt(subgroups: int, counts: Callable[[int], Counts] = counts) -> str:
            runs = []
            for _ in range(RUNS):
                k = np.concatenate([counts(subgroups), counts(3 * BLOCK)])
                chart = CHARTS["laney"](k, np.full(k.size, parts), baseline=subgroups)
                outside = (chart.value < chart.lower_limit) | (chart.value > chart.upper_limit)
                later = outside[subgroups:]
                runs.append(int(later.argmax()) + 1 if later.any() else later.size)
            return f"{np.median(runs):.0f}"

        say(
            f"{ratio:g} | {known(ALONE, 1.0)} | {known(WESTERN_ELECTRIC, 1.0)} | {learnt(25)} | {learnt(100)} | "
            f"{known(WESTERN_ELECTRIC, float(np.sqrt(ratio)))}"
        )


def verdicts(rng: np.random.Generator) -> None:
    """How often the test of scatter says `over`: by chance, and where it should."""
    say("variance ratio | subgroups | over | under")
    parts, share = 1000, 0.05
    for ratio in (1.0, 2.0, 4.0):
        for subgroups in (24, 100):
            found = []
            for _ in range(RUNS):
                rate: float | np.ndarray[tuple[int], np.dtype[np.float64]] = share
                if ratio > 1:
                    spread = (parts - 1) / (ratio - 1) - 1
                    rate = rng.beta(share * spread, (1 - share) * spread, subgroups)
                k = rng.binomial(parts, rate, subgroups)
                found.append(p_chart(k, np.full(subgroups, parts)).dispersion.verdict)
            over, under = (100 * found.count(verdict) / RUNS for verdict in ("over", "under"))
            say(f"{ratio:g} | {subgroups} | {over:.1f} % | {under:.1f} %")


def say(text: str) -> None:
    """A line, at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    for measure in (in_control, single_rules, averages, scattered, verdicts):
        say(f"\n{measure.__name__}: {measure.__doc__}")
        measure(np.random.default_rng(7))
