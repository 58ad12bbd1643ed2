"""The bench of the optics monitor: the same images and the same false alarms for all."""

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from service.bench import optics
from service.bench.level_detectors import CLASSIC, CameraLevels, contest, read, write
from service.bench.optics import FULL, Plan, measure, scenarios
from service.bench.optics_report import OURS, as_markdown, summary, tables
from service.cli import app
from simulation.light.cameras import CAMERAS
from simulation.light.changes import CHANGES, PART_CHANGES, RAMPS

TINY = Plan(commission=100, in_control=120, post=12, places=1, with_slow=False)


def levels(allowed: int, shift: float = 5.0) -> CameraLevels:
    """Unit noise, and scenarios that shift it."""
    rng = np.random.default_rng(0)
    still = rng.standard_normal((3, 2000))
    moved = rng.standard_normal((4, 50)) + np.array([shift, -shift, 0.0, 0.0])[:, None]
    return CameraLevels(still[0], still[1], moved, np.array([1000, 2000, 1000, 2000]), allowed)


@pytest.mark.parametrize("name", CLASSIC)
def test_a_threshold_is_the_readiest_that_costs_no_more_than_allowed(name: str) -> None:
    found = [contest(CLASSIC[name], levels(allowed)) for allowed in (0, 1, 5)]
    assert [one.false_alarms <= allowed for one, allowed in zip(found, (0, 1, 5), strict=True)] == [True] * 3
    assert found[0].threshold >= found[1].threshold >= found[2].threshold > CLASSIC[name].thresholds[0]
    readier = CLASSIC[name].thresholds[CLASSIC[name].thresholds.index(found[0].threshold) - 1]
    assert readier < found[0].threshold


@pytest.mark.parametrize("name", CLASSIC)
def test_large_shifts_are_found_and_none_is_not(name: str) -> None:
    delays = contest(CLASSIC[name], levels(0)).delays
    assert all(delay is not None and delay <= 20 for delay in delays[:2])
    assert delays[2:] == [None, None]


def test_levels_come_back_from_a_file(tmp_path: Path) -> None:
    write(tmp_path / "levels.npz", {"a": levels(2), "b": levels(0)})
    back = read(tmp_path / "levels.npz")
    assert list(back) == ["a", "b"]
    assert back["a"].allowed == 2
    assert np.array_equal(back["a"].scenarios, levels(2).scenarios)
    assert contest(CLASSIC["EWMA on level"], back["b"]).delays == contest(CLASSIC["EWMA on level"], levels(0)).delays


def test_every_change_is_made_on_every_camera_that_can_show_it() -> None:
    for camera, plan in CAMERAS.items():
        made = {(one.kind, one.name, one.happening.severity) for one in scenarios(FULL, camera)}
        names = {name for kind, name, _ in made if kind == "sudden"}
        assert names == set(CHANGES) - ({"colour_temp"} if plan.is_mono else set())
        assert {name for kind, name, _ in made if kind == "slow"} == set(RAMPS)
        assert {name for kind, name, _ in made if kind == "part"} == (set(PART_CHANGES) if plan.part else set())
        assert {severity for _, _, severity in made} == {0, 1, 2}
    assert {one.kind for one in scenarios(TINY, "labels")} == {"sudden"}


def test_contenders_are_measured_on_the_same_images() -> None:
    told: list[tuple[int, int]] = []
    runs, others = measure(TINY, ["castings"], report=lambda done, total: told.append((done, total)))
    assert told[-1][0] == told[-1][1]
    assert all(before <= after for (before, _), (after, _) in pairwise(told))
    assert set(others) == set(CLASSIC)
    result = summary(TINY, runs, others)
    assert list(result["contenders"]) == [OURS, *CLASSIC]
    ours = result["contenders"][OURS]
    assert ours["severity_3"]["scenarios"] == 10
    assert ours["severity_3"]["share"] >= 0.8
    assert "slow" not in ours
    for one in result["contenders"].values():
        assert one["false_alarms"] <= max(1, ours["false_alarms"])
        assert one["severity_1"]["scenarios"] == 10
        assert one["us"] > 0
    assert len(result["scenarios"]) == 30
    assert json.loads(json.dumps(result)) == result


def test_the_tables_hold_every_contender_change_and_camera() -> None:
    runs, others = measure(TINY, ["castings"], report=lambda done, total: None)
    result = summary(TINY, runs, others)
    contenders, changes, cameras = tables(result)
    assert [row[0] for row in contenders[2]] == [OURS, *CLASSIC]
    assert len(changes[2]) == len(CHANGES) - 1
    assert [row[0] for row in cameras[2]] == ["castings"]
    for _, heads, rows in (contenders, changes, cameras):
        assert all(len(row) == len(heads) for row in rows)
    text = as_markdown(result)
    assert sum(line.startswith("|---|") for line in text.splitlines()) == 3
    assert all(line.count("|") == text.splitlines()[2].count("|") for line in text.splitlines()[2:7])


def test_river_s_detectors_are_left_out_where_no_python_has_it(tmp_path: Path) -> None:
    fake = tmp_path / "python"
    fake.write_text("#!/bin/sh\nexit 1\n")
    fake.chmod(0o755)
    assert not optics.has_river(fake)


@pytest.mark.parametrize("options", [("--camera", "nowhere"), ("--json", "--markdown"), ("--commission", "10")])
def test_wrong_options_are_usage_errors(options: tuple[str, ...]) -> None:
    assert CliRunner().invoke(app, ["bench", "optics", *options]).exit_code == 2
