"""The least-squares fit of a scene, against numpy as its definition reads."""

from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from monitoring.fit import TERMS, fit

Floats = NDArray[np.float64]
Pixels = NDArray[np.uint8]


def setting(height: int, width: int, seed: int, share: float = 0.5, step: int = 1) -> tuple[Any, ...]:
    """Places, template, solver, terms and precision of no scene at all."""
    rng = np.random.default_rng(seed)
    places = np.flatnonzero(rng.random(height * width) < share).astype(np.int32)
    if places.size == 0:
        places = np.zeros(1, np.int32)
    template = rng.uniform(5, 250, places.size).astype(np.float32)
    terms = rng.normal(0, 10, (TERMS, places.size)).astype(np.float32)
    solver = np.linalg.pinv(terms.astype(np.float64).T).astype(np.float32)
    sampled = slice(0, places.size // step * step, step)
    precision = rng.uniform(0.2, 2, places.size // step).astype(np.float32)
    return places, template, solver, np.ascontiguousarray(terms[:, sampled]), precision


def found_by(image: Pixels, *scene: Any) -> Floats:
    found = np.empty(TERMS + 2)
    places, template, solver, terms, precision = scene
    fit(image, places, template, solver, terms, precision, found)
    return found


def plain_fit(image: Pixels, *scene: NDArray[np.float32], step: int = 1) -> Floats:
    places = scene[0].astype(np.int64)
    template, solver, terms, precision = (part.astype(np.float64) for part in scene[1:])
    values = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float64).ravel()[places]
    gain = max(values.sum() / template.sum(), 1e-3)
    left = values / gain - template
    amounts = solver @ left
    rest = left[::step][: precision.size] - amounts @ terms
    return np.array([np.log(gain), *amounts, np.log(gain * np.minimum(np.abs(rest * precision), 3).mean() + 0.01)])


def any_image(height: int, width: int, seed: int) -> Pixels:
    return np.random.default_rng(seed + 1).integers(0, 256, (height, width, 3)).astype(np.uint8)


@pytest.mark.parametrize("shape", [(28, 28), (31, 29), (100, 256), (256, 100), (120, 160), (256, 256)])
@pytest.mark.parametrize("step", [1, 2, 3, 7])
def test_a_fit_is_the_plain_one(shape: tuple[int, int], step: int) -> None:
    scene = setting(*shape, seed=1, step=step)
    image = any_image(*shape, seed=1)
    # Single precision, and sums of thousands of terms of any sign.
    assert found_by(image, *scene) == pytest.approx(plain_fit(image, *scene, step=step), rel=2e-4, abs=2e-4)


@given(
    height=st.integers(28, 128),
    width=st.integers(28, 128),
    seed=st.integers(0, 2**31),
    share=st.sampled_from([0.02, 0.3, 1.0]),
)
@settings(max_examples=25, deadline=None)
def test_a_fit_of_any_size_is_the_plain_one(height: int, width: int, seed: int, share: float) -> None:
    scene = setting(height, width, seed, share)
    image = any_image(height, width, seed)
    assert found_by(image, *scene) == pytest.approx(plain_fit(image, *scene), rel=1e-3, abs=1e-3)


def test_luminance_is_rounded_as_opencv_does() -> None:
    counts = np.arange(256).astype(np.uint8)
    colours = np.stack(np.meshgrid(counts[::5], counts[::5], counts), axis=-1).reshape(52 * 52, 256, 3)
    luminance = cv2.cvtColor(colours, cv2.COLOR_RGB2GRAY).astype(np.float32)
    places = np.arange(luminance.size, dtype=np.int32)
    nothing = np.zeros((TERMS, luminance.size), np.float32)
    # What is left of the image without its template is nothing only if every pixel is the same.
    found = found_by(colours, places, luminance.ravel(), nothing, nothing, np.ones(luminance.size, np.float32))
    assert found[0] == 0.0
    assert found[-1] == np.log(0.01)


@pytest.mark.parametrize("count", [0, 255])
def test_black_and_white_give_numbers(count: int) -> None:
    scene = setting(40, 50, seed=3)
    image = np.full((40, 50, 3), count, np.uint8)
    found = found_by(image, *scene)
    assert np.isfinite(found).all()
    assert found == pytest.approx(plain_fit(image, *scene), rel=2e-3, abs=2e-3)


def test_amounts_of_the_terms_are_found_in_any_light() -> None:
    rng = np.random.default_rng(6)
    amounts = rng.normal(0, 0.4, TERMS)
    places, template, solver, terms, precision = setting(64, 64, seed=4)
    # Terms that leave the mean as it is: whatever changes that counts as light.
    even = terms - terms.mean(axis=1, keepdims=True)
    solver = np.linalg.pinv(even.astype(np.float64).T).astype(np.float32)
    template = (60 + template / 4).astype(np.float32)
    for light in (0.5, 1.0, 1.5):
        pixels = np.zeros((64 * 64, 3), np.uint8)
        pixels[places] = np.round(light * (template + amounts @ even)).clip(0, 255)[:, None]
        found = found_by(pixels.reshape(64, 64, 3), places, template, solver, even, precision)
        assert found[0] == pytest.approx(np.log(light), abs=0.01)
        assert found[1:-1] == pytest.approx(amounts, abs=0.05)
