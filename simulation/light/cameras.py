"""The cameras of a hall: what stands before each, how it is lit, and how its sensor sees."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal


@dataclass(frozen=True, slots=True)
class Surface:
    """What something is made of: a texture of `simulation.light.textures`, its reflectance (0..1; R, G, B) and how much
    the texture changes that, as a share.
    """

    texture: str
    reflectance: tuple[float, float, float]
    contrast: float


@dataclass(frozen=True, slots=True)
class PartPlan:
    """The parts before a camera.

    outline             disc, ring or box
    width_px, height_px of the part
    jitter_px           deviation of where it comes to lie
    travel_px           it lies up to so far from the middle, along the row
    turn_degrees        deviation of its angle; a disc may lie anyhow (180)
    present             share of the images with a part
    """

    surface: Surface
    outline: Literal["disc", "ring", "box"]
    width_px: int
    height_px: int
    jitter_px: float = 1.0
    travel_px: float = 0.0
    turn_degrees: float = 0.5
    present: float = 1.0


@dataclass(frozen=True, slots=True)
class LightPlan:
    """Two lamps, left and right, and what is left of the hall's own light.

    left, right, ambient  their share of the light in the middle
    from_behind           the background shines by itself, as a back light does, and parts are shadows on it
    wobble                deviation of slow random wandering (an autoregression of first order, 0.99)
    cycle, cycle_images   half-height of the daily wave, and its length
    colour_cycle          the same of red up and blue down
    flicker               deviation from image to image
    """

    left: float = 0.5
    right: float = 0.5
    ambient: float = 0.1
    from_behind: bool = False
    wobble: float = 0.004
    cycle: float = 0.012
    cycle_images: int = 6000
    colour_cycle: float = 0.003
    flicker: float = 0.003


@dataclass(frozen=True, slots=True)
class SensorPlan:
    """The sensor and its lens.

    exposure     what a white surface under full light is of the brightest that it can tell
    electrons    at the brightest: the fewer, the more shot noise
    read_noise   electrons
    gamma        of the 8-bit picture; 1 is a straight line
    blur_px      of the lens
    shake_px     deviation of where the picture lies, from image to image
    """

    exposure: float = 0.9
    electrons: float = 12000.0
    read_noise: float = 12.0
    gamma: float = 2.2
    blur_px: float = 0.6
    shake_px: float = 0.0


@dataclass(frozen=True, slots=True)
class CameraPlan:
    """One camera; `fixture` is what holds the parts, `moves` what of the background runs on: nothing, a belt between
    the upper and the lower fifth of the picture, or all of it.
    """

    width: int
    height: int
    background: Surface
    part: PartPlan | None
    light: LightPlan = LightPlan()
    sensor: SensorPlan = SensorPlan()
    fixture: Literal["none", "rails", "pins"] = "none"
    moves: Literal["nothing", "belt", "all"] = "nothing"
    is_mono: bool = False


_IRON: Final = (0.32, 0.31, 0.30)
_STEEL: Final = (0.42, 0.43, 0.44)

CAMERAS: Final[Mapping[str, CameraPlan]] = {
    "brake_discs": CameraPlan(
        320,
        240,
        Surface("brushed_metal", (0.20, 0.21, 0.22), 0.10),
        PartPlan(Surface("value_noise", _IRON, 0.10), "ring", 176, 176, jitter_px=1.4, turn_degrees=180),
        fixture="rails",
    ),
    "labels": CameraPlan(
        200,
        256,
        Surface("weave", (0.24, 0.22, 0.18), 0.16),
        PartPlan(Surface("plain", (0.70, 0.66, 0.52), 0.03), "box", 128, 168, jitter_px=1.0, turn_degrees=0.4),
        LightPlan(left=0.7, right=0.3, cycle=0.018, cycle_images=4500, colour_cycle=0.006),
        SensorPlan(exposure=0.75, gamma=2.0, blur_px=0.8),
    ),
    "castings": CameraPlan(
        256,
        144,
        Surface("speckle", (0.16, 0.16, 0.16), 0.25),
        PartPlan(Surface("value_noise", _STEEL, 0.14), "box", 132, 84, jitter_px=2.0, turn_degrees=1.0),
        LightPlan(wobble=0.006, flicker=0.006),
        SensorPlan(electrons=900.0, read_noise=14.0, gamma=1.0, blur_px=0.5, shake_px=0.08),
        fixture="pins",
        is_mono=True,
    ),
    "steel_web": CameraPlan(
        256,
        192,
        Surface("brushed_metal", _STEEL, 0.12),
        None,
        LightPlan(left=0.45, right=0.45, ambient=0.05, cycle=0.010, flicker=0.004),
        SensorPlan(exposure=0.8, gamma=1.0, blur_px=0.7),
        moves="all",
    ),
    "bottle_necks": CameraPlan(
        144,
        256,
        Surface("plain", (0.80, 0.80, 0.80), 0.01),
        PartPlan(Surface("plain", (0.10, 0.10, 0.10), 0.05), "box", 62, 300, jitter_px=2.5, turn_degrees=0.3),
        LightPlan(from_behind=True, ambient=0.02, wobble=0.003, cycle=0.008, cycle_images=7500),
        SensorPlan(exposure=0.95, electrons=20000.0, gamma=1.8, blur_px=0.9),
        is_mono=True,
    ),
    "dark_room": CameraPlan(
        240,
        240,
        Surface("value_noise", (0.25, 0.25, 0.25), 0.15),
        PartPlan(Surface("speckle", (0.45, 0.45, 0.45), 0.20), "disc", 130, 130, jitter_px=1.0, turn_degrees=180),
        LightPlan(wobble=0.008, cycle=0.015, flicker=0.005),
        SensorPlan(exposure=0.05, electrons=4000.0, read_noise=8.0, gamma=1.6),
        fixture="pins",
        is_mono=True,
    ),
    "trays": CameraPlan(
        256,
        256,
        Surface("plain", (0.30, 0.36, 0.46), 0.06),
        PartPlan(Surface("speckle", (0.58, 0.50, 0.30), 0.15), "disc", 120, 120, jitter_px=4.0, present=0.7),
        LightPlan(left=0.4, right=0.6, cycle=0.020, cycle_images=8000, colour_cycle=0.008),
        fixture="pins",
    ),
    "conveyor": CameraPlan(
        320,
        180,
        Surface("weave", (0.10, 0.11, 0.12), 0.20),
        PartPlan(Surface("value_noise", (0.55, 0.42, 0.34), 0.08), "box", 96, 70, jitter_px=2.0, travel_px=60),
        LightPlan(left=0.55, right=0.35, ambient=0.15, flicker=0.005),
        SensorPlan(electrons=6000.0, gamma=2.2),
        fixture="rails",
        moves="belt",
    ),
}
"""By name: colour and mono, wide and tall, bright and dark; `steel_web` shows nothing that keeps still."""
