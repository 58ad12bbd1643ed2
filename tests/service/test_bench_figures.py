"""What the benchmark counts with: intervals, and other processes' CPU and memory."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binom

from service.bench.children import Child, ChildBroken
from service.bench.intervals import median_interval
from service.bench.parts import NoImages, folder_parts, write_parts
from service.bench.resources import cpu_s, divide_cores, family, family_cpu_s, family_memory, on_cores, used_cpu_s
from tests.service.painted import painted

BURN = "import time\nend = time.process_time() + {s}\nwhile time.process_time() < end: pass\nprint(flush=True)\ninput()"


@contextmanager
def python(program: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield process
        process.communicate("\n")


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


@pytest.mark.parametrize("n", range(1, 40))
def test_interval_covers_what_it_says(n: int) -> None:
    found = median_interval(np.random.default_rng(n).permutation(n))
    left_out = int(found.low)
    assert found.high == n - 1 - left_out
    assert found.median == np.median(np.arange(n))
    # The number of values under the true median is binomial.
    inside = binom.cdf(n - 1 - left_out, n, 0.5) - binom.cdf(left_out, n, 0.5)
    assert found.coverage == pytest.approx(inside, abs=1e-12)
    if n >= 6:
        assert found.coverage >= 0.95
        narrower = binom.cdf(n - 2 - left_out, n, 0.5) - binom.cdf(left_out + 1, n, 0.5)
        assert narrower < 0.95


def test_interval_of_a_skewed_distribution_holds_its_median_often_enough() -> None:
    rng = np.random.default_rng(1)
    held = [
        (i := median_interval(rng.lognormal(0, 1, 7))).low <= 1.0 <= i.high  # the median of this distribution is 1
        for _ in range(2000)
    ]
    assert np.mean(held) == pytest.approx(1 - 2 / 2**7, abs=0.01)


def test_cpu_of_another_process_is_what_it_burned() -> None:
    with python(BURN.format(s=0.5)) as process:
        said(process)
        found = cpu_s(process.pid)
        assert found >= 0.5
        # Its start costs something too; the clock in steps of 10 ms says the same.
        fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
        assert found == pytest.approx((int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK"), abs=0.05)


def test_children_count_for_their_parent() -> None:
    program = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {BURN.format(s=0.3)!r}])"
    with python(program) as process:
        said(process)
        assert len(family(process.pid)) == 2
        assert sum(family_cpu_s(process.pid).values()) >= cpu_s(process.pid) + 0.3
        memory = family_memory(process.pid)
        assert 5 < memory.now_mb <= memory.peak_mb + 1e-9


def test_a_child_that_ends_takes_nothing_off() -> None:
    program = (
        f"import subprocess, sys\nchild = subprocess.Popen([sys.executable, '-c', {BURN.format(s=0.4)!r}], stdin=-1)\n"
        "input()\nchild.communicate(b'\\n')\nprint('ended', flush=True)\n" + BURN.format(s=0.2)
    )
    with python(program) as process:
        said(process)
        before = family_cpu_s(process.pid)
        assert len(before) == 2
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
        assert [said(process), said(process)] == ["ended\n", "\n"]
        assert len(family(process.pid)) == 1
        # The child's 0.4 s, all of them before, would make this negative.
        assert 0.1 < used_cpu_s(process.pid, before) < 0.4


def test_processes_started_on_cores_stay_there() -> None:
    before = os.sched_getaffinity(0)
    one = frozenset([min(before)])
    with on_cores(one), python("import os; print(os.sched_getaffinity(0), flush=True); input()") as process:
        assert said(process).strip() == str(set(one))
    assert os.sched_getaffinity(0) == before


def test_cores_are_shared_only_where_there_are_too_few() -> None:
    available = len(os.sched_getaffinity(0))
    assert divide_cores(available).shared
    if available > 1:
        divided = divide_cores(available - 1)
        assert not divided.shared
        assert len(divided.contender) == available - 1


def test_a_child_that_dies_is_told(capfd: pytest.CaptureFixture[str]) -> None:
    with (
        Child("service.bench.limit", "/no/model", "/no/parts") as child,
        pytest.raises(ChildBroken, match="exit code 1"),
    ):
        child.ask({"kind": "whole", "seconds": 0.1, "threads": 1})
    assert "ModelFileError" in capfd.readouterr().err


def test_a_child_ends_with_its_pipes(tmp_path: Path) -> None:
    write_parts([painted()], tmp_path / "parts")
    with Child("service.bench.client", str(tmp_path / "parts")) as child:
        pid = child.pid
        time.sleep(0.1)
    assert not Path(f"/proc/{pid}").exists()


def test_parts_come_back_in_order(tmp_path: Path) -> None:
    parts = [painted(suffix, seed) for seed, suffix in enumerate((".png", ".jpg", ".tif", ".bmp"))]
    write_parts(parts, tmp_path / "parts")
    assert folder_parts(tmp_path / "parts") == parts


def test_a_large_folder_is_sampled_evenly(tmp_path: Path) -> None:
    parts = [painted(".png", seed) for seed in range(9)]
    write_parts(parts, tmp_path / "parts")
    assert folder_parts(tmp_path / "parts", 3) == [parts[0], parts[3], parts[6]]


def test_a_folder_without_images_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("no image")
    (tmp_path / "b.jpg").write_text("no image either")
    with pytest.raises(NoImages, match="no image lies under"):
        folder_parts(tmp_path)
