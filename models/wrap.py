"""A stranger's ONNX graph made into a model file: pixels in, probabilities out, any batch size, one file.

The graph itself is not changed. Nodes before it turn uint8 RGB tiles into what it was trained on, nodes after it turn
its scores into probabilities. Where it takes batches of one size only, that size is freed if the results stay the
same, else the graph runs in a loop. That the outcome is the same is not believed but measured.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from onnx import ModelProto

from models.assembly import assemblies
from models.card import METADATA_KEY, ModelCard
from models.classifier import CLASS_PROBABILITY, INPUT, UNLOADABLE
from models.convention import CannotWrap, Convention, Floats
from models.preprocess import Pixels
from models.stranger import (
    Plan,
    computes_in_half,
    first_line,
    lifted,
    open_session,
    own_scores,
    planned,
    sized,
    with_columns,
)

TOLERANCE = 1e-5
HALF_TOLERANCE = 1e-3
"""For graphs that compute in float16, whose last bit is worth as much."""
PROBES = 5

Direct = Callable[[Pixels], Floats]


class NotEqual(CannotWrap):
    """The wrapped graph gives other scores than the graph itself."""

    def __init__(self, difference: float, tolerance: float) -> None:
        self.difference = difference
        self.tolerance = tolerance
        super().__init__(
            f"wrapped, the graph gives scores that differ by {difference:.2g}, more than {tolerance:g}",
            "export it again with a newer opset, a dynamic batch size and in evaluation mode",
        )


@dataclass(frozen=True, slots=True)
class Wrapped:
    """A graph in its wrapping, still without a card.

    batch: how any number of images is possible: `dynamic` (it always was), `freed`, or `looped`. direct: the graph as
    it came, uint8 (N, H, W, 3) -> class probabilities (N, K). difference: the largest on the probing images.
    """

    program: ModelProto
    batch: str
    height: int
    width: int
    direct: Direct
    difference: float
    tolerance: float

    @property
    def shape_nodes(self) -> int:
        """Nodes that ask for a tensor's shape: ONNX Runtime keeps these on the CPU, which a GPU session refuses."""
        return sum(node.op_type in ("Shape", "Size") for node in self.program.graph.node)

    def with_card(self, card: ModelCard) -> bytes:
        """The model file."""
        program = ModelProto()
        program.CopyFrom(self.program)
        entry = program.metadata_props.add()
        entry.key, entry.value = METADATA_KEY, json.dumps(card.to_json(), sort_keys=True)
        return bytes(program.SerializeToString())


def wrap(
    model: ModelProto,
    convention: Convention,
    class_count: int,
    rng: np.random.Generator,
    *,
    size: tuple[int, int] | None = None,
    output: str | None = None,
) -> Wrapped:
    """Wrap a graph and measure on random images, alone and in batches, that its scores stay the same.

    size: height and width in pixels, for graphs that leave them open. output: for graphs that have several.

    Raises CannotWrap, NotEqual.
    """
    model = lifted(model)
    plan = planned(model, convention, size, output)
    session = open_session(sized(model, plan, plan.batch).SerializeToString(), "the graph can't be run")
    probes = _probes(rng, plan.height, plan.width)
    plan = with_columns(plan, model, own_scores(session, plan, probes), class_count)

    def direct(images: Pixels) -> Floats:
        return convention.probabilities(own_scores(session, plan, images).reshape(len(images), -1).astype(np.float32))

    tolerance = HALF_TOLERANCE if computes_in_half(model) else TOLERANCE
    return _first_equal(assemblies(model, plan), plan, direct, probes, tolerance)


def _probes(rng: np.random.Generator, height: int, width: int) -> Pixels:
    """(PROBES, height, width, 3): noise, which any average makes the same grey, then coarse blocks, which differ."""
    noise = rng.integers(0, 256, (1, height, width, 3)).astype(np.uint8)
    blocks = rng.integers(0, 256, (PROBES - 1, 4, 4, 3)).astype(np.uint8)
    drawn = [cv2.resize(block, (width, height), interpolation=cv2.INTER_NEAREST) for block in blocks]
    return np.concatenate([noise, np.asarray(drawn, np.uint8)])


def _first_equal(
    ways: Iterator[tuple[str, ModelProto]], plan: Plan, direct: Direct, probes: Pixels, tolerance: float
) -> Wrapped:
    expected = direct(probes)
    problem: CannotWrap = CannotWrap("the graph can't be wrapped", "export it again with a dynamic batch size")
    for name, program in ways:
        try:
            difference = _difference(program.SerializeToString(), probes, expected)
        except UNLOADABLE as error:
            problem = CannotWrap(f"wrapped, the graph fails: {first_line(error)}", "export it again with a newer opset")
            continue
        if difference <= tolerance:
            return Wrapped(program, name, plan.height, plan.width, direct, difference, tolerance)
        problem = NotEqual(difference, tolerance)
    raise problem


def _difference(content: bytes, probes: Pixels, expected: Floats) -> float:
    """The largest difference over one image, all of them, and all but one; infinite where there are not as many."""
    session = open_session(content, "the wrapped graph can't be opened")
    worst = 0.0
    for chosen in (slice(0, 1), slice(0, None), slice(1, 4)):
        found = session.run([CLASS_PROBABILITY], {INPUT: probes[chosen]})[0]
        if found.shape != expected[chosen].shape:
            return float("inf")
        worst = max(worst, largest_difference(found, expected[chosen]))
    return worst


def largest_difference(found: Floats, expected: Floats) -> float:
    """Infinite where a number is none on either side."""
    difference = np.abs(found.astype(np.float64) - expected).max(initial=0.0)
    return float(difference) if np.isfinite(difference) else float("inf")
