"""A stranger's ONNX graph as it came: its file, its ends, and the scores that it gives alone."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from google.protobuf.message import DecodeError  # type: ignore[import-untyped] # it publishes no type information
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, TensorProto, ValueInfoProto, helper
from onnx import version_converter as opset_versions

from models.card import METADATA_KEY
from models.classifier import CPU, OPENING, UNLOADABLE
from models.convention import CannotWrap, Convention
from models.preprocess import Pixels

OLDEST_OPSET = 13
"""From here on the operators used around the graph have the form that they still have."""
LIFTED_OPSET = 17
LARGEST_BYTES = 2**31 - 1

INPUT_TYPES: dict[int, type[np.generic]] = {
    TensorProto.FLOAT: np.float32,
    TensorProto.FLOAT16: np.float16,
    TensorProto.DOUBLE: np.float64,
    TensorProto.UINT8: np.uint8,
}


@dataclass(frozen=True, slots=True)
class Port:
    """One end of the graph."""

    name: str
    kind: int
    dims: tuple[int | None, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """What the nodes around the graph must know. columns: of the graph's output. flat: it is (N, columns) already."""

    convention: Convention
    entry: Port
    exit: Port
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


def planned(model: ModelProto, convention: Convention, size: tuple[int, int] | None, output: str | None) -> Plan:
    """What the graph says of itself; how many columns it gives shows only when it has run.

    Raises CannotWrap.
    """
    entry = _entry(model.graph)
    height, width = _sides(entry, convention, size)
    exits = [_port(value) for value in model.graph.output]
    return Plan(convention, entry, _exit(exits, output), height, width, columns=0, flat=False)


def with_columns(plan: Plan, model: ModelProto, raw: NDArray[Any], class_count: int) -> Plan:
    """The plan with what `raw`, the graph's own output for some images, shows.

    Raises CannotWrap where these are no scores of that many classes, or not as the convention says.
    """
    columns = _columns(raw, class_count)
    last = next((node.op_type for node in model.graph.node if plan.exit.name in node.output), "")
    _check_scores(raw.reshape(len(raw), -1), plan.convention, last)
    return replace(plan, columns=columns, flat=raw.ndim == 2)


def lifted(model: ModelProto) -> ModelProto:
    """The graph with an opset that the operators around it fit.

    Raises CannotWrap.
    """
    version = max((one.version for one in model.opset_import if one.domain in ("", "ai.onnx")), default=0)
    if version >= OLDEST_OPSET:
        return model
    try:
        return opset_versions.convert_version(model, LIFTED_OPSET)
    except (RuntimeError, ValueError) as error:
        raise CannotWrap(
            f"the graph has opset {version} and can't be lifted: {first_line(error)}",
            f"export it again with opset {OLDEST_OPSET} or newer",
        ) from error


def sized(model: ModelProto, plan: Plan, batch: int | None) -> ModelProto:
    """The graph with its input's sides fixed and a batch of this size, or of any; shapes noted within are dropped."""
    fixed = ModelProto()
    fixed.CopyFrom(model)
    del fixed.graph.value_info[:]
    dims = ["N" if batch is None else batch, *plan.shape]
    # Weights that old exporters list among the inputs go too.
    del fixed.graph.input[:]
    fixed.graph.input.append(helper.make_tensor_value_info(plan.entry.name, plan.entry.kind, dims))
    for value in fixed.graph.output:
        value.type.tensor_type.ClearField("shape")
    return fixed


def own_scores(session: ort.InferenceSession, plan: Plan, images: Pixels) -> NDArray[Any]:
    """The graph's own output (n, …) for images uint8 (n, H, W, 3), as many at once as it takes; numpy normalises.

    Raises CannotWrap.
    """
    values = plan.convention.apply(images).astype(INPUT_TYPES[plan.entry.kind])
    step = plan.batch or 1
    found = []
    for start in range(0, len(values), step):
        chunk = values[start : start + step]
        filled = np.concatenate([chunk, np.repeat(chunk[-1:], step - len(chunk), axis=0)])
        try:
            output = session.run([plan.exit.name], {plan.entry.name: filled})[0]
        except UNLOADABLE as error:
            raise CannotWrap(f"the graph can't be run: {first_line(error)}", "check --size and --layout") from error
        output = np.asarray(output)
        if output.ndim == 0 or len(output) != step:
            raise CannotWrap(
                f"the graph answers a batch of {step} with an output of shape {list(output.shape)}",
                "its output must be one row of scores an image",
            )
        found.append(output[: len(chunk)])
    return np.concatenate(found)


def computes_in_half(model: ModelProto) -> bool:
    """Whether anything in the graph is float16."""
    kinds = {tensor.data_type for tensor in model.graph.initializer}
    return TensorProto.FLOAT16 in kinds or _entry(model.graph).kind == TensorProto.FLOAT16


def open_session(content: bytes, what: str) -> ort.InferenceSession:
    """A session on the CPU. what: said where it can't be opened.

    Raises CannotWrap.
    """
    options = ort.SessionOptions()
    options.log_severity_level = 4  # an attempt that fails is tried another way, or reported as one sentence
    options.intra_op_num_threads = 1
    try:
        return ort.InferenceSession(content, options, providers=[CPU])
    except OPENING as error:
        raise CannotWrap(f"{what}: {first_line(error)}", "export it again with another opset") from error


def first_line(error: Exception) -> str:
    """Of what ONNX or its runtime has to say, which may be pages."""
    return str(error).splitlines()[0][:300] if str(error) else type(error).__name__


def _port(value: ValueInfoProto) -> Port:
    tensor = value.type.tensor_type
    dims = tuple(dim.dim_value if dim.HasField("dim_value") and dim.dim_value > 0 else None for dim in tensor.shape.dim)
    return Port(value.name, tensor.elem_type, dims)


def _entry(graph: GraphProto) -> Port:
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


def _exit(exits: Sequence[Port], wanted: str | None) -> Port:
    names = ", ".join(port.name for port in exits)
    if wanted is None and len(exits) != 1:
        raise CannotWrap(f"the graph has {len(exits)} outputs ({names})", "name the one with the scores: --output NAME")
    found = [port for port in exits if wanted in (None, port.name)]
    if not found:
        raise CannotWrap(f"the graph has no output {wanted}", f"name one of {names}")
    return found[0]


def _sides(entry: Port, convention: Convention, size: tuple[int, int] | None) -> tuple[int, int]:
    _, *rest = entry.dims
    channels, height, width = rest if convention.layout == "nchw" else (rest[2], rest[0], rest[1])
    shape = list(entry.dims)
    if channels not in (None, convention.channels):
        raise CannotWrap(
            f"the graph's input {shape} has {channels} channel{'' if channels == 1 else 's'} in layout "
            f"{convention.layout}, colour {convention.colour} has {convention.channels}",
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
