"""Compiled code is kept where it can be and made again where it can't."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

MODULE = """
from monitoring.compiled import compiled

@compiled(inner=True)
def double(value: float) -> float:
    return 2 * value

@compiled(long=True)
def four_times(value: float) -> float:
    return double(double(value))
"""
PROGRAM = """
import loops
found = loops.four_times(2.5)
print(found, sum(loops.four_times.stats.cache_hits.values()))
"""
FULL_DISK = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))"


def run(folder: Path, before: str = "") -> list[str]:
    """What `four_times` gave and how often it was loaded, in a process of its own."""
    (folder / "loops.py").write_text(MODULE)
    paths = os.pathsep.join([str(folder), str(Path.cwd())])
    environment = {**os.environ, "PYTHONPATH": paths, "HOME": str(folder / "home")}
    environment.pop("NUMBA_CACHE_DIR", None)
    program = [sys.executable, "-B", "-c", before + PROGRAM]
    done = subprocess.run(program, env=environment, capture_output=True, text=True, check=True, timeout=120)
    return done.stdout.split()


def kept(folder: Path) -> list[Path]:
    return sorted((folder / "__pycache__").glob("loops.*.nb?"))


def test_the_second_start_loads_what_the_first_compiled(tmp_path: Path) -> None:
    assert run(tmp_path) == ["10.0", "0"]
    assert [path.suffix for path in kept(tmp_path)] == [".nbc", ".nbi"]
    assert run(tmp_path) == ["10.0", "1"]


@pytest.mark.parametrize("suffix", [".nbc", ".nbi"])
@pytest.mark.parametrize("damage", [b"", b"\x80\x05garbage"])
def test_damaged_code_is_compiled_and_kept_again(tmp_path: Path, suffix: str, damage: bytes) -> None:
    run(tmp_path)
    for path in kept(tmp_path):
        if path.suffix == suffix:
            path.write_bytes(damage)
    assert run(tmp_path) == ["10.0", "0"]
    assert run(tmp_path) == ["10.0", "1"]


def test_without_a_folder_to_write_to_it_is_compiled_at_every_start(tmp_path: Path) -> None:
    # Not even root can make a folder below a file.
    for name in ("__pycache__", "home"):
        (tmp_path / name).write_text("")
    assert run(tmp_path) == ["10.0", "0"]
    assert run(tmp_path) == ["10.0", "0"]


def test_a_full_disk_keeps_nothing_and_stops_nothing(tmp_path: Path) -> None:
    assert run(tmp_path, FULL_DISK) == ["10.0", "0"]
    assert run(tmp_path) == ["10.0", "0"]
    assert run(tmp_path) == ["10.0", "1"]
