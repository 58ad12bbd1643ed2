"""What a commissioning has learnt outlives a restart and a power cut."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from monitoring.sights import Saved, Sight
from monitoring.watch import Watch
from service.line.baselines import ASIDE, FORMER, SUFFIX, keep, restore, save
from tests.monitoring.line_light import dimmed, stream

COMMISSION = 60
STRANGE = "s1/" + "ä/..\\" * 200
"""Names come from outside."""


def watched(*cameras: tuple[str, str]) -> Watch:
    watch = Watch(COMMISSION)
    for camera, product in cameras:
        for image in stream(1, COMMISSION + 30):
            watch.observe(Sight(camera, product), image)
    return watch


def after_restart(folder: Path) -> Watch:
    watch = Watch(COMMISSION)
    restore(watch, folder)
    return watch


def files(folder: Path, suffix: str = SUFFIX) -> list[Path]:
    return sorted(folder.glob(f"*{suffix}"))


def test_every_sight_comes_back_as_it_was(tmp_path: Path) -> None:
    sights = [("s1/0", ""), ("s1/0", "housing"), (STRANGE, "part/1"), ("s2/0", "")]
    watch = watched(*sights)
    save(watch, tmp_path)
    assert len(files(tmp_path)) == len(sights)
    again = after_restart(tmp_path)
    found, expected = again.monitors(), watch.monitors()
    assert set(found) == {Sight(*sight) for sight in sights} == set(expected)
    for sight, (version, monitor) in found.items():
        assert version == 1
        assert monitor.phase == "calibrated"
        assert monitor.images == expected[sight][1].images
    assert again.summary() == {"s1/0": "ok", STRANGE: "ok", "s2/0": "ok"}


def test_only_what_has_changed_is_written_again(tmp_path: Path) -> None:
    watch = watched(("s1/0", ""), ("s2/0", ""))
    save(watch, tmp_path)
    before = {path: path.stat().st_ino for path in files(tmp_path)}
    watch.observe(Sight("s2/0"), stream(2, 1)[0])
    save(watch, tmp_path)
    # A file that is written is a new one in the place of the old one.
    assert sum(path.stat().st_ino != inode for path, inode in before.items()) == 1
    assert set(files(tmp_path)) == set(before)
    assert not files(tmp_path, ".part")


def test_an_empty_folder_and_none_at_all_are_a_first_start(tmp_path: Path) -> None:
    assert after_restart(tmp_path / "new").summary() == {}
    assert after_restart(tmp_path / "new").summary() == {}


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "null",
        "{}",
        '{"camera": "s1/0"}',
        '{"camera": "s1/0", "product": "", "lamp": "", "version": 1}',
        '{"camera": "s1/0", "product": "", "lamp": "", "version": "one", "state": {}}',
        '{"camera": "s1/0", "product": "", "lamp": "", "version": 1, "state": {}}',
        '{"camera": "s1/0", "product": "", "lamp": "", "version": 1, "state": 5}',
        '{"s1/0": {"images": 3}}',
        "[" * 100_000,
    ],
)
def test_a_damaged_file_is_put_aside_and_the_others_are_read(tmp_path: Path, content: str) -> None:
    save(watched(("s2/0", "")), tmp_path)
    (tmp_path / f"broken{SUFFIX}").write_text(content)
    assert after_restart(tmp_path).summary() == {"s2/0": "ok"}
    assert len(files(tmp_path)) == 1
    (aside,) = files(tmp_path, ASIDE)
    assert aside.read_text() == content


def test_bytes_that_are_no_text_are_put_aside(tmp_path: Path) -> None:
    (tmp_path / f"broken{SUFFIX}").write_bytes(bytes(range(256)))
    assert after_restart(tmp_path).summary() == {}
    assert len(files(tmp_path, ASIDE)) == 1


def test_a_half_written_file_is_not_read(tmp_path: Path) -> None:
    save(watched(("s1/0", "")), tmp_path)
    (path,) = files(tmp_path)
    path.with_suffix(".part").write_text(path.read_text()[:100])
    assert after_restart(tmp_path).summary() == {"s1/0": "ok"}


def test_a_former_baseline_is_kept_beside_the_present_one_and_not_taken_for_it(tmp_path: Path) -> None:
    watch = watched(("s1/0", "housing"))
    for version in (1, 2):
        (former,) = watch.intended_change("s1/0")
        keep(tmp_path, former)
        assert len(files(tmp_path, FORMER)) == version
        for image in stream(2, COMMISSION + 30, dimmed(0.2 * version)):
            watch.observe(Sight("s1/0", "housing"), image)
    save(watch, tmp_path)
    again = after_restart(tmp_path)
    assert again.monitors()[Sight("s1/0", "housing")][0] == 3
    first = json.loads(files(tmp_path, FORMER)[0].read_text())
    assert (first["camera"], first["product"], first["version"]) == ("s1/0", "housing", 1)
    taken_back = Watch(COMMISSION)
    assert taken_back.restore(Saved(Sight("s1/0", "housing"), 1, first["state"]))
    assert {taken_back.observe(Sight("s1/0", "housing"), image).state for image in stream(3, 20)} == {"ok"}


def test_an_alarm_that_stood_stands_again(tmp_path: Path) -> None:
    watch = watched(("s1/0", ""))
    for image in stream(2, 5, dimmed(0.2)):
        watch.observe(Sight("s1/0"), image)
    save(watch, tmp_path)
    (_, standing), (_, before) = (one.standing()[Sight("s1/0")] for one in (after_restart(tmp_path), watch))
    assert standing is not None
    assert before is not None
    assert standing.state() == before.state()


def test_file_is_on_disk_before_its_name_and_its_name_before_the_next(tmp_path: Path) -> None:
    strace = shutil.which("strace")
    if strace is None:
        if "strace" in os.environ.get("LOUPE_TEST_REQUIRE", ""):
            pytest.fail("strace is required and not installed")
        pytest.skip("there is no program strace")
    trace, folder = tmp_path / "trace", tmp_path / "baselines"
    folder.mkdir()
    program = (
        "from pathlib import Path; from monitoring.sights import Saved, Sight\n"
        "from service.line.baselines import _write\n"
        f"_write(Path({str(folder)!r}) / 'one.json', Saved(Sight('s1/0'), 1, {{'level': 1.5}}))"
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
