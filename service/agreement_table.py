"""The looks of an agreement study from a table, one a row."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

from labeling.formats import BrokenListing, Problem
from labeling.formats.delimited import read_table
from labeling.formats.judgements import utc_time
from service.agreement_votes import (
    ADJUDICATED,
    COLUMN,
    NONE,
    Judged,
    Said,
    WrongStudy,
    check_among,
    good_classes,
    in_order,
    judged,
    ordered,
)

COLUMNS = {
    "item": ("item", "path", "part"),
    "inspector": ("inspector", "annotator", "appraiser", "operator"),
    "label": ("label", "rating", "judgement", "assessment"),
    "occasion": ("occasion", "trial", "repeat", "repeatability"),
    "reference": ("reference", "gold", "standard", "known"),
    "part": ("part", "part_id", "group"),
    "shift": ("shift",),
    "time": ("time", "judged_at"),
}
"""Meaning -> the heads that have it, the first that is there counts; a column has one meaning."""
NEEDED = ("item", "inspector", "label")


def from_file(
    path: Path,
    *,
    columns: Mapping[str, str],
    reference: str | None = None,
    ok: Collection[str] = (),
    order: Sequence[str] = (),
    undecided: Collection[str] = (),
) -> Judged:
    """The looks of a table, one a row; heads as in COLUMNS, or as `columns` says (head -> meaning).

    reference: `column`, `none` or a file (`known_labels`); default: the column where there is one. Without occasions
    looks count up in the order of the rows. order: the classes from best to worst; default: good ones first, then by
    number or by name.

    Raises BrokenListing, WrongStudy.
    """
    table = read_table(path, NEEDED)
    place = _places(path, table.header, columns)
    rows = [{meaning: _cell(cells, at) for meaning, at in place.items()} for _, cells in table.rows]
    problems = [Problem(path.name, "is not UTF-8 and was read as Latin-1", "save it as UTF-8")] * table.guessed_encoding
    said, parts = _looks(path.name, [line for line, _ in table.rows], rows, problems)
    if reference == ADJUDICATED:
        raise WrongStudy(f"{path.name} holds no adjudications", "use --reference column, none or a file")
    known: dict[str, str] | None = None
    reference_from = ""
    if reference in (None, COLUMN):
        if "reference" in place:
            known = _agreed(path.name, ((row["item"], row["reference"]) for row in rows))
            reference_from = f"column {table.header[place['reference']]} of {path.name}"
        elif reference == COLUMN:
            raise WrongStudy(
                f"{path.name} has no column of known labels",
                f"name one {', '.join(COLUMNS['reference'])}, or say which it is: --map COLUMN=reference",
            )
        known, reference_from = (known, reference_from) if known else (None, "")
    elif reference != NONE:
        known, reference_from = known_labels(Path(reference)), Path(reference).name
    classes = ordered({one.label for one in said} | set((known or {}).values()), ok, order)
    is_ordered = bool(order) or len(classes) < 3 or all(re.fullmatch(r"[0-9]+", name) for name in classes)
    good = good_classes(classes, ok)
    check_among(undecided, classes, "--undecided")
    return judged(
        path.name,
        said,
        classes,
        is_ordered,
        [n for n, name in enumerate(classes) if name in good],
        [n for n, name in enumerate(classes) if name in set(undecided)],
        known,
        reference_from,
        parts,
        problems,
    )


def known_labels(path: Path) -> dict[str, str]:
    """What the items of a table truly are, by item: columns item (or path) and reference (or gold, label).

    Raises BrokenListing, WrongStudy.
    """
    table = read_table(path, ("item", "reference"))
    heads = [head.lower() for head in table.header]
    item = next((heads.index(name) for name in COLUMNS["item"] if name in heads), None)
    names = (*COLUMNS["reference"], *COLUMNS["label"])
    label = next((heads.index(name) for name in names if name in heads), None)
    if item is None or label is None:
        raise BrokenListing(path, 1, "has no columns item and reference", "name the columns item and reference")
    _check_single(path, table.header, (item, label))
    return _agreed(path.name, ((_cell(cells, item), _cell(cells, label)) for _, cells in table.rows))


def _places(path: Path, header: Sequence[str], columns: Mapping[str, str]) -> dict[str, int]:
    heads = [head.lower() for head in header]
    place = {}
    for head, meaning in columns.items():
        if meaning not in COLUMNS or head.lower() not in heads:
            what = f"there is no column {head!r}" if meaning in COLUMNS else f"{meaning!r} is no meaning of a column"
            raise BrokenListing(path, 1, what, f"columns are {', '.join(header)}; map them to {', '.join(COLUMNS)}")
        place[meaning] = heads.index(head.lower())
    for meaning, names in COLUMNS.items():
        found = next((heads.index(name) for name in names if name in heads), None)
        if meaning not in place and found is not None and found not in place.values():
            place[meaning] = found
    if missing := [meaning for meaning in NEEDED if meaning not in place]:
        raise BrokenListing(
            path, 1, f"has no column {' and no column '.join(missing)}", f"say which it is: --map COLUMN={missing[0]}"
        )
    _check_single(path, header, place.values())
    return place


def _check_single(path: Path, header: Sequence[str], used: Iterable[int]) -> None:
    """Raises BrokenListing where two columns have the head of one that is used: nobody knows which is meant."""
    heads = [head.lower() for head in header]
    for at in used:
        if (count := heads.count(heads[at])) > 1:
            raise BrokenListing(path, 1, f"has {count} columns {header[at]!r}", "rename all but one")


def _cell(cells: Sequence[str], at: int) -> str:
    return cells[at] if at < len(cells) else ""


def _looks(
    name: str, lines: Sequence[int], rows: Sequence[Mapping[str, str]], problems: list[Problem]
) -> tuple[list[Said], dict[str, str]]:
    trials = _numbered({row["occasion"] for row in rows if row.get("occasion")})
    seen: dict[tuple[str, str], set[int]] = {}
    said, parts = [], {}
    for line, row in zip(lines, rows, strict=True):
        where = f"{name}:{line}"
        if not all(row[meaning] for meaning in NEEDED):
            problems.append(Problem(where, "lacks item, inspector or label: left out", "complete the row"))
            continue
        taken = seen.setdefault((row["item"], row["inspector"]), set())
        occasion = trials[row["occasion"]] if row.get("occasion") else len(taken)
        if occasion in taken:
            what = f"inspector {row['inspector']} judged item {row['item']} on this occasion before: left out"
            problems.append(Problem(where, what, "give every look of an inspector an occasion of its own"))
            continue
        taken.add(occasion)
        said.append(
            Said(
                row["item"], row["inspector"], row["label"], occasion, row.get("shift", ""), _time(where, row, problems)
            )
        )
        parts[row["item"]] = row.get("part") or row["item"]
    return said, parts


def _time(where: str, row: Mapping[str, str], problems: list[Problem]) -> float | None:
    if not row.get("time"):
        return None
    try:
        return utc_time(row["time"]).timestamp()
    except ValueError:
        problems.append(Problem(where, f"time {row['time']!r} was not read", "write it as 2026-03-01T08:00"))
        return None


def _numbered(names: Collection[str]) -> dict[str, int]:
    """Numbers in their order, 2 before 10; other names by the alphabet."""
    return {name: n for n, name in enumerate(in_order(names))}


def _agreed(name: str, pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    known: dict[str, str] = {}
    for item, label in pairs:
        if label and known.setdefault(item, label) != label:
            raise WrongStudy(
                f"{name} knows item {item} as {known[item]} and as {label}", "give every item one known label"
            )
    return known
