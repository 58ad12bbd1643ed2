"""What a commissioning has learnt outlives a power cut."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest


def test_file_is_on_disk_before_its_name_and_its_name_before_the_next(tmp_path: Path) -> None:
    strace = shutil.which("strace")
    if strace is None:
        if "strace" in os.environ.get("LOUPE_TEST_REQUIRE", ""):
            pytest.fail("strace is required and not installed")
        pytest.skip("there is no program strace")
    trace, folder = tmp_path / "trace", tmp_path / "baselines"
    folder.mkdir()
    program = (
        "from pathlib import Path; from service.line.baselines import _write\n"
        f"_write(Path({str(folder)!r}), 's1/0', {{'level': 1.5}})"
    )
    command = [
        strace,
        "-f",
        "-qq",
        "-y",
        "--seccomp-bpf",
        "-e",
        "trace=fsync,rename,renameat,renameat2",
        "-o",
        str(trace),
    ]
    try:
        subprocess.run([*command, sys.executable, "-c", program], check=True, env=os.environ, capture_output=True)
    except subprocess.CalledProcessError as error:
        if "strace" in os.environ.get("LOUPE_TEST_REQUIRE", ""):
            pytest.fail(f"strace is required and can't trace: {error.stderr.decode()[-200:]}")
        pytest.skip(f"strace can't trace here: {error.stderr.decode()[-200:]}")
    calls = [line.split(maxsplit=1)[1] for line in trace.read_text().splitlines() if str(folder) in line]
    told = [re.split(r"\W", call)[0] + (" file" if ".part" in call else " folder") for call in calls]
    assert told == ["fsync file", "rename file", "fsync folder"]
    assert [path.suffix for path in folder.iterdir()] == [".json"]
