"""One camera's stage, and its pictures: from reflectance and light over lens and sensor to eight bits."""

import cv2
import numpy as np
from numpy.typing import NDArray

from simulation.light.cameras import CameraPlan, LightPlan, PartPlan, Surface
from simulation.light.changes import Conditions, Plane
from simulation.light.textures import TEXTURES
from simulation.light.wandering import LIFE_IMAGES, Wandering

Pixels = NDArray[np.uint8]
Planes = NDArray[np.float32]

_LEVELS = 4096
_ROOM = 96
"""Pixels by which a texture is larger than what is cut from it."""
_RED, _GREEN, _BLUE = range(3)


class Stage:
    """What a camera sees; `number` tells the camera apart from all others. Pictures are functions of their number."""

    def __init__(self, plan: CameraPlan, number: int) -> None:
        rng = np.random.default_rng([31, number])
        self.plan = plan
        self.channels = 1 if plan.is_mono else 3
        self._number = number
        self._wandering = Wandering.draw(rng, plan.light)
        self._left, self._right = _lamps(plan)
        self._background = self._build_background(rng)
        self._fixture = self._build_fixture(rng)
        self._outline, self._print = _build_part(rng, plan.part)
        self._texture = _texture(rng, plan.part.surface, self._outline.shape, _ROOM) if plan.part else None
        self._grain = rng.standard_normal((self.channels, 2 * plan.height, 2 * plan.width)).astype(np.float32)
        self._signs = np.sign(rng.standard_normal(self._grain.shape)).astype(np.float32)
        shades = np.arange(_LEVELS, dtype=np.float64) / (_LEVELS - 1)
        self._codes = np.round(255 * shades ** (1 / plan.sensor.gamma)).astype(np.uint8)

    def picture(self, index: int, key: int, now: Conditions) -> Pixels:
        """The picture, uint8 (h, w, 3) RGB, of image `index` of a stream `key` under these conditions."""
        rng = np.random.default_rng([37, self._number, key, index])
        at = index % LIFE_IMAGES
        seen = self._scene(rng, at, now)
        light = self._light(rng, at, now)
        self._illuminate(seen, light, at, now)
        return self._expose(self._focus(seen, rng, now), rng, now)

    # --- what stands there ------------------------------------------------------------------------

    def _build_background(self, rng: np.random.Generator) -> Planes:
        """Reflectance, float32 (channels, h, w), larger where it moves."""
        plan = self.plan
        reach = 0 if plan.moves == "nothing" else 4 * _ROOM
        shape = (plan.height + (reach if plan.moves == "all" else 0), plan.width + reach)
        return self._coloured(_texture(rng, plan.background, shape, 0), plan.background)

    def _coloured(self, texture: Plane, surface: Surface) -> Planes:
        colours = surface.reflectance if self.channels == 3 else surface.reflectance[1:2]
        picture = np.float32(1) + np.float32(surface.contrast) * texture
        return np.stack([np.float32(colour) * picture for colour in colours])

    def _build_fixture(self, rng: np.random.Generator) -> tuple[Plane, Plane] | None:
        """Opacity and reflectance of what holds the parts, float32 (h, w)."""
        plan = self.plan
        height, width = plan.height, plan.width
        opacity, shade = np.zeros((height, width), np.float32), np.zeros((height, width), np.float32)
        if plan.fixture == "none":
            return None
        if plan.fixture == "rails":
            thick = height // 12
            for top in (height // 24, height - height // 24 - thick):
                opacity[top : top + thick] = 1
                shade[top : top + thick] = rng.uniform(0.35, 0.5)
                for x in range(int(rng.integers(8, 20)), width, int(rng.integers(34, 46))):
                    cv2.circle(shade, (x, top + thick // 2), max(2, thick // 4), float(rng.uniform(0.08, 0.15)), -1)
        else:
            edge = max(7, min(height, width) // 18)
            for x, y in ((edge, edge), (width - edge, edge), (edge, height - edge), (width - edge, height - edge)):
                cv2.circle(opacity, (x, y), edge // 2 + 1, 1.0, -1)
                cv2.circle(shade, (x, y), edge // 2 + 1, float(rng.uniform(0.45, 0.6)), -1)
                cv2.circle(shade, (x, y), max(1, edge // 5), 0.1, -1)
        return opacity, shade

    # --- one picture ------------------------------------------------------------------------------

    def _scene(self, rng: np.random.Generator, at: int, now: Conditions) -> Planes:
        """Reflectance of what is there, float32 (channels, h, w)."""
        plan = self.plan
        height, width = plan.height, plan.width
        down, right = (int(rng.integers(0, room)) for room in (4 * _ROOM, 4 * _ROOM))
        seen = self._background[:, :height, :width].copy()
        if plan.moves == "all":
            seen[:] = self._background[:, down : down + height, right : right + width]
        elif plan.moves == "belt":
            seen[:] = self._background[:, :, right : right + width]
        if plan.part is not None and self._texture is not None and rng.random() < plan.part.present:
            self._put_part(seen, plan.part, self._texture, rng, at, now)
        elif plan.part is None and rng.random() < now.defect_share:
            self._scratch(seen, rng)
        if self._fixture is not None:
            opacity, shade = self._fixture
            seen += opacity * (shade - seen)
        return seen

    def _put_part(
        self, seen: Planes, part: PartPlan, texture: Plane, rng: np.random.Generator, at: int, now: Conditions
    ) -> None:
        height, width = self._outline.shape
        down, right = (int(n) for n in rng.integers(0, _ROOM, 2))
        cut = texture[down : down + height, right : right + width]
        contrast = part.surface.contrast * self._wandering.part_contrast[at] * now.part_contrast
        surface = (1 + np.float32(contrast) * cut) * self._print
        if rng.random() < now.defect_share:
            _spoil(surface, rng)
        turn = rng.uniform(-180, 180) if part.turn_degrees >= 180 else rng.normal(0, part.turn_degrees)
        middle = np.array([self.plan.width / 2, self.plan.height / 2]) + rng.normal(0, part.jitter_px, 2)
        middle[0] += rng.uniform(-part.travel_px, part.travel_px)
        lie = cv2.getRotationMatrix2D((width / 2, height / 2), turn, 1.0)
        lie[:, 2] += middle - (width / 2, height / 2)
        size = (self.plan.width, self.plan.height)
        outline, lain = (np.asarray(cv2.warpAffine(one, lie, size), np.float32) for one in (self._outline, surface))
        red = self._wandering.part_red[at]
        colours = part.surface.reflectance if self.channels == 3 else part.surface.reflectance[1:2]
        for plane, colour, factor in zip(seen, colours, (red, 1.0, 2 - red), strict=False):
            level = np.float32(colour * factor * self._wandering.part_level[at] * now.part_level)
            plane += outline * (level * lain - plane)

    def _scratch(self, seen: Planes, rng: np.random.Generator) -> None:
        """A defect of what runs on without end."""
        start = (int(rng.integers(self.plan.width)), int(rng.integers(self.plan.height)))
        end = (start[0] + int(rng.normal(0, 30)), start[1] + int(rng.normal(0, 30)))
        mark = cv2.line(np.ones(seen.shape[1:], np.float32), start, end, float(rng.choice([0.5, 1.5])), 2)
        seen *= np.asarray(mark, np.float32)

    def _light(self, rng: np.random.Generator, at: int, now: Conditions) -> Plane:
        """Light on the scene, float32 (h, w)."""
        plan = self.plan.light
        flicker = 1 + plan.flicker * rng.standard_normal()
        left = np.float32(self._wandering.left[at] * flicker * now.lamps[0])
        right = np.float32(self._wandering.right[at] * flicker * now.lamps[1])
        light = left * self._left + right * self._right
        light += np.float32(plan.ambient)
        if now.stray is not None:
            light += now.stray
        return np.asarray(light, np.float32)

    def _illuminate(self, seen: Planes, light: Plane, at: int, now: Conditions) -> None:
        red = self._wandering.red[at]
        tints = (now.tint[_RED] * red, now.tint[_GREEN], now.tint[_BLUE] * (2 - red))
        for plane, tint in zip(seen, tints if self.channels == 3 else tints[1:2], strict=True):
            plane *= light
            plane *= np.float32(tint * self.plan.sensor.exposure)

    def _focus(self, seen: Planes, rng: np.random.Generator, now: Conditions) -> Planes:
        """What lens and glass make of it."""
        sensor = self.plan.sensor
        motion = np.eye(2, 3) if now.motion is None else now.motion.copy()
        motion[:, 2] += sensor.shake_px * rng.standard_normal(2)
        is_moved = now.motion is not None or sensor.shake_px > 0
        blur_px = float(np.hypot(sensor.blur_px, now.blur_px))
        size = (self.plan.width, self.plan.height)
        level = float(seen.mean())
        for channel, plane in enumerate(seen):
            moved = cv2.warpAffine(plane, motion, size, borderMode=cv2.BORDER_REFLECT) if is_moved else plane
            seen[channel] = cv2.GaussianBlur(moved, (0, 0), blur_px)
        if now.film is not None:
            opacity, brightness = now.film
            seen += opacity * (np.float32(brightness * level * 2) - seen)
        if now.veil > 0:
            seen *= np.float32(1 - now.veil)
            seen += np.float32(now.veil * level)
        return seen

    def _expose(self, seen: Planes, rng: np.random.Generator, now: Conditions) -> Pixels:
        """What the sensor makes of it: noise, gain, clipping and eight bits."""
        sensor = self.plan.sensor
        variance = np.maximum(seen, 0) * np.float32(1 / sensor.electrons)
        variance += np.float32((sensor.read_noise / sensor.electrons) ** 2)
        deviation = np.sqrt(variance)
        deviation *= np.float32(now.noise)
        # Each picture cuts its noise from a larger one: with signs of its own, no two of them are ever alike.
        deviation *= self._cut(self._grain, rng)
        deviation *= self._cut(self._signs, rng)
        # A dark room's camera has its gain turned up: what is told is a share of the white under full light.
        shown = (seen + deviation) * np.float32(now.gain * _amplification(sensor.exposure) * (_LEVELS - 1))
        codes = self._codes.take(shown.astype(np.int32), mode="clip")
        return np.ascontiguousarray(cv2.merge(list(codes if self.channels == 3 else codes.repeat(3, axis=0))), np.uint8)

    def _cut(self, larger: Planes, rng: np.random.Generator) -> Planes:
        height, width = self.plan.height, self.plan.width
        down, right = int(rng.integers(height)), int(rng.integers(width))
        return larger[:, down : down + height, right : right + width]


def _amplification(exposure: float) -> float:
    """A sensor that gets next to no light is turned up twice; more would only show its noise larger."""
    return 1.0 if exposure > 0.2 else 2.0


def _lamps(plan: CameraPlan) -> tuple[Plane, Plane]:
    """What each lamp gives, float32 (h, w), vignetting of the lens included."""
    light: LightPlan = plan.light
    rows, columns = np.mgrid[0 : plan.height, 0 : plan.width].astype(np.float32)
    half = max(plan.height, plan.width) / 2
    x, y = (columns - plan.width / 2) / half, (rows - plan.height / 2) / half
    vignette = 1 - np.float32(0.12) * (x * x + y * y)
    if light.from_behind:
        # Two rows of lamps behind one sheet: together they are even.
        return (
            np.asarray(vignette * np.float32(0.5) * (1 - np.float32(0.8) * x), np.float32),
            np.asarray(vignette * np.float32(0.5) * (1 + np.float32(0.8) * x), np.float32),
        )
    left, right = (np.exp(-((x - side) ** 2 + 0.4 * y * y) / 2.2) * np.exp(1 / 2.2) for side in (-1, 1))
    return (
        np.asarray(light.left * left * vignette, np.float32),
        np.asarray(light.right * right * vignette, np.float32),
    )


def _texture(rng: np.random.Generator, surface: Surface, shape: tuple[int, ...], room: int) -> Plane:
    return TEXTURES[surface.texture](rng, shape[0] + room, shape[1] + room)


def _build_part(rng: np.random.Generator, part: PartPlan | None) -> tuple[Plane, Plane]:
    """Opacity of the part, and what is printed or milled on all of them, float32 (h, w) a little larger than it."""
    if part is None:
        return np.zeros((1, 1), np.float32), np.ones((1, 1), np.float32)
    height, width = part.height_px + 4, part.width_px + 4
    opacity, marks = np.zeros((height, width), np.float32), np.ones((height, width), np.float32)
    middle = (width // 2, height // 2)
    if part.outline == "box":
        cv2.rectangle(opacity, (2, 2), (width - 3, height - 3), 1.0, -1)
        for top in range(height // 5, height - height // 6, max(6, height // 8)):
            cv2.line(marks, (width // 6, top), (int(width * rng.uniform(0.5, 0.85)), top), 0.75, 2)
    else:
        cv2.circle(opacity, middle, part.width_px // 2, 1.0, -1)
        if part.outline == "ring":
            cv2.circle(opacity, middle, part.width_px // 6, 0.0, -1)
        for angle in np.linspace(0, 2 * np.pi, 6)[:-1]:
            away = 0.34 * part.width_px * np.array([np.cos(angle), np.sin(angle)])
            cv2.circle(marks, (int(middle[0] + away[0]), int(middle[1] + away[1])), part.width_px // 22, 0.6, -1)
    return np.asarray(cv2.GaussianBlur(opacity, (0, 0), 0.7), np.float32), np.asarray(marks, np.float32)


def _spoil(surface: Plane, rng: np.random.Generator) -> None:
    """A defect: a blot or a scratch, darker or brighter."""
    height, width = surface.shape
    x, y = int(width * rng.uniform(0.2, 0.8)), int(height * rng.uniform(0.2, 0.8))
    shade = float(rng.choice([rng.uniform(0.4, 0.7), rng.uniform(1.3, 1.6)]))
    if rng.random() < 0.5:
        cv2.circle(surface, (x, y), int(rng.integers(2, 8)), shade, -1)
    else:
        end = (x + int(rng.normal(0, 25)), y + int(rng.normal(0, 25)))
        cv2.line(surface, (x, y), end, shade, int(rng.integers(1, 4)))
