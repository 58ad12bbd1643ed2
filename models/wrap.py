"""A stranger's ONNX graph made into a model file: pixels in, probabilities out, any batch size, one file.

The graph itself is not changed. Nodes before it turn uint8 RGB tiles into what it was trained on, nodes after it turn
its scores into probabilities. Where it takes batches of one size only, that size is freed if the results stay the
same, else the graph runs in a loop. That the outcome is the same is not believed but measured.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import onnxruntime as ort
from google.protobuf.message import DecodeError  # type: ignore[import-untyped] # it publishes no type information
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, compose, helper, numpy_helper
from onnx import version_converter as opset_versions

from models.card import METADATA_KEY, ModelCard
from models.classifier import CLASS_PROBABILITY, CPU, INPUT, OPENING, UNLOADABLE
from models.evaluation import Interval, grouped_proportion
from models.preprocess import Frame, Pixels, UnreadableImage

LAYOUTS = ("nchw", "nhwc")
COLOURS = ("rgb", "bgr", "grey")
ACTIVATIONS = ("softmax", "sigmoid", "none")
TOLERANCE = 1e-5
HALF_TOLERANCE = 1e-3
"""For graphs that compute in float16, whose last bit is worth as much."""
OLDEST_OPSET = 13
"""From here on the operators used around the graph have the form that they still have."""
LIFTED_OPSET = 17
LARGEST_BYTES = 2**31 - 1
PROBES = 5
PREFIX = "stranger/"

# OpenCV's COLOR_RGB2GRAY on uint8, in whole numbers: every partial sum is exact in float32.
GREY_WEIGHTS = (9798.0, 19235.0, 3735.0)
GREY_ONE = 32768.0

Floats = NDArray[np.float32]
Direct = Callable[[Pixels], Floats]
INPUT_TYPES: dict[int, type[np.generic]] = {
    TensorProto.FLOAT: np.float32,
    TensorProto.FLOAT16: np.float16,
    TensorProto.DOUBLE: np.float64,
    TensorProto.UINT8: np.uint8,
}


class CannotWrap(ValueError):
    """The graph can't be made into a model file as it was described."""

    def __init__(self, what: str, remedy: str) -> None:
        self.what = what
        self.remedy = remedy
        super().__init__(f"{what}; {remedy}")


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
class Convention:
    """How a graph wants its pixels and gives its scores: (pixel / scale - mean) / std, and what follows its output.

    mean, std: one number, or one a channel in the graph's own order. layout, colour, activation: of LAYOUTS, COLOURS,
    ACTIVATIONS; none where the output is probabilities already.

    Raises CannotWrap.
    """

    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    scale: float = 255.0
    layout: str = "nchw"
    colour: str = "rgb"
    activation: str = "softmax"

    def __post_init__(self) -> None:
        """Refuse what no graph can mean."""
        for name, value, known in (
            ("layout", self.layout, LAYOUTS),
            ("colour", self.colour, COLOURS),
            ("activation", self.activation, ACTIVATIONS),
        ):
            if value not in known:
                raise CannotWrap(f"the {name} {value!r} is unknown", f"name one of {', '.join(known)}")
        for name, values in (("mean", self.mean), ("std", self.std)):
            if len(values) not in (1, self.channels):
                raise CannotWrap(
                    f"{name} has {len(values)} numbers, colour {self.colour} has {self.channels} channels",
                    f"give one number, or {self.channels}",
                )
        numbers = (*self.mean, *self.std, self.scale)
        if not np.isfinite(numbers).all() or min(*self.std, self.scale) <= 0:
            raise CannotWrap(
                f"mean {self.mean}, std {self.std} and scale {self.scale} can't be applied",
                "give finite numbers, std and scale above 0",
            )

    @property
    def channels(self) -> int:
        """That the graph sees."""
        return 1 if self.colour == "grey" else 3

    @property
    def changes_values(self) -> bool:
        """Whether pixels are scaled or shifted at all."""
        return self.scale != 1 or any(self.mean) or any(one != 1 for one in self.std)

    def apply(self, images: Pixels) -> Floats:
        """uint8 (N, H, W, 3) RGB -> what the graph wants, float32, in plain numpy."""
        if self.colour == "grey":
            grey = np.stack([cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in images])
            values = grey[..., None].astype(np.float32)
        else:
            values = (images[..., ::-1] if self.colour == "bgr" else images).astype(np.float32)
        mean, std = np.array(self.mean, np.float32), np.array(self.std, np.float32)
        values = (values / np.float32(self.scale) - mean) / std
        return np.ascontiguousarray(values.transpose(0, 3, 1, 2) if self.layout == "nchw" else values)

    def probabilities(self, scores: Floats) -> Floats:
        """The graph's output (N, K) -> class probabilities (N, max(K, 2)), in plain numpy.

        One column is the probability of the second class. Independent ones are divided by their sum where that is
        above 1; where it is below, what is missing counts as defect.
        """
        values = scores.astype(np.float64)
        if self.activation == "softmax":
            values = np.exp(values - values.max(axis=1, keepdims=True))
            values = values / values.sum(axis=1, keepdims=True)
        elif self.activation == "sigmoid":
            values = 1.0 / (1.0 + np.exp(-values))
        if values.shape[1] == 1:
            values = np.concatenate([1.0 - values, values], axis=1)
        elif self.activation != "softmax":
            values = values / np.maximum(values.sum(axis=1, keepdims=True), 1.0)
        return values.astype(np.float32)

    def to_json(self) -> dict[str, Any]:
        """The fields."""
        return {
            "mean": list(self.mean),
            "std": list(self.std),
            "scale": self.scale,
            "layout": self.layout,
            "colour": self.colour,
            "activation": self.activation,
        }


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


@dataclass(frozen=True, slots=True)
class _Port:
    """One end of the graph."""

    name: str
    kind: int
    dims: tuple[int | None, ...]


@dataclass(frozen=True, slots=True)
class _Plan:
    """What the nodes around the graph must know. columns: of the graph's output. flat: it is (N, columns) already."""

    convention: Convention
    entry: _Port
    exit: _Port
    height: int
    width: int
    columns: int
    flat: bool

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of one image as the graph wants it."""
        channels = self.convention.channels
        nchw = self.convention.layout == "nchw"
        return (channels, self.height, self.width) if nchw else (self.height, self.width, channels)

    @property
    def batch(self) -> int | None:
        """The one batch size that the graph takes; None: any."""
        return self.entry.dims[0]


# --- reading --------------------------------------------------------------------------------------


def read_graph(path: Path) -> ModelProto:
    """The ONNX model of a file, with the weights of its side files inside.

    Raises CannotWrap.
    """
    try:
        model = onnx.load(path)
    except FileNotFoundError as error:
        missing = Path(error.filename or path)
        remedy = "check the path" if missing == path else f"put the side file beside {path.name}"
        raise CannotWrap(f"{missing} is not there", remedy) from error
    except (OSError, DecodeError, ValueError, onnx.checker.ValidationError) as error:
        said = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CannotWrap(
            f"{path} can't be read as ONNX: {said}", "export it again; side files lie beside it"
        ) from error
    if not model.graph.node:
        raise CannotWrap(f"{path} holds no ONNX graph", "name an .onnx file")
    if any(entry.key == METADATA_KEY for entry in model.metadata_props):
        raise CannotWrap(f"{path} is a model file of Loupe already", "use it as it is: loupe predict --model FILE")
    if model.ByteSize() > LARGEST_BYTES:
        size = f"{model.ByteSize() / 1e9:.1f} GB"
        raise CannotWrap(f"{path} is {size} with its side files; one ONNX file holds 2 GB", "export it in float16")
    return model


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
    model = _lifted(model)
    entry = _entry(model.graph)
    height, width = _sides(entry, convention, size)
    exits = [_port(value) for value in model.graph.output]
    plan = _Plan(convention, entry, _exit(exits, output), height, width, 0, False)
    session = _session(_sized(model, plan, plan.batch).SerializeToString(), "the graph can't be run")
    probes = _probes(rng, height, width)
    raw = _raw(session, plan, probes)
    plan = replace(plan, columns=_columns(raw, class_count), flat=raw.ndim == 2)
    last = next((node.op_type for node in model.graph.node if plan.exit.name in node.output), "")
    _check_scores(raw.reshape(PROBES, -1), convention, last)

    def direct(images: Pixels) -> Floats:
        return convention.probabilities(_raw(session, plan, images).reshape(len(images), -1).astype(np.float32))

    tolerance = HALF_TOLERANCE if _computes_in_half(model) else TOLERANCE
    return _first_equal(_candidates(model, plan), plan, direct, probes, tolerance)


def _probes(rng: np.random.Generator, height: int, width: int) -> Pixels:
    """(PROBES, height, width, 3): noise, which any average makes the same grey, then coarse blocks, which differ."""
    noise = rng.integers(0, 256, (1, height, width, 3)).astype(np.uint8)
    blocks = rng.integers(0, 256, (PROBES - 1, 4, 4, 3)).astype(np.uint8)
    drawn = [cv2.resize(block, (width, height), interpolation=cv2.INTER_NEAREST) for block in blocks]
    return np.concatenate([noise, np.asarray(drawn, np.uint8)])


def _first_equal(
    candidates: Iterator[tuple[str, ModelProto]], plan: _Plan, direct: Direct, probes: Pixels, tolerance: float
) -> Wrapped:
    expected = direct(probes)
    problem: CannotWrap = CannotWrap("the graph can't be wrapped", "export it again with a dynamic batch size")
    for name, program in candidates:
        try:
            difference = _difference(program.SerializeToString(), probes, expected)
        except UNLOADABLE as error:
            problem = CannotWrap(f"wrapped, the graph fails: {_line(error)}", "export it again with a newer opset")
            continue
        if difference <= tolerance:
            return Wrapped(program, name, plan.height, plan.width, direct, difference, tolerance)
        problem = NotEqual(difference, tolerance)
    raise problem


def _difference(content: bytes, probes: Pixels, expected: Floats) -> float:
    """The largest difference over one image, all of them, and all but one; infinite where there are not as many."""
    session = _session(content, "the wrapped graph can't be opened")
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


def _session(content: bytes, what: str) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.log_severity_level = 4  # an attempt that fails is tried another way, or reported as one sentence
    options.intra_op_num_threads = 1
    try:
        return ort.InferenceSession(content, options, providers=[CPU])
    except OPENING as error:
        raise CannotWrap(f"{what}: {_line(error)}", "export it again with another opset") from error


def _line(error: Exception) -> str:
    return str(error).splitlines()[0][:300] if str(error) else type(error).__name__


def _lifted(model: ModelProto) -> ModelProto:
    """With an opset that the operators around the graph fit."""
    version = max((one.version for one in model.opset_import if one.domain in ("", "ai.onnx")), default=0)
    if version >= OLDEST_OPSET:
        return model
    try:
        return opset_versions.convert_version(model, LIFTED_OPSET)
    except (RuntimeError, ValueError) as error:
        raise CannotWrap(
            f"the graph has opset {version} and can't be lifted: {_line(error)}",
            f"export it again with opset {OLDEST_OPSET} or newer",
        ) from error


def _port(value: ValueInfoProto) -> _Port:
    tensor = value.type.tensor_type
    dims = tuple(dim.dim_value if dim.HasField("dim_value") and dim.dim_value > 0 else None for dim in tensor.shape.dim)
    return _Port(value.name, tensor.elem_type, dims)


def _entry(graph: GraphProto) -> _Port:
    constants = {tensor.name for tensor in graph.initializer}
    inputs = [_port(value) for value in graph.input if value.name not in constants]
    if len(inputs) != 1:
        names = ", ".join(port.name for port in inputs) or "none"
        raise CannotWrap(f"the graph has {len(inputs)} inputs ({names})", "export it with the image as its only input")
    entry = inputs[0]
    if entry.kind not in INPUT_TYPES:
        kind = TensorProto.DataType.Name(entry.kind).lower()
        raise CannotWrap(f"the graph's input {entry.name} is of type {kind}", "export it with a float32 input")
    if len(entry.dims) != 4:
        raise CannotWrap(
            f"the graph's input {entry.name} has rank {len(entry.dims)}, an image batch has 4",
            "export it with an input (N, C, H, W) or (N, H, W, C)",
        )
    return entry


def _exit(exits: Sequence[_Port], wanted: str | None) -> _Port:
    names = ", ".join(port.name for port in exits)
    if wanted is None and len(exits) != 1:
        raise CannotWrap(f"the graph has {len(exits)} outputs ({names})", "name the one with the scores: --output NAME")
    found = [port for port in exits if wanted in (None, port.name)]
    if not found:
        raise CannotWrap(f"the graph has no output {wanted}", f"name one of {names}")
    return found[0]


def _sides(entry: _Port, convention: Convention, size: tuple[int, int] | None) -> tuple[int, int]:
    _, *rest = entry.dims
    channels, height, width = rest if convention.layout == "nchw" else (rest[2], rest[0], rest[1])
    shape = list(entry.dims)
    if channels not in (None, convention.channels):
        raise CannotWrap(
            f"the graph's input {shape} has {channels} channels in layout {convention.layout}, "
            f"colour {convention.colour} has {convention.channels}",
            "check --layout and --colour",
        )
    if convention.changes_values and entry.kind == TensorProto.UINT8:
        raise CannotWrap("the graph takes whole pixels (uint8)", "give --scale 1, --mean 0 and --std 1")
    for side, wanted in zip((height, width), size or (None, None), strict=True):
        if side is None and wanted is None:
            raise CannotWrap(f"the graph's input {shape} leaves the size open", "give the trained size: --size HxW")
        if side is not None and wanted not in (None, side):
            raise CannotWrap(f"the graph takes {height} × {width} pixels, not {size}", "leave --size out")
    given = size or (0, 0)
    return height or given[0], width or given[1]


def _raw(session: ort.InferenceSession, plan: _Plan, images: Pixels) -> NDArray[Any]:
    """The graph's own output for images that numpy has normalised, as many at once as it takes."""
    values = plan.convention.apply(images).astype(INPUT_TYPES[plan.entry.kind])
    step = plan.batch or 1
    found = []
    for start in range(0, len(values), step):
        chunk = values[start : start + step]
        filled = np.concatenate([chunk, np.repeat(chunk[-1:], step - len(chunk), axis=0)])
        try:
            output = session.run([plan.exit.name], {plan.entry.name: filled})[0]
        except UNLOADABLE as error:
            raise CannotWrap(f"the graph can't be run: {_line(error)}", "check --size and --layout") from error
        output = np.asarray(output)
        if output.ndim == 0 or len(output) != step:
            raise CannotWrap(
                f"the graph answers {step} images with an output of shape {list(output.shape)}",
                "its output must be one row of scores an image",
            )
        found.append(output[: len(chunk)])
    return np.concatenate(found)


def _columns(raw: NDArray[Any], class_count: int) -> int:
    """Of an output that has one row an image: (N, K), (N,), or (N, K, 1, 1)."""
    columns = int(np.prod(raw.shape[1:]))
    if raw.ndim > 2 and max(raw.shape[2:]) > 1:
        raise CannotWrap(
            f"the graph's output has shape {['N', *raw.shape[1:]]}: not one score a class",
            "import a classifier; maps and boxes are not taken",
        )
    if not np.issubdtype(raw.dtype, np.floating):
        raise CannotWrap(f"the graph's output is {raw.dtype}", "export it with the scores as output, not the winner")
    wanted = 2 if columns == 1 else columns
    if class_count != wanted:
        said = "one score, which stands for two classes" if columns == 1 else f"{columns} scores"
        raise CannotWrap(f"the graph gives {said}; {class_count} classes are named", "name them all, in its order")
    return columns


def _check_scores(raw: NDArray[Any], convention: Convention, last: str) -> None:
    """The usual slips: probabilities that are squashed twice, and logits taken for probabilities.

    last: the operator that gives the output.
    """
    values = raw.astype(np.float64)
    columns = values.shape[1]
    if not np.isfinite(values).all():
        raise CannotWrap("the graph gives scores that are no numbers", "check --scale, --mean and --std")
    in_range = bool((values >= -1e-6).all() and (values <= 1 + 1e-6).all())
    sums_to_one = columns > 1 and bool(np.abs(values.sum(axis=1) - 1).max() < 1e-3)
    if convention.activation == "none":
        if not in_range or not (columns == 1 or sums_to_one or last == "Sigmoid"):
            raise CannotWrap("the graph's output is no probabilities", "give --activation softmax or sigmoid")
    elif convention.activation == "softmax" and columns == 1:
        raise CannotWrap("softmax of a single score is always 1", "give --activation sigmoid, or none")
    elif last in ("Sigmoid", "Softmax") or (in_range and sums_to_one):
        raise CannotWrap("the graph's output is probabilities already", "give --activation none")


def _computes_in_half(model: ModelProto) -> bool:
    kinds = {tensor.data_type for tensor in model.graph.initializer}
    return TensorProto.FLOAT16 in kinds or _entry(model.graph).kind == TensorProto.FLOAT16


# --- building -------------------------------------------------------------------------------------


def _candidates(model: ModelProto, plan: _Plan) -> Iterator[tuple[str, ModelProto]]:
    """Ways to take any number of images, the quickest first."""
    freed = _prefixed(_sized(model, plan, None))
    yield "dynamic" if plan.batch is None else "freed", _assembled(freed, plan, list(freed.graph.node), 0)
    if plan.batch is not None:
        reshaped = _prefixed(_sized(_without_batch_in_reshapes(model, plan.batch), plan, None))
        yield "freed", _assembled(reshaped, plan, list(reshaped.graph.node), 0)
    step = plan.batch or 1
    inner = _prefixed(_sized(model, plan, step))
    yield "looped", _assembled(inner, plan, _loop(inner, plan, step), step)


def _sized(model: ModelProto, plan: _Plan, batch: int | None) -> ModelProto:
    """The graph with its input's sides fixed and a batch of this size, or of any; shapes noted within are dropped."""
    sized = ModelProto()
    sized.CopyFrom(model)
    del sized.graph.value_info[:]
    constants = {tensor.name for tensor in sized.graph.initializer}
    inputs = [value for value in sized.graph.input if value.name not in constants]
    del sized.graph.input[:]
    sized.graph.input.extend(inputs)
    dims = ["N" if batch is None else batch, *plan.shape]
    inputs[0].CopyFrom(helper.make_tensor_value_info(plan.entry.name, plan.entry.kind, dims))
    del sized.graph.input[:]
    sized.graph.input.extend(inputs)
    for value in sized.graph.output:
        value.type.tensor_type.ClearField("shape")
    return sized


def _without_batch_in_reshapes(model: ModelProto, batch: int) -> ModelProto:
    """With every Reshape to a constant shape that begins with the batch size keeping its first dimension instead.

    Exporters write a flattening so. Where this is wrong, the comparison finds out.
    """
    changed = ModelProto()
    changed.CopyFrom(model)
    shapes = _constants(changed.graph)
    for number, node in enumerate(changed.graph.node):
        shape = shapes.get(node.input[1]) if node.op_type == "Reshape" and len(node.input) == 2 else None
        if shape is None or shape.ndim != 1 or len(shape) < 2 or shape[0] != batch or 0 in shape:
            continue
        name = f"kept_batch_{number}"
        changed.graph.initializer.append(numpy_helper.from_array(np.array([0, *shape[1:]], np.int64), name))
        node.input[1] = name
        kept = [attribute for attribute in node.attribute if attribute.name != "allowzero"]
        del node.attribute[:]
        node.attribute.extend(kept)
    return changed


def _constants(graph: GraphProto) -> dict[str, NDArray[Any]]:
    """The whole-number constants, which shapes are."""
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            tensors[node.output[0]] = node.attribute[0].t
    return {
        name: numpy_helper.to_array(tensor) for name, tensor in tensors.items() if tensor.data_type == TensorProto.INT64
    }


def _prefixed(model: ModelProto) -> ModelProto:
    """With every name its own, so that none can meet a name of the wrapping."""
    try:
        return compose.add_prefix(model, PREFIX)
    except (ValueError, TypeError, KeyError) as error:
        raise CannotWrap(f"the graph's names can't be changed: {error}", "export it again") from error


class _Nodes:
    """Nodes and constants in the order in which they are added; each call gives the name of the result."""

    def __init__(self) -> None:
        self.nodes: list[NodeProto] = []
        self.constants: list[TensorProto] = []

    def constant(self, value: Any, kind: Any) -> str:
        name = f"loupe/constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value, kind), name))
        return name

    def add(self, operator: str, *inputs: str, output: str | None = None, **attributes: Any) -> str:
        name = output or f"loupe/{operator.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, list(inputs), [name], **attributes))
        return name


def _assembled(inner: ModelProto, plan: _Plan, middle: list[NodeProto], step: int) -> ModelProto:
    """Before, middle, after. step: images at once in a loop; 0 where the graph stands in the open."""
    before, after = _Nodes(), _Nodes()
    _pixels_in(before, plan, step)
    # Counted on, so that the names after the graph differ from those before it.
    after.nodes, after.constants = list(before.nodes), list(before.constants)
    first = len(after.nodes)
    _probabilities_out(after, plan, step)
    nodes = [*before.nodes, *middle, *after.nodes[first:]]
    columns = max(plan.columns, 2)
    graph = helper.make_graph(
        nodes,
        "imported",
        [helper.make_tensor_value_info(INPUT, TensorProto.UINT8, ["N", plan.height, plan.width, 3])],
        [helper.make_tensor_value_info(CLASS_PROBABILITY, TensorProto.FLOAT, ["N", columns])],
        [*after.constants, *([] if step else inner.graph.initializer)],
    )
    if not step:
        graph.sparse_initializer.extend(inner.graph.sparse_initializer)
    program = helper.make_model(graph, opset_imports=inner.opset_import, ir_version=max(inner.ir_version, 8))
    program.functions.extend(inner.functions)
    return program


def _loop(inner: ModelProto, plan: _Plan, step: int) -> list[NodeProto]:
    """The graph once for every `step` images: Scan over (M, step, …) gives (M, step, …)."""
    body = GraphProto()
    body.CopyFrom(inner.graph)
    wanted = [value for value in body.output if value.name == PREFIX + plan.exit.name]
    del body.output[:]
    body.output.extend(wanted)
    return [
        helper.make_node("Scan", ["loupe/chunks"], ["loupe/chunk_scores"], body=body, num_scan_inputs=1),
    ]


def _pixels_in(nodes: _Nodes, plan: _Plan, step: int) -> None:
    """From `images` to the input of the graph, or of the loop: the same float32 operations as Convention.apply."""
    convention = plan.convention
    values = INPUT
    if convention.colour == "bgr":
        values = nodes.add("Gather", values, nodes.constant([2, 1, 0], np.int64), axis=3)
    if convention.colour == "grey":
        values = _grey(nodes, values)
    if convention.layout == "nchw":
        # While it is uint8: a quarter of the memory to move.
        values = nodes.add("Transpose", values, perm=[0, 3, 1, 2])
    if step > 1:
        values = _padded(nodes, values, step)
    if plan.entry.kind != TensorProto.UINT8:
        values = _normalised(nodes, values, convention)
    if plan.entry.kind != TensorProto.FLOAT:
        values = nodes.add("Cast", values, to=plan.entry.kind)
    if step == 0:
        nodes.add("Identity", values, output=PREFIX + plan.entry.name)
    else:
        shape = nodes.constant([-1, step, *plan.shape], np.int64)
        nodes.add("Reshape", values, shape, output="loupe/chunks")


def _grey(nodes: _Nodes, values: str) -> str:
    # Products and a sum, no matrix product: a GPU may round the latter.
    values = nodes.add("Cast", values, to=TensorProto.FLOAT)
    values = nodes.add("Mul", values, nodes.constant(GREY_WEIGHTS, np.float32))
    values = nodes.add("ReduceSum", values, nodes.constant([3], np.int64), keepdims=1)
    values = nodes.add("Add", values, nodes.constant(GREY_ONE / 2, np.float32))
    values = nodes.add("Div", values, nodes.constant(GREY_ONE, np.float32))
    return nodes.add("Floor", values)


def _padded(nodes: _Nodes, values: str, step: int) -> str:
    """Black images added up to a whole number of steps."""
    count = nodes.add("Slice", nodes.add("Shape", values), *(nodes.constant([n], np.int64) for n in (0, 1)))
    steps = nodes.constant([step], np.int64)
    over = nodes.add("Mod", count, steps)
    missing = nodes.add("Mod", nodes.add("Sub", steps, over), steps)
    zeros = [nodes.constant([0] * n, np.int64) for n in (4, 3)]
    pads = nodes.add("Concat", zeros[0], missing, zeros[1], axis=0)
    return nodes.add("Pad", values, pads)


def _normalised(nodes: _Nodes, values: str, convention: Convention) -> str:
    shape = (1, -1, 1, 1) if convention.layout == "nchw" else (1, 1, 1, -1)
    values = nodes.add("Cast", values, to=TensorProto.FLOAT)
    if convention.scale != 1:
        values = nodes.add("Div", values, nodes.constant(convention.scale, np.float32))
    if any(convention.mean):
        values = nodes.add("Sub", values, nodes.constant(np.reshape(convention.mean, shape), np.float32))
    if any(one != 1 for one in convention.std):
        values = nodes.add("Div", values, nodes.constant(np.reshape(convention.std, shape), np.float32))
    return values


def _probabilities_out(nodes: _Nodes, plan: _Plan, step: int) -> None:
    """From the output of the graph, or of the loop, to `class_probability`: as Convention.probabilities."""
    values = "loupe/chunk_scores" if step else PREFIX + plan.exit.name
    if step or not plan.flat:
        values = nodes.add("Reshape", values, nodes.constant([-1, plan.columns], np.int64))
    if step > 1:
        count = nodes.add("Slice", nodes.add("Shape", INPUT), *(nodes.constant([n], np.int64) for n in (0, 1)))
        values = nodes.add("Slice", values, nodes.constant([0], np.int64), count, nodes.constant([0], np.int64))
    values = nodes.add("Cast", values, to=TensorProto.FLOAT)
    activation = plan.convention.activation
    if activation == "softmax":
        values = nodes.add("Softmax", values, axis=1)
    elif activation == "sigmoid":
        values = nodes.add("Sigmoid", values)
    one = nodes.constant(1.0, np.float32)
    if plan.columns == 1:
        values = nodes.add("Concat", nodes.add("Sub", one, values), values, axis=1)
    elif activation != "softmax":
        total = nodes.add("ReduceSum", values, nodes.constant([1], np.int64), keepdims=1)
        values = nodes.add("Div", values, nodes.add("Max", total, one))
    nodes.add("Identity", values, output=CLASS_PROBABILITY)


# --- what another resize would change -------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ResizeEffect:
    """Verdicts that another resize would change, of images; share with its 95 % interval, counted in parts."""

    changed: int
    images: int
    share: Interval
    largest_change: float
    """Of p_defect."""

    def to_json(self) -> dict[str, Any]:
        """The fields."""
        return {
            "changed": self.changed,
            "images": self.images,
            "share": self.share.to_json(),
            "largest_change": self.largest_change,
        }


def resize_effect(
    own: NDArray[np.float64], other: NDArray[np.float64], group: NDArray[Any], pass_below: float, reject_from: float
) -> ResizeEffect:
    """Compare p_defect (n,) after Loupe's resize with p_defect (n,) after another; group (n,): which part."""
    changed = _verdicts(own, pass_below, reject_from) != _verdicts(other, pass_below, reject_from)
    largest = float(np.abs(own - other).max(initial=0.0))
    return ResizeEffect(int(changed.sum()), len(own), grouped_proportion(changed, group), largest)


def _verdicts(p_defect: NDArray[np.float64], pass_below: float, reject_from: float) -> NDArray[np.int64]:
    return (p_defect >= pass_below).astype(np.int64) + (p_defect >= reject_from)


def decode_in_full(frame: Frame) -> Pixels:
    """Every pixel of an encoded image, uint8 (h, w, 3) RGB, as OpenCV reads it.

    Raises UnreadableImage.
    """
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    decoded = cv2.imdecode(np.frombuffer(frame.data, np.uint8), flags)
    if decoded is None:
        raise UnreadableImage("the image can't be decoded", "send the complete file as the camera made it")
    return np.asarray(cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB), np.uint8)


def _linear(pixels: Pixels, height: int, width: int) -> Pixels:
    return np.asarray(cv2.resize(pixels, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)


def _area(pixels: Pixels, height: int, width: int) -> Pixels:
    return np.asarray(cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def _antialiased(pixels: Pixels, height: int, width: int) -> Pixels:
    """A triangle as wide as a target pixel, first along rows, then along columns, rounded after each: as Pillow."""
    across = np.einsum("ow,hwc->hoc", _triangles(pixels.shape[1], width), pixels.astype(np.float32), optimize=True)
    across = np.clip(np.floor(across + 0.5), 0, 255)
    down = np.einsum("oh,hwc->owc", _triangles(pixels.shape[0], height), across, optimize=True)
    return np.asarray(np.clip(np.floor(down + 0.5), 0, 255), np.uint8)


def _triangles(old: int, new: int) -> Floats:
    """(new, old) weights, each row summing to 1."""
    scale = old / new
    centre = (np.arange(new) + 0.5) * scale
    distance = np.abs(np.arange(old)[None, :] + 0.5 - centre[:, None]) / max(scale, 1.0)
    weight = np.maximum(1.0 - distance, 0.0)
    return np.asarray(weight / weight.sum(axis=1, keepdims=True), np.float32)


RESIZERS: Mapping[str, Callable[[Pixels, int, int], Pixels]] = {
    "linear": _linear,
    "area": _area,
    "antialias": _antialiased,
}
"""How others come from every pixel to the model's size: OpenCV's two usual ways, and Pillow's and torchvision's."""
