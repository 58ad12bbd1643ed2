"""labels.csv: one row a label, with a header; columns `path` and `label` are needed, the other meanings are optional.

    path,label,inspector,time,also,region,unsure,comment,occasion,severity,seconds,shift,
    group,split,lot,part_id,captured_at,mask

- `path` and `mask` are relative to the folder of the file. Several rows of one path are several labels of it.
- An empty `label` lists an image without a label.
- `time` and `captured_at` are ISO 8601; without zone they are UTC.
- `also` is separated by | or ; and `region` is x y width height in pixels, separated by blanks, commas or ;
- `unsure` is 1/yes/true or 0/no/false; `split` is train or test; `occasion` counts an inspector's looks from 0.
- `severity` is a whole number from 0, more is worse; `seconds` is how long the look took; `shift` is any text.

Other columns are not read but reported. Two rows equal in all columns are one label.
"""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from labeling.formats.delimited import Table, read_table
from labeling.formats.image_files import locate
from labeling.formats.judgements import Region, utc_time, with_occasions
from labeling.formats.listing import INSPECTOR, FoundImage, FoundLabel, Listing, Problem, WrongColumn

NAME = "labels_csv"
LOOKS_LIKE = "labels.csv"
MEANINGS = (
    "path",
    "label",
    "inspector",
    "time",
    "also",
    "region",
    "unsure",
    "comment",
    "occasion",
    "severity",
    "seconds",
    "shift",
    "group",
    "split",
    "lot",
    "part_id",
    "captured_at",
    "mask",
)

_T = TypeVar("_T")


def recognises(path: Path) -> bool:
    """Whether the path is a .csv or .tsv file, or a folder that holds labels.csv."""
    if path.is_file():
        return path.suffix.lower() in (".csv", ".tsv")
    return (path / "labels.csv").is_file()


def read(path: Path, columns: Mapping[str, str], *, labelled: bool = True) -> Listing:
    """List the images of the file, or of labels.csv in the folder. Raises BrokenListing, WrongColumn.

    `columns` gives columns another meaning than their name has: {"defect": "label"}. Where `labelled` is False the
    file may do without a label column.
    """
    path = path.resolve()
    file = path / "labels.csv" if path.is_dir() else path
    table = read_table(file)
    index = _index(file, table.header, columns, ("path", "label") if labelled else ("path",))
    problems: list[Problem] = []
    rows_by_name: dict[str, list[_Row]] = defaultdict(list)
    located: dict[str, str | Problem] = {}
    for row in _rows(file, table, index, problems):
        reference = row.cells["path"]
        if reference not in located:
            located[reference] = locate(file.parent, reference, row.where)
        name = located[reference]
        if isinstance(name, Problem):
            problems.append(replace(name, where=row.where))
        else:
            rows_by_name[name].append(row)
    images = tuple(_image(file.parent, name, rows_by_name[name], problems) for name in sorted(rows_by_name))
    aside = tuple(column for place, column in enumerate(table.header) if column and place not in index.values())
    encoding = [Problem(file.name, "is not UTF-8 and was read as Latin-1", "save it as UTF-8")]
    return Listing(NAME, file.parent, images, (*encoding[: table.guessed_encoding], *_summed_up(problems)), aside)


def _index(file: Path, header: tuple[str, ...], columns: Mapping[str, str], needed: tuple[str, ...]) -> dict[str, int]:
    """The place of each meaning in a row. A mapped column goes before one that has the meaning's own name."""
    index: dict[str, int] = {}
    for column, meaning in columns.items():
        if meaning not in MEANINGS:
            remedy = f"map to one of {', '.join(MEANINGS)}"
            raise WrongColumn(file, column, header, f"{meaning!r} is no meaning of a column", remedy)
        if meaning in index:
            raise WrongColumn(file, column, header, f"two columns are mapped to {meaning!r}", "map one of them")
        place = _place(file, header, column)
        if place is None:
            remedy = "map one of the columns that exist"
            raise WrongColumn(file, column, header, f"there is no column {column!r} to map", remedy)
        index[meaning] = place
    for meaning in MEANINGS:
        place = None if meaning in index else _place(file, header, meaning)
        if place is not None and place not in index.values():
            index[meaning] = place
        if meaning in needed and meaning not in index:
            remedy = f"say which one it is with --map COLUMN={meaning}"
            raise WrongColumn(file, meaning, header, f"there is no column {meaning!r}", remedy)
    return index


def _place(file: Path, header: tuple[str, ...], column: str) -> int | None:
    places = [place for place, name in enumerate(header) if name.lower() == column.strip().lower()]
    if len(places) > 1:
        raise WrongColumn(file, column, header, f"there are {len(places)} columns {column!r}", "rename all but one")
    return places[0] if places else None


@dataclass(frozen=True, slots=True)
class _Row:
    where: str
    cells: dict[str, str]


def _rows(file: Path, table: Table, index: dict[str, int], problems: list[Problem]) -> Iterator[_Row]:
    width = len(table.header)
    seen: dict[tuple[str, ...], int] = {}
    for line, cells in table.rows:
        where = f"{file.name}:{line}"
        if any(cells[width:]):
            what = f"the row has {len(cells)} values for {width} columns and was left out"
            problems.append(Problem(where, what, "quote values that contain the separator"))
            continue
        if len(cells) < width:
            what = f"the row has {len(cells)} values for {width} columns; the rest was taken as empty"
            problems.append(Problem(where, what, "complete the row"))
        whole = (*cells, *[""] * (width - len(cells)))[:width]
        if whole in seen:
            what = f"the row repeats line {seen[whole]} and was left out"
            problems.append(Problem(where, what, "give second looks a time or an occasion, else remove the row"))
            continue
        seen[whole] = line
        row = _Row(where, {meaning: whole[place] for meaning, place in index.items()})
        if row.cells["path"]:
            yield row
        else:
            problems.append(Problem(where, "the row has no path and was left out", "complete the row"))


def _image(root: Path, name: str, rows: list[_Row], problems: list[Problem]) -> FoundImage:
    labels: list[FoundLabel] = []
    occasions: list[int | None] = []
    given: set[tuple[str, int]] = set()
    for row in rows:
        if not row.cells.get("label"):
            continue
        label = _label(row, problems)
        occasion = _parsed(row, "occasion", _count, problems)
        if occasion is not None and (label.inspector, occasion) in given:
            what = f"occasion {occasion} of {label.inspector!r} is taken for this image; the next free one was given"
            problems.append(Problem(row.where, what, "number the looks 0, 1, 2"))
            occasion = None
        if occasion is not None:
            given.add((label.inspector, occasion))
        labels.append(label)
        occasions.append(occasion)
    return FoundImage(
        path=root / name,
        name=name,
        labels=with_occasions(labels, occasions),
        group=_agreed(rows, "group", str, problems),
        split=_agreed(rows, "split", _split, problems),
        lot=_agreed(rows, "lot", str, problems),
        part_id=_agreed(rows, "part_id", str, problems),
        captured_at=_agreed(rows, "captured_at", utc_time, problems),
        mask=_mask(root, rows, problems),
    )


def _label(row: _Row, problems: list[Problem]) -> FoundLabel:
    also = (word.strip() for word in re.split(r"[|;]", row.cells.get("also", "")))
    return FoundLabel(
        label=row.cells["label"],
        inspector=row.cells.get("inspector") or INSPECTOR,
        at=_parsed(row, "time", utc_time, problems),
        also=tuple(sorted({word for word in also if word} - {row.cells["label"]})),
        unsure=_parsed(row, "unsure", _flag, problems) or False,
        region=_parsed(row, "region", _region, problems),
        comment=row.cells.get("comment", ""),
        severity=_parsed(row, "severity", _count, problems),
        seconds=_parsed(row, "seconds", _seconds, problems),
        shift=row.cells.get("shift", ""),
    )


def _parsed(row: _Row, meaning: str, parse: Callable[[str], _T], problems: list[Problem]) -> _T | None:
    cell = row.cells.get(meaning, "")
    try:
        return parse(cell) if cell else None
    except ValueError:
        what = f"{meaning} {cell!r} can't be read and was left out"
        problems.append(Problem(row.where, what, f"write it as {_EXAMPLES[meaning]}"))
        return None


_EXAMPLES = {
    "time": "2024-03-01T08:00:00Z",
    "captured_at": "2024-03-01T08:00:00Z",
    "unsure": "yes or no",
    "region": "x y width height in pixels",
    "occasion": "0, 1, 2",
    "severity": "0, 1, 2",
    "seconds": "4.5",
    "split": "train or test",
}


def _agreed(rows: list[_Row], meaning: str, parse: Callable[[str], _T], problems: list[Problem]) -> _T | None:
    """What the rows of one image say about the image itself: the first value counts, another one is a Problem."""
    first: _T | None = None
    for row in rows:
        value = _parsed(row, meaning, parse, problems)
        if first is None:
            first = value
        elif value is not None and value != first:
            what = f"{meaning} {row.cells[meaning]!r} contradicts an earlier row of the image"
            problems.append(Problem(row.where, what, "give all rows of an image the same"))
    return first


def _mask(root: Path, rows: list[_Row], problems: list[Problem]) -> str | None:
    reference = _agreed(rows, "mask", str, problems)
    if reference is None:
        return None
    where = next(row.where for row in rows if row.cells["mask"])
    mask = locate(root, reference, where)
    if isinstance(mask, Problem):
        problems.append(mask)
        return None
    return mask


def _split(cell: str) -> str:
    if cell.lower() not in ("train", "test"):
        raise ValueError(cell)
    return cell.lower()


def _flag(cell: str) -> bool:
    if cell.lower() in ("1", "yes", "y", "true", "x"):
        return True
    if cell.lower() in ("0", "no", "n", "false"):
        return False
    raise ValueError(cell)


def _region(cell: str) -> Region:
    x, y, width, height = map(float, re.split(r"[\s,;]+", cell))
    if not all(map(math.isfinite, (x, y, width, height))) or width <= 0 or height <= 0:
        raise ValueError(cell)
    return x, y, width, height


def _count(cell: str) -> int:
    if not re.fullmatch(r"[0-9]{1,6}", cell):
        raise ValueError(cell)
    return int(cell)


def _seconds(cell: str) -> float:
    seconds = float(cell)
    if not (math.isfinite(seconds) and seconds >= 0):
        raise ValueError(cell)
    return seconds


def _summed_up(problems: list[Problem]) -> list[Problem]:
    """One Problem, at the first row, for all rows with the same fault; in the order of the file."""
    counts = Counter((problem.what, problem.remedy) for problem in problems)
    first: dict[tuple[str, str], Problem] = {}
    for problem in sorted(problems, key=lambda problem: int(problem.where.rpartition(":")[2])):
        first.setdefault((problem.what, problem.remedy), problem)
    return [
        replace(problem, what=f"{problem.what} (in {counts[fault]} rows)") if counts[fault] > 1 else problem
        for fault, problem in first.items()
    ]
