"""A model file without any learning: p_defect is the mean brightness, so a test can paint the answer it wants."""

import json
from pathlib import Path
from typing import Any

import onnx
from onnx import TensorProto, helper

from models.card import ClassInfo, ModelCard, OperatingPoint
from models.preprocess import Geometry

CLASSES = (ClassInfo("good", 0, True), ClassInfo("scratch", 7, False))
POINT = OperatingPoint(
    pass_below=0.3,
    reject_from=0.7,
    wanted_escape=0.05,
    escape_bound=0.04,
    overkill_expected=0.01,
    defect_parts=100,
    ok_parts=200,
)


def tiny_card(**changes: Any) -> ModelCard:
    fields: dict[str, Any] = {
        "classes": CLASSES,
        "geometry": Geometry(height=32, width=32),
        "operating_points": {"standard": POINT},
        "label_book_version": 1,
    }
    return ModelCard(**{**fields, **changes})


def write_tiny_model(path: Path, card: ModelCard | None = None, gain: float = 1.0, *, cell_px: int = 0) -> Path:
    """p_defect = gain x mean brightness / 255, clipped to [0, 1].

    cell_px: side of a cell of the defect map, which tells the cell's brightest red / 255; 0: there is no map.
    """
    card = card or tiny_card(capabilities=("defect_map",) if cell_px else ())
    height, width = card.geometry.height, card.geometry.width
    nodes = [
        helper.make_node("Cast", ["images"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["pixels", "axes"], ["mean"], keepdims=0),
        helper.make_node("Mul", ["mean", "scale"], ["scaled"]),
        helper.make_node("Clip", ["scaled", "zero", "one"], ["defect"]),
        helper.make_node("Sub", ["one", "defect"], ["good"]),
        helper.make_node("Unsqueeze", ["good", "last"], ["good_column"]),
        helper.make_node("Unsqueeze", ["defect", "last"], ["defect_column"]),
        helper.make_node("Concat", ["good_column", "defect_column"], ["class_probability"], axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "brightness",
        [helper.make_tensor_value_info("images", TensorProto.UINT8, ["N", height, width, 3])],
        [helper.make_tensor_value_info("class_probability", TensorProto.FLOAT, ["N", len(card.classes)])],
        [
            helper.make_tensor("axes", TensorProto.INT64, [3], [1, 2, 3]),
            helper.make_tensor("scale", TensorProto.FLOAT, [], [gain / 255.0]),
            helper.make_tensor("zero", TensorProto.FLOAT, [], [0.0]),
            helper.make_tensor("one", TensorProto.FLOAT, [], [1.0]),
            helper.make_tensor("last", TensorProto.INT64, [1], [1]),
        ],
    )
    if cell_px:
        _add_map(graph, height // cell_px, width // cell_px, cell_px)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    entry = model.metadata_props.add()
    entry.key, entry.value = "loupe", json.dumps(card.to_json())
    onnx.save(model, path)
    return path


def _add_map(graph: onnx.GraphProto, rows: int, cols: int, cell_px: int) -> None:
    graph.node.extend(
        [
            helper.make_node("Gather", ["pixels", "red_channel"], ["red"], axis=3),
            helper.make_node("Transpose", ["red"], ["red_plane"], perm=[0, 3, 1, 2]),
            helper.make_node(
                "MaxPool", ["red_plane"], ["brightest"], kernel_shape=[cell_px] * 2, strides=[cell_px] * 2
            ),
            helper.make_node("Squeeze", ["brightest", "plane"], ["levels"]),
            helper.make_node("Div", ["levels", "full"], ["defect_map"]),
        ]
    )
    graph.output.append(helper.make_tensor_value_info("defect_map", TensorProto.FLOAT, ["N", rows, cols]))
    graph.initializer.extend(
        [
            helper.make_tensor("red_channel", TensorProto.INT64, [1], [0]),
            helper.make_tensor("plane", TensorProto.INT64, [1], [1]),
            helper.make_tensor("full", TensorProto.FLOAT, [], [255.0]),
        ]
    )
