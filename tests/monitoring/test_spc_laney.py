import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring.spc import dispersion, laney_chart, p_chart
from monitoring.spc.counts import Counts
from tests.monitoring.test_spc import JUICE

SEEN = [
    266501, 264225, 276532, 281461, 269071, 261215, 270409, 279778, 270483, 270320,
    267923, 271478, 255353, 256820, 261835, 259144, 255910, 260863, 264465, 260989,
]  # fmt: skip
ATTENDED = [
    280443, 276823, 291681, 296155, 282343, 275888, 283867, 295251, 284468, 282529,
    279618, 283932, 266629, 268091, 276803, 271578, 266005, 273520, 278574, 273772,
]  # fmt: skip
"""M. A. Mohammed, J. S. Panesar, D. B. Laney, R. Wilson, BMJ Quality & Safety 22 (2013) 362: attendances at emergency
departments in England that were seen within four hours, of all, by week."""


def test_most_of_the_emergency_weeks_leave_the_p_chart_and_none_leaves_laneys() -> None:
    assert sum("beyond_3_sigma" in names for names in p_chart(SEEN, ATTENDED).rules) == 16
    chart = laney_chart(SEEN, ATTENDED)
    assert chart.centre == pytest.approx(0.9529, abs=5e-5)
    assert not any(chart.rules)
    assert chart.dispersion.verdict == "over"
    assert chart.cautions == ()
    assert "Laney" in p_chart(SEEN, ATTENDED).cautions[0]


def test_limits_are_those_of_a_p_chart_times_the_mean_moving_range() -> None:
    """The formula of Laney (2002) step by step, in plain numbers."""
    middle = sum(SEEN) / sum(ATTENDED)
    sigma = [(middle * (1 - middle) / n) ** 0.5 for n in ATTENDED]
    z = [(k / n - middle) / s for k, n, s in zip(SEEN, ATTENDED, sigma, strict=True)]
    sigma_z = sum(abs(z[i] - z[i - 1]) for i in range(1, 20)) / 19 / 1.128
    chart = laney_chart(SEEN, ATTENDED)
    assert chart.dispersion.sigma_z == pytest.approx(sigma_z)
    assert sigma_z == pytest.approx(10.640, abs=5e-4)
    assert chart.upper_limit == pytest.approx([middle + 3 * s * sigma_z for s in sigma])
    assert chart.lower_limit == pytest.approx([middle - 3 * s * sigma_z for s in sigma])


@given(st.lists(st.integers(1, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), min_size=1))
def test_laneys_limits_never_lack_width_where_a_p_chart_has_some(counts: list[tuple[int, int]]) -> None:
    rejects, parts = zip(*counts, strict=True)
    laney, plain = laney_chart(rejects, parts), p_chart(rejects, parts)
    assert ((laney.upper_limit > laney.lower_limit) == (plain.upper_limit > plain.lower_limit)).all()
    assert np.isfinite(laney.upper_limit).all()
    assert laney.centre == plain.centre


@pytest.mark.parametrize(("rejects", "parts"), [([3], [50]), ([3, 3, 3], [50, 50, 50])])
def test_where_scatter_can_not_be_told_the_limits_are_those_of_a_p_chart_and_that_is_said(
    rejects: list[int], parts: list[int]
) -> None:
    chart = laney_chart(rejects, parts)
    assert chart.upper_limit == pytest.approx(p_chart(rejects, parts).upper_limit)
    assert any("can't tell how far subgroups scatter" in caution for caution in chart.cautions)


def drawn(rng: np.random.Generator, ratio: float, subgroups: int, parts: int = 1000, share: float = 0.05) -> Counts:
    """Counts whose variance is so many times that of chance."""
    if ratio == 1:
        return rng.binomial(parts, share, subgroups)
    spread = (parts - 1) / (ratio - 1) - 1
    return rng.binomial(parts, rng.beta(share * spread, (1 - share) * spread, subgroups))


def verdicts(ratio: float, subgroups: int) -> list[str]:
    rng = np.random.default_rng(11)
    return [p_chart(drawn(rng, ratio, subgroups), [1000] * subgroups).dispersion.verdict for _ in range(400)]


def test_scatter_by_chance_is_seldom_taken_for_more_or_less() -> None:
    assert verdicts(1, 100).count("chance") >= 380


def test_scatter_of_four_times_the_variance_is_found() -> None:
    assert verdicts(4, 24).count("over") >= 350
    assert verdicts(4, 100).count("over") == 400


@pytest.mark.parametrize("expected", [0.2, 1.0, 5.0])
def test_few_expected_rejects_are_not_taken_for_scatter(expected: float) -> None:
    rng = np.random.default_rng(12)
    found = [p_chart(rng.binomial(100, expected / 100, 60), [100] * 60).dispersion.verdict for _ in range(300)]
    assert found.count("over") + found.count("under") <= 15


def test_one_wild_subgroup_or_a_lasting_shift_is_no_scatter() -> None:
    rng = np.random.default_rng(13)
    wild, shifted = [], []
    for _ in range(200):
        counts = rng.binomial(200, 0.05, 24)
        wild.append(p_chart(np.where(np.arange(24) == 10, 32, counts), [200] * 24).dispersion.verdict)
        later = rng.binomial(200, 0.1, 24)
        shifted.append(p_chart(np.where(np.arange(24) < 12, counts, later), [200] * 24).dispersion.verdict)
    assert wild.count("over") <= 25
    assert shifted.count("over") <= 15


def test_streams_mixed_in_fixed_shares_scatter_less_than_chance() -> None:
    """Of every 100 parts, the 10 of one cavity are all rejects."""
    rng = np.random.default_rng(14)
    chart = p_chart(10 + rng.binomial(90, 0.001, 60), [100] * 60)
    assert chart.dispersion.verdict == "under"
    assert any("less than chance" in caution for caution in chart.cautions)


def test_too_few_subgroups_or_nothing_to_scatter_is_unknown() -> None:
    for rejects in ([3, 5], [0, 0, 0, 0], [50, 50, 50]):
        counts = np.array(rejects), np.full(len(rejects), 50)
        assert dispersion(*counts, 0.05).verdict == "unknown"


def test_the_orange_juice_scatters_more_than_chance_before_its_two_samples_are_explained() -> None:
    assert p_chart(JUICE, [50] * 30).dispersion.verdict == "over"
