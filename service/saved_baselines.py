"""What the line servers of a data folder have saved of their optics monitors, read and left as it is."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from monitoring.optics import OpticsMonitor
from monitoring.sights import Sight

PATTERN = "line*/baselines/*.json"
"""Where line servers keep baselines, below the data folder."""


class BaselineMissing(LookupError):
    """No baseline is saved for a camera."""

    def __init__(self, camera: str, known: Iterable[str]) -> None:
        super().__init__(f"no baseline of camera {camera} is saved")
        names = ", ".join(sorted(set(known)))
        self.remedy = f"name one of {names}" if names else "let its line server see images first"


class BaselineUnclear(LookupError):
    """A camera has baselines of several products or lamps."""

    def __init__(self, found: Sequence[Sight]) -> None:
        products = sorted({sight.product for sight in found})
        lamps = sorted({sight.lamp for sight in found})
        several, option, names = ("products", "product", products) if len(products) > 1 else ("lamps", "lamp", lamps)
        super().__init__(f"camera {found[0].camera} has baselines of several {several}")
        self.remedy = f"name one: --{option} {' | '.join(name or repr(name) for name in names)}"


class BaselineDamaged(ValueError):
    """A saved baseline can't be read."""

    remedy = "restore it from a backup, or remove it and let the camera learn anew"

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path} can't be read: {reason}")


@dataclass(frozen=True, slots=True)
class SavedBaseline:
    """One file: of which sight, which version, the monitor's state, and when it was saved."""

    path: Path
    sight: Sight
    version: int
    state: Mapping[str, Any]
    saved_at: datetime

    def monitor(self) -> OpticsMonitor:
        """The monitor, which does at once what takes long. Raises BaselineDamaged."""
        try:
            return OpticsMonitor.from_state(self.state)
        except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError) as error:
            raise BaselineDamaged(self.path, str(error) or type(error).__name__) from error


def saved_baselines(data_dir: Path) -> tuple[list[SavedBaseline], list[BaselineDamaged]]:
    """All that are saved, by camera, product and lamp, and what can't be read."""
    found, damaged = [], []
    for path in sorted(data_dir.glob(PATTERN)):
        try:
            found.append(_read(path))
        except BaselineDamaged as error:
            damaged.append(error)
    return sorted(found, key=lambda one: one.sight), damaged


def baseline_of(
    saved: Sequence[SavedBaseline], camera: str, product: str | None = None, lamp: str | None = None
) -> SavedBaseline:
    """The one of a camera (STATION/CAMERA), and of a product and a lamp where it has several.

    Raises BaselineMissing, BaselineUnclear.
    """
    of_camera = [
        one
        for one in saved
        if one.sight.camera == camera and product in (None, one.sight.product) and lamp in (None, one.sight.lamp)
    ]
    if not of_camera:
        raise BaselineMissing(camera, (one.sight.camera for one in saved))
    if len(of_camera) > 1:
        raise BaselineUnclear([one.sight for one in of_camera])
    return of_camera[0]


def _read(path: Path) -> SavedBaseline:
    try:
        found = json.loads(path.read_text())
        state = found["state"]
        if not isinstance(state, dict):
            raise TypeError("it holds no state")
        sight = Sight(*(str(found[name]) for name in Sight._fields))
        saved_at = datetime.fromtimestamp(path.stat().st_mtime, UTC)
        return SavedBaseline(path, sight, int(found["version"]), state, saved_at)
    except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
        raise BaselineDamaged(path, str(error) or type(error).__name__) from error
