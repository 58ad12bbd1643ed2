import csv
from collections import Counter, defaultdict
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import simplejpeg

from simulation.dataset import FolderNotEmptyError, TeamTooSmallError, write_dataset
from simulation.inspectors import standard_team
from simulation.parts import CLASSES, PartRenderer

START = datetime(2026, 5, 4, 7, tzinfo=UTC)
TEAM = standard_team()


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def small() -> PartRenderer:
    return PartRenderer(0, 160, 120)


def write(folder: Path, renderer: PartRenderer, n: int = 40) -> Path:
    return write_dataset(folder, np.random.default_rng(11), n, 0.4, TEAM, START, renderer=renderer, repeat_rate=0.5)


def test_every_part_has_picture_truth_and_two_or_three_inspectors(tmp_path: Path, small: PartRenderer) -> None:
    labels = read(write(tmp_path / "set", small))
    truth = read(tmp_path / "set" / "truth.csv")
    assert list(labels[0]) == ["path", "label", "lot", "inspector", "time", "unsure"]
    assert list(truth[0]) == ["path", "truth", "size"]
    people: defaultdict[str, set[str]] = defaultdict(set)
    for row in labels:
        people[row["path"]].add(row["inspector"])
    assert set(people) == {row["path"] for row in truth}
    assert {len(names) for names in people.values()} == {2, 3}
    assert {row["label"] for row in labels} | {row["truth"] for row in truth} <= set(CLASSES)
    assert {row["unsure"] for row in labels} <= {"0", "1"}
    for row in truth:
        assert simplejpeg.decode_jpeg((tmp_path / "set" / row["path"]).read_bytes()).shape == (120, 160, 3)


def test_repeats_are_by_the_same_inspector_in_the_afternoon(tmp_path: Path, small: PartRenderer) -> None:
    labels = read(write(tmp_path / "set", small))
    looks = Counter((row["path"], row["inspector"]) for row in labels)
    assert set(looks.values()) == {1, 2}
    seen: set[tuple[str, str]] = set()
    for row in labels:
        at = datetime.fromisoformat(row["time"])
        assert at.utcoffset() is not None
        if (row["path"], row["inspector"]) in seen:
            assert at.hour >= 14
        seen.add((row["path"], row["inspector"]))


def test_lots_have_the_asked_size(tmp_path: Path, small: PartRenderer) -> None:
    labels = read(write(tmp_path / "set", small))
    lots = {row["path"]: row["lot"] for row in labels}
    assert Counter(lots.values()) == {"lot-0000": 25, "lot-0001": 15}


def test_same_seed_writes_the_same_files(tmp_path: Path, small: PartRenderer) -> None:
    for name in ("a", "b"):
        write(tmp_path / name, small, n=12)
    files = sorted(path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*.*"))
    assert len(files) == 14
    for file in files:
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_folder_that_holds_something_is_refused_and_left_alone(tmp_path: Path, small: PartRenderer) -> None:
    (tmp_path / "note.txt").write_text("mine")
    with pytest.raises(FolderNotEmptyError) as refused:
        write(tmp_path, small)
    assert refused.value.folder == tmp_path
    assert [path.name for path in tmp_path.iterdir()] == ["note.txt"]


def test_empty_folder_is_filled_and_nothing_else_is_left(tmp_path: Path, small: PartRenderer) -> None:
    (tmp_path / "set").mkdir()
    assert write(tmp_path / "set", small, n=5) == tmp_path / "set" / "labels.csv"
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


def test_team_of_one_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TeamTooSmallError):
        write_dataset(tmp_path / "set", np.random.default_rng(0), 5, 0.2, TEAM[:1], START)
    assert not (tmp_path / "set").exists()
