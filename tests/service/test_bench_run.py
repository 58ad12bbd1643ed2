"""`loupe bench` as a whole, much smaller than anybody would measure with."""

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from models.classifier import Classifier
from models.preprocess import Frame
from models.scoring import score
from service.bench.limit import measure_steps
from service.bench.model import POINT, export_bench_model
from service.bench.parts import rendered_parts
from service.bench.plan import Plan
from service.bench.report import show, summary
from service.bench.run import LOUPE, measure_server, prepared
from service.bench.server import STAND_INS
from service.bench.swaps import measure_swaps
from service.bench.swaps import show as show_swaps
from service.bench.swaps import summary as swaps_summary
from service.bench.without import without_each
from service.cli import app
from service.line import server as line_server

TINY = Plan(
    pairs=2,
    seconds=0.3,
    concurrencies=(1, 4),
    arrivals=("steady",),
    open_rounds=1,
    open_seconds=0.5,
    idle_seconds=1.0,
    extra_seconds=0.2,
    extra_concurrencies=(4,),
    images=20,
    commission_images=100,
)
SIZE = (320, 240)
SIDE_PX = 224
TABLE_COLUMNS = 140
DOC = (Path(__file__).parents[2] / "docs" / "performance.md").read_text()


def keys(value: Any) -> Iterator[str]:
    """Every key of a result; those of intervals and of names that are data left out."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if not key.startswith("loupe ") and key not in {"median", "low", "high", "coverage", "n"}:
                yield key
            yield from keys(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from keys(inner)


@pytest.fixture(scope="module")
def result() -> dict[str, Any]:
    with prepared(TINY, "small_cnn", SIDE_PX, SIZE, None) as bench:
        extras = [extra for extra in without_each() if "journal" in extra.name]
        measured = measure_server(bench, extras, lambda _done, _total: None)
        return summary(bench, "320x240", measured, LOUPE)


def test_nothing_fails_and_everything_is_counted(result: dict[str, Any]) -> None:
    assert set(result["servers"]) == {LOUPE, "loupe without journal"}
    for server in result["servers"].values():
        assert server["failures"] == 0
        assert server["requests"] > 0
        assert 0 < server["share_of_limit"]["median"] < 1.5
        assert all(one["loupe_failures"] == 0 for one in server.get("beside", ()))
        assert server["memory"]["peak_mb"] >= server["memory"]["now_mb"] > 0
    assert 0.9 <= result["servers"][LOUPE]["ok_share"] <= 1
    loads = [(one["arrivals"], one["load"], one["failures"]) for one in result["servers"][LOUPE]["open"]]
    assert loads == [("steady", 0.5, 0), ("steady", 0.8, 0)]


def test_shares_and_ratios_fit_together(result: dict[str, Any]) -> None:
    limit, threads = result["limit"], result["threads"]
    assert result["side"] == SIDE_PX
    steps = limit["prepare_cpu_ms"]["median"] + limit["net_cpu_ms"]["median"]
    # A loop of its own a few tenths of a second long, on a machine that may do other things too.
    assert 0.5 * limit["cpu_ms"]["median"] < steps < 1.5 * limit["cpu_ms"]["median"]
    alone, busy = result["servers"][LOUPE]["closed"]
    assert alone["share_of_threads_limit"] is None
    if threads <= busy["concurrency"]:
        assert 0 < busy["share_of_threads_limit"]["median"] < 1.5
    (beside,) = result["servers"]["loupe without journal"]["beside"]
    per_cpu_s, cpu = beside["loupe_requests_per_cpu_s_over_this"], beside["loupe_cpu_over_this"]
    assert per_cpu_s["low"] == pytest.approx(1 / cpu["high"])
    assert per_cpu_s["high"] == pytest.approx(1 / cpu["low"])


def test_result_is_json_and_every_key_is_documented(result: dict[str, Any]) -> None:
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    undocumented = {key for key in keys(result) if not re.search(rf"\b{key}\b", DOC)}
    assert undocumented == set()


def test_tables_can_be_shown(result: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    show(result)
    out = capsys.readouterr().out
    assert "share of limit" in out
    assert re.search(r"ms CPU an image \([0-9.]+ to prepare, [0-9.]+ in the net\)", out)
    assert "small_cnn on 224 px" in out
    assert "Loupe as a multiple of loupe without journal" in out
    assert max(len(line) for line in out.splitlines() if line.startswith("│")) <= TABLE_COLUMNS


def test_swaps_lose_no_part(capsys: pytest.CaptureFixture[str]) -> None:
    with prepared(TINY, "small_cnn", SIDE_PX, SIZE, None, models=2) as bench:
        result = swaps_summary(measure_swaps(bench, 6, lambda _done, _total: None, pairs=2))
    assert result["swaps"] == 6
    assert result["failures"] == result["failures_without"] == 0
    assert {key for key in keys(result) if not re.search(rf"\b{key}\b", DOC)} == set()
    show_swaps(result)
    assert "6 swaps" in capsys.readouterr().out


def test_95_percent_of_the_parts_pass(tmp_path: Path) -> None:
    parts = rendered_parts(40, *SIZE)
    export_bench_model("small_cnn", SIDE_PX, parts, tmp_path / "bench.onnx")
    classifier = Classifier(tmp_path / "bench.onnx")
    limit = classifier.card.operating_points[POINT].pass_below
    passing = [score(classifier, Frame(part.data, part.media_type)).p_defect < limit for part in parts]
    assert sum(passing) == 38


def test_what_can_be_left_out_is_a_part_of_the_line_server() -> None:
    for name, stand_in in STAND_INS.values():
        assert issubclass(stand_in, getattr(line_server, name))


def test_the_model_is_as_large_as_asked(tmp_path: Path) -> None:
    parts = rendered_parts(20, *SIZE)
    export_bench_model("small_cnn", 64, parts, tmp_path / "bench.onnx")
    classifier = Classifier(tmp_path / "bench.onnx")
    assert (classifier.card.geometry.height, classifier.card.geometry.width) == (64, 64)
    assert score(classifier, Frame(parts[0].data, parts[0].media_type)).class_probability.shape == (2,)


def test_steps_of_the_limit_add_up_to_most_of_its_time(tmp_path: Path) -> None:
    parts = rendered_parts(20, *SIZE)
    export_bench_model("small_cnn", SIDE_PX, parts, tmp_path / "bench.onnx")
    frames = [Frame(part.data, part.media_type) for part in parts]
    began = time.process_time()
    steps = measure_steps(Classifier(tmp_path / "bench.onnx"), frames, seconds=0.3)
    assert steps["images"] > 10
    assert min(steps["prepare_cpu_s"], steps["net_cpu_s"]) > 0
    assert steps["prepare_cpu_s"] + steps["net_cpu_s"] < time.process_time() - began


@pytest.mark.parametrize("side", ["0", "100", "4096"])
def test_a_side_that_no_model_has_is_refused(side: str) -> None:
    run = CliRunner().invoke(app, ["bench", "serve", "--side", side])
    assert run.exit_code == 2
    assert side in run.output


@pytest.mark.parametrize("size", ["640", "x480", "640x0", "640x480x3", "9000x9000"])
def test_a_size_that_is_none_is_refused(size: str) -> None:
    run = CliRunner().invoke(app, ["bench", "serve", "--size", size])
    assert run.exit_code == 2
    assert size in run.output
