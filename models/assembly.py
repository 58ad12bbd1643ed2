"""Nodes around a stranger's graph: uint8 tiles in, class probabilities out, in every way to take any batch size."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, compose, helper, numpy_helper

from models.classifier import CLASS_PROBABILITY, INPUT
from models.convention import CannotWrap, Convention
from models.stranger import Plan, sized

PREFIX = "stranger/"

# OpenCV's COLOR_RGB2GRAY on uint8, in whole numbers: every partial sum is exact in float32.
GREY_WEIGHTS = (9798.0, 19235.0, 3735.0)
GREY_ONE = 32768.0


def assemblies(model: ModelProto, plan: Plan) -> Iterator[tuple[str, ModelProto]]:
    """The wrapped graph in every way to take any number of images, the quickest first, each with the way's name.

    Raises CannotWrap.
    """
    freed = _prefixed(sized(model, plan, None))
    yield "dynamic" if plan.batch is None else "freed", _assembled(freed, plan, list(freed.graph.node), 0)
    if plan.batch is not None:
        reshaped = _prefixed(sized(_without_batch_in_reshapes(model, plan.batch), plan, None))
        yield "freed", _assembled(reshaped, plan, list(reshaped.graph.node), 0)
    step = plan.batch or 1
    inner = _prefixed(sized(model, plan, step))
    yield "looped", _assembled(inner, plan, _loop(inner, plan), step)


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


def _assembled(inner: ModelProto, plan: Plan, middle: list[NodeProto], step: int) -> ModelProto:
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


def _loop(inner: ModelProto, plan: Plan) -> list[NodeProto]:
    """The graph once for every chunk of images: Scan over (M, images at once, …) gives (M, images at once, …)."""
    body = GraphProto()
    body.CopyFrom(inner.graph)
    wanted = [value for value in body.output if value.name == PREFIX + plan.exit.name]
    del body.output[:]
    body.output.extend(wanted)
    return [
        helper.make_node("Scan", ["loupe/chunks"], ["loupe/chunk_scores"], body=body, num_scan_inputs=1),
    ]


def _pixels_in(nodes: _Nodes, plan: Plan, step: int) -> None:
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


def _probabilities_out(nodes: _Nodes, plan: Plan, step: int) -> None:
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
