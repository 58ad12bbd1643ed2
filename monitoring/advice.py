"""What an optics alarm asks people to do: the title of its cause, what changed, and the next step in plain words."""

from collections.abc import Callable
from dataclasses import dataclass
from math import expm1
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from monitoring.diagnosis import Diagnosis
from monitoring.features import GRID
from monitoring.registration import Motion

Kind = Literal["scene", "product"]

SCENE: Final[Kind] = "scene"
"""The scene changed: clean, fix or adjust something, then what was learnt holds again."""
PRODUCT: Final[Kind] = "product"
"""The product changed: label images of it, then retrain."""

KINDS: Final[dict[Kind, str]] = {SCENE: "the scene changed", PRODUCT: "the product changed"}

_ON_PURPOSE = "If it was done on purpose, declare an intended change."
_LEAST_SHARE = 0.005
"""Changes of the light below this share are not worth a number."""
_LEAST_PX = 0.05
_LEAST_DEGREES = 0.05
_THIRD = GRID // 3
_SIDES: Final = {
    "left": (slice(None), slice(0, _THIRD)),
    "right": (slice(None), slice(-_THIRD, None)),
    "top": (slice(0, _THIRD), slice(None)),
    "bottom": (slice(-_THIRD, None), slice(None)),
}
_ROWS: Final = ("upper", "middle", "lower")
_COLUMNS: Final = ("left", "middle", "right")


@dataclass(frozen=True, slots=True)
class Advice:
    """What to say to whoever looks after the line.

    title  the cause in a few words, the same for every alarm of this cause
    kind   whether the scene or the product changed
    text   what is seen and what to do, with side, place and size as far as they are known
    """

    title: str
    kind: Kind
    text: str


@dataclass(frozen=True, slots=True)
class _Entry:
    title: str
    kind: Kind
    text: Callable[[Diagnosis], str]


def advise(diagnosis: Diagnosis) -> Advice:
    """The advice for a diagnosis; a cause that is not known is advised on as `other`.

    >>> from monitoring.registration import Motion
    >>> moved = Diagnosis("bump", np.zeros((28, 28), np.float32), 12, 9.0, motion=Motion(3.5, -1.9, 0.4))
    >>> advice = advise(moved)
    >>> advice.title, advice.kind
    ('The camera or the fixture moved', 'scene')
    >>> advice.text.split(":")[0]
    'The picture moved 3.5 px to the right and 1.9 px up and turned 0.4° clockwise'
    """
    entry = ADVICE.get(diagnosis.cause, ADVICE["other"])
    return Advice(entry.title, entry.kind, entry.text(diagnosis))


def title_of(cause: str) -> str:
    """The title of a cause, as `advise` gives it."""
    return ADVICE.get(cause, ADVICE["other"]).title


def place_of(x: float, y: float) -> str:
    """Where in the picture a point lies, given as shares of its width and height.

    >>> place_of(0.1, 0.2), place_of(0.5, 0.9), place_of(0.5, 0.5)
    ('at the upper left', 'in the lower middle', 'in the middle')
    """
    row, column = (min(2, max(0, int(3 * share))) for share in (y, x))
    if column == 1:
        return "in the middle" if row == 1 else f"in the {_ROWS[row]} middle"
    return f"in the middle of the {_COLUMNS[column]} edge" if row == 1 else f"at the {_ROWS[row]} {_COLUMNS[column]}"


def motion_of(motion: Motion) -> str:
    """How far the picture moved, in words.

    >>> motion_of(Motion(-0.02, 2.0, -1.0))
    'moved 2.0 px down and turned 1.0° anticlockwise'
    """
    sides = (
        (motion.right_px, "to the right" if motion.right_px > 0 else "to the left"),
        (motion.down_px, "down" if motion.down_px > 0 else "up"),
    )
    moved = [f"{abs(way):.1f} px {word}" for way, word in sides if abs(way) >= _LEAST_PX]
    turn = "clockwise" if motion.turn_degrees > 0 else "anticlockwise"
    turned = [f"turned {abs(motion.turn_degrees):.1f}° {turn}"] if abs(motion.turn_degrees) >= _LEAST_DEGREES else []
    return " and ".join([*([f"moved {' and '.join(moved)}"] if moved else []), *turned]) or "moved"


def _share(cells: NDArray[np.float32]) -> float:
    """How much lighter these cells became, as a share of what they were; 0 where that is not known."""
    change = expm1(float(np.median(cells)))
    return change if abs(change) >= _LEAST_SHARE else 0.0


def _percent(share: float) -> str:
    return f"about {100 * abs(share):.0f} % " if share else ""


def _lamp_dim(found: Diagnosis) -> str:
    darker = _percent(min(_share(found.heat_map), 0.0))
    return (
        f"The whole picture is {darker}darker: check the lamp's driver, its plug and its dimmer, and wipe its cover. "
        f"A lamp that fades over weeks is worn out: replace it. {_ON_PURPOSE}"
    )


def _lamp_off(found: Diagnosis) -> str:
    if found.side is None:
        return (
            "One side of the picture lacks light: check the plug and the driver of each lamp, and whether something "
            f"stands in its light. {_ON_PURPOSE}"
        )
    lamp = {"left": "left", "right": "right", "top": "upper", "bottom": "lower"}[found.side]
    darker = _percent(min(_share(found.heat_map[_SIDES[found.side]]), 0.0))
    return (
        f"The {lamp} lamp gives less light, the picture is {darker}darker on its side: check its plug and its driver, "
        f"and whether something stands in its light. {_ON_PURPOSE}"
    )


def _sunlight(found: Diagnosis) -> str:
    return (
        f"Light from elsewhere falls in{_at(found)}: close the hood, the door or the blind, and look for a lamp or a "
        f"welder nearby. {_ON_PURPOSE}"
    )


def _colour_temp(_: Diagnosis) -> str:
    return (
        "The light has another colour: check whether a lamp was replaced by one of another kind, whether daylight "
        f"falls in, and whether the camera's automatic white balance is off. {_ON_PURPOSE}"
    )


def _exposure(found: Diagnosis) -> str:
    lighter = _share(found.heat_map)
    word = "darker" if lighter < 0 else "brighter"
    return (
        f"The whole picture is {_percent(lighter)}{word}: check the camera's exposure time, gain and aperture, and "
        f"that their automatic is off; then whether a lamp was turned up. {_ON_PURPOSE}"
    )


def _soiling(found: Diagnosis) -> str:
    place = f"{_at(found)} of the picture" if found.x is not None else " in the picture"
    return (
        f"There is a spot{place}: wipe the glass and the lens there. If it stays, look for dirt on the fixture behind "
        "it, then have the sensor cleaned."
    )


def _bump(found: Diagnosis) -> str:
    moved = "moved" if found.motion is None else motion_of(found.motion)
    return (
        f"The picture {moved}: look whether the camera or the fixture was knocked, set it back and tighten its "
        "bracket. If it can't be set back, declare an intended change."
    )


def _defocus(_: Diagnosis) -> str:
    return (
        "The picture is less sharp: check that the focus ring is locked, that the distance to the part is right, and "
        f"that the lens is not fogged or greasy. {_ON_PURPOSE}"
    )


def _flicker(_: Diagnosis) -> str:
    return (
        "The brightness jumps from picture to picture: check the lamp's plug for a loose contact, its driver, and "
        "that its flash and the camera's trigger keep step."
    )


def _noise(_: Diagnosis) -> str:
    return (
        "The picture is grainier: check whether the camera's gain was raised because light is missing, whether the "
        f"camera is too hot, and whether its cable is damaged. {_ON_PURPOSE}"
    )


def _haze(_: Diagnosis) -> str:
    return (
        "A veil lies over the picture: wipe the glass and the lens, and look for steam, oil mist or dust between "
        "camera and part."
    )


def _new_batch(_: Diagnosis) -> str:
    return (
        "The parts look different while the light and the fixture look as ever: ask for a new lot, material or "
        "supplier, and whether the right product is set. Label the images that wait for it, then retrain; once that "
        "model decides, declare an intended change."
    )


def _defect_rate(found: Diagnosis) -> str:
    if found.size < 0:
        return (
            "Strangely few parts look defective, while the light and the fixture look as ever: send known defective "
            "parts through to see whether they are still found. Label the images that wait for it; if defects were "
            "missed, retrain."
        )
    return (
        "More parts than usual look defective, while the light and the fixture look as ever: look at the process. "
        "Label the images that wait for it; if they were judged wrongly, retrain."
    )


def _other(found: Diagnosis) -> str:
    return (
        f"Something changed{_at(found)} that fits no known cause: compare the pictures of before and after, and put it "
        "right. If it can't be put right, declare an intended change."
    )


def _at(found: Diagnosis) -> str:
    return "" if found.x is None or found.y is None else f" {place_of(found.x, found.y)}"


ADVICE: Final[dict[str, _Entry]] = {
    "lamp_dim": _Entry("The light is weaker", SCENE, _lamp_dim),
    "lamp_off": _Entry("A lamp on one side fails", SCENE, _lamp_off),
    "sunlight": _Entry("Light from elsewhere falls in", SCENE, _sunlight),
    "colour_temp": _Entry("The light has another colour", SCENE, _colour_temp),
    "exposure": _Entry("The picture is brighter", SCENE, _exposure),
    "soiling": _Entry("A spot in the picture", SCENE, _soiling),
    "bump": _Entry("The camera or the fixture moved", SCENE, _bump),
    "defocus": _Entry("The picture is out of focus", SCENE, _defocus),
    "flicker": _Entry("The light flickers", SCENE, _flicker),
    "noise": _Entry("The picture is grainier", SCENE, _noise),
    "haze": _Entry("A veil over the picture", SCENE, _haze),
    "new_batch": _Entry("The parts look different", PRODUCT, _new_batch),
    "defect_rate": _Entry("The share of defects changed", PRODUCT, _defect_rate),
    "other": _Entry("Something else changed", SCENE, _other),
}
"""One entry for each of `monitoring.diagnosis.CAUSES`."""
