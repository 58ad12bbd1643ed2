"""JSON from strangers: one error for every way it can be broken, and typed looks into it."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from labeling.formats.listing import BrokenListing

Entry = Mapping[str, Any]


def load(path: Path) -> object:
    """The parsed file. Raises BrokenListing for unreadable, undecodable or malformed files, also endless nesting."""
    remedy = "export the file again"
    try:
        return json.loads(path.read_bytes().decode("utf-8-sig"))
    except OSError as error:
        raise BrokenListing(path, None, f"can't be read ({error.strerror})", "check path and permissions") from error
    except UnicodeDecodeError as error:
        raise BrokenListing(path, None, "is not UTF-8 text", "save it as UTF-8") from error
    except json.JSONDecodeError as error:
        raise BrokenListing(path, error.lineno, f"is not valid JSON ({error.msg})", remedy) from error
    except ValueError as error:  # Python refuses to read a number of thousands of digits
        raise BrokenListing(path, None, f"is not valid JSON ({error})", remedy) from error
    except RecursionError as error:
        raise BrokenListing(path, None, "is nested too deeply", remedy) from error


def contains(path: Path, *markers: bytes) -> bool:
    """Whether all markers occur in the file's bytes: a look that a truncated file passes too, so it gets read."""
    try:
        data = path.read_bytes()
    except OSError:
        return False
    return all(marker in data for marker in markers)


def entries(value: object) -> list[Entry]:
    """The objects in a list; anything else in it, or a value that is no list, gives none."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def text(value: object) -> str:
    """A string or a whole number as stripped text, else the empty string; what no database can store is replaced."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value) if abs(value) < 10**18 else ""
    if not isinstance(value, str):
        return ""
    return value.replace("\0", "").encode("utf-8", "replace").decode().strip()  # half of a surrogate pair turns into ?


def number(value: object) -> float:
    """A finite JSON number as float. Raises ValueError."""
    if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > 1e18 or math.isnan(value):
        raise ValueError(f"{value!r} is not a number")
    return float(value)
