import contextlib
import io
import logging
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper, numpy_helper
from torch import Tensor, nn

from models.card import ClassInfo, ModelCard
from models.classifier import Classifier
from models.convention import CannotWrap, Convention
from models.preprocess import Geometry
from models.stranger import read_graph
from models.wrap import TOLERANCE, Wrapped, largest_difference, wrap

SIDE = 24
CLASSES = (ClassInfo("ok", 0, True), ClassInfo("scratch", 1, False), ClassInfo("dent", 2, False))
IMAGENET = Convention((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
IMAGES: NDArray[np.uint8] = np.random.default_rng(3).integers(0, 256, (7, SIDE, SIDE, 3), dtype=np.uint8)


class Net(nn.Module):
    """A stranger's network: two convolutions with batch normalisation, flattened, and a linear layer."""

    def __init__(self, columns: int = 3, channels: int = 3) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(channels, 8, 3, stride=2, padding=1),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.Conv2d(8, 8, 3, stride=2, padding=1),
            nn.ReLU(),
        )
        self.last = nn.Linear(8 * (SIDE // 4) ** 2, columns)

    def forward(self, images: Tensor) -> Tensor:
        return self.last(torch.flatten(self.features(images), 1))  # type: ignore[no-any-return] # torch's modules give Any


class ConstantReshape(Net):
    """The batch size is written into the graph: freed, it would give nonsense."""

    batch = 1

    def forward(self, images: Tensor) -> Tensor:
        return self.last(self.features(images).reshape(self.batch, -1))  # type: ignore[no-any-return] # torch's Any


class FourAtOnce(ConstantReshape):
    batch = 4


class MixedAxes(Net):
    """The batch ends up in the middle of a constant shape: nothing but a loop can help."""

    def forward(self, images: Tensor) -> Tensor:
        rows = self.features(images).reshape(8, 1, -1).permute(1, 0, 2)
        return self.last(rows.reshape(1, -1))  # type: ignore[no-any-return] # torch's modules give Any


class MixedFour(MixedAxes):
    def forward(self, images: Tensor) -> Tensor:
        rows = self.features(images).reshape(2, 2, 8, -1).permute(2, 0, 1, 3)
        return self.last(rows.permute(1, 2, 0, 3).reshape(4, -1))  # type: ignore[no-any-return] # torch's Any


def network(kind: type[Net] = Net, columns: int = 3, channels: int = 3) -> Net:
    torch.manual_seed(5)
    return kind(columns, channels).eval()


def exported(net: nn.Module, example: Tensor, path: Path, *, dynamic: bool = False, **options: Any) -> Path:
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    shapes = ({0: torch.export.Dim("batch", min=1)},) if dynamic else None
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        torch.onnx.export(
            net,
            (example,),
            path,
            dynamo=True,
            dynamic_shapes=shapes,
            verbose=False,
            **{"external_data": False, **options},
        )
    logger.setLevel(level)
    return path


def wrapped(path: Path, convention: Convention = IMAGENET, classes: int = 3, **options: Any) -> Wrapped:
    return wrap(read_graph(path), convention, classes, np.random.default_rng(0), **options)


def opened(found: Wrapped, classes: Sequence[ClassInfo] = CLASSES) -> Classifier:
    return Classifier(found.with_card(ModelCard(tuple(classes), Geometry(found.height, found.width))))


def softmax(values: NDArray[Any]) -> NDArray[Any]:
    return np.asarray(torch.softmax(torch.from_numpy(values), 1).numpy())


def torch_scores(net: nn.Module, values: NDArray[np.float32]) -> NDArray[np.float32]:
    with torch.inference_mode():
        return np.asarray(net(torch.from_numpy(values)).numpy())


@pytest.mark.parametrize(
    ("kind", "batch", "dynamic", "how"),
    [
        (Net, 1, True, "dynamic"),
        (Net, 1, False, "freed"),
        (Net, 3, False, "freed"),
        (ConstantReshape, 1, False, "freed"),
        (FourAtOnce, 4, False, "freed"),
        (MixedAxes, 1, False, "looped"),
        (MixedFour, 4, False, "looped"),
    ],
)
def test_any_number_of_images_gives_the_scores_of_the_graph(
    tmp_path: Path, kind: type[Net], batch: int, dynamic: bool, how: str
) -> None:
    net = network(kind)
    found = wrapped(exported(net, torch.zeros(batch, 3, SIDE, SIDE), tmp_path / "net.onnx", dynamic=dynamic))
    assert found.difference <= TOLERANCE
    assert (found.batch, found.height, found.width) == (how, SIDE, SIDE)
    # Whatever the shapes inside, row by row all these networks are the plain one.
    expected = softmax(torch_scores(network(), IMAGENET.apply(IMAGES)))
    classifier = opened(found)
    for count in (1, 2, 4, 5, 7):
        scores = classifier.predict(IMAGES[:count]).class_probability
        assert scores == pytest.approx(expected[:count], abs=1e-5)
    assert found.direct(IMAGES) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
@pytest.mark.parametrize("colour", ["rgb", "bgr", "grey"])
@pytest.mark.parametrize("activation", ["softmax", "sigmoid", "none"])
def test_every_convention_is_that_of_plain_numpy(tmp_path: Path, layout: str, colour: str, activation: str) -> None:
    channels = 1 if colour == "grey" else 3
    convention = Convention(
        (0.3,) * channels, tuple(0.2 + 0.1 * n for n in range(channels)), 255, layout, colour, activation
    )
    path = tmp_path / "net.onnx"
    onnx.save(
        mean_graph([1, *((channels, SIDE, SIDE) if layout == "nchw" else (SIDE, SIDE, channels))], layout, activation),
        path,
    )
    found = wrapped(path, convention)
    assert found.difference <= TOLERANCE
    assert largest_difference(opened(found).predict(IMAGES).class_probability, found.direct(IMAGES)) <= TOLERANCE


def mean_graph(
    shape: Sequence[int | str], layout: str, activation: str = "softmax", kind: int = TensorProto.FLOAT
) -> ModelProto:
    """The mean of each channel, times weights: (N, 3); probabilities already where no activation is left to do."""
    channels = int(shape[1 if layout == "nchw" else 3])
    weight = np.random.default_rng(0).normal(size=(channels, 3)).astype(helper.tensor_dtype_to_np_dtype(kind))
    axes = [2, 3] if layout == "nchw" else [1, 2]
    nodes = [
        helper.make_node("ReduceMean", ["images"], ["mean"], axes=axes, keepdims=0),
        helper.make_node("MatMul", ["mean", "weight"], ["scores"]),
        helper.make_node("Softmax" if activation == "none" else "Identity", ["scores"], ["class_probability"]),
    ]
    graph = helper.make_graph(
        nodes,
        "stranger",
        [helper.make_tensor_value_info("images", kind, shape)],
        [helper.make_tensor_value_info("class_probability", kind, [shape[0], 3])],
        [numpy_helper.from_array(weight, "weight")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def test_grey_is_opencvs_grey_exactly(tmp_path: Path) -> None:
    colours = np.random.default_rng(0).integers(0, 256, (40, SIDE, SIDE, 3), dtype=np.uint8)
    levels = np.stack([cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in colours]).astype(np.float64)
    path = tmp_path / "net.onnx"
    nodes = [
        helper.make_node("Flatten", ["x"], ["flat"], axis=1),
        helper.make_node("ReduceMax", ["flat"], ["top"], axes=[1], keepdims=1),
        helper.make_node("Sub", ["top", "middle"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "largest",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 1, 1, 1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 1])],
        [numpy_helper.from_array(np.array([127.5], np.float32), "middle")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    found = wrapped(path, Convention(scale=1, colour="grey", activation="sigmoid"), 2)
    pixels = colours.reshape(-1, 1, 1, 3)[:5000]
    scores = opened(found, CLASSES[:2]).predict(pixels).class_probability[:, 1]
    expected = 1 / (1 + np.exp(127.5 - levels.reshape(-1)[:5000]))
    assert scores == pytest.approx(expected, abs=1e-6)


def test_one_sigmoid_column_becomes_two_classes(tmp_path: Path) -> None:
    net = network(columns=1)
    path = exported(net, torch.zeros(1, 3, SIDE, SIDE), tmp_path / "net.onnx")
    found = wrapped(path, replace(IMAGENET, activation="sigmoid"), 2)
    scores = opened(found, CLASSES[:2]).predict(IMAGES).class_probability
    expected = 1 / (1 + np.exp(-torch_scores(net, IMAGENET.apply(IMAGES))[:, 0].astype(np.float64)))
    assert scores[:, 1] == pytest.approx(expected, abs=1e-6)
    assert scores.sum(axis=1) == pytest.approx(1.0)


def test_independent_sigmoids_never_promise_more_than_one(tmp_path: Path) -> None:
    path = exported(network(), torch.zeros(1, 3, SIDE, SIDE), tmp_path / "net.onnx")
    scores = opened(wrapped(path, replace(IMAGENET, activation="sigmoid"))).predict(IMAGES).class_probability
    assert (scores.sum(axis=1) <= 1 + 1e-6).all()


def test_half_precision_graphs_are_taken(tmp_path: Path) -> None:
    path = tmp_path / "half.onnx"
    onnx.save(mean_graph([1, 3, SIDE, SIDE], "nchw", kind=TensorProto.FLOAT16), path)
    found = wrapped(path, Convention())
    assert found.difference <= found.tolerance == 1e-3
    assert opened(found).predict(IMAGES).class_probability.dtype == np.float32


def test_whole_pixels_go_in_as_they_are(tmp_path: Path) -> None:
    nodes = [helper.make_node("Cast", ["raw"], ["images"], to=TensorProto.FLOAT)]
    model = mean_graph([1, 3, SIDE, SIDE], "nchw")
    inner = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend([*nodes, *inner])
    model.graph.input[0].CopyFrom(helper.make_tensor_value_info("raw", TensorProto.UINT8, [1, 3, SIDE, SIDE]))
    path = tmp_path / "net.onnx"
    onnx.save(model, path)
    assert wrapped(path, Convention(scale=1)).difference <= TOLERANCE
    with pytest.raises(CannotWrap, match="whole pixels"):
        wrapped(path, Convention(scale=255))


def test_side_files_are_taken_in_and_missed_by_name(tmp_path: Path) -> None:
    net = nn.Sequential(network(), nn.Linear(3, 3))
    with torch.no_grad():
        program = exported(net, torch.zeros(1, 3, SIDE, SIDE), tmp_path / "inline.onnx")
    onnx.save(
        onnx.load(program),
        tmp_path / "net.onnx",
        save_as_external_data=True,
        location="net.onnx.data",
        size_threshold=0,
    )
    assert (tmp_path / "net.onnx.data").stat().st_size > 1000
    found = wrapped(tmp_path / "net.onnx")
    (tmp_path / "net.onnx.data").unlink()
    assert opened(found).predict(IMAGES).class_probability.shape == (7, 3)
    with pytest.raises(CannotWrap, match=r"net\.onnx\.data"):
        read_graph(tmp_path / "net.onnx")


def test_a_graph_with_branches_keeps_its_inner_names(tmp_path: Path) -> None:
    def branch(name: str, gain: float) -> onnx.GraphProto:
        return helper.make_graph(
            [helper.make_node("Mul", ["logits", f"gain_{name}"], [f"out_{name}"])],
            name,
            [],
            [helper.make_tensor_value_info(f"out_{name}", TensorProto.FLOAT, ["N", 3])],
            [numpy_helper.from_array(np.array(gain, np.float32), f"gain_{name}")],
        )

    model = mean_graph(["N", 3, SIDE, SIDE], "nchw")
    nodes = list(model.graph.node)[:2]
    nodes[1].output[0] = "logits"
    nodes += [
        helper.make_node("ReduceMax", ["logits"], ["top"], keepdims=0),
        helper.make_node("Greater", ["top", "zero"], ["above"]),
        helper.make_node(
            "If", ["above"], ["class_probability"], then_branch=branch("a", 2.0), else_branch=branch("b", 2.0)
        ),
    ]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    model.graph.initializer.append(numpy_helper.from_array(np.array(0, np.float32), "zero"))
    onnx.save(model, tmp_path / "net.onnx")
    assert wrapped(tmp_path / "net.onnx", Convention()).difference <= TOLERANCE


@pytest.mark.parametrize("opset", [9, 11])
def test_old_opsets_are_lifted(tmp_path: Path, opset: int) -> None:
    model = mean_graph([1, 3, SIDE, SIDE], "nchw")
    model.opset_import[0].version = opset
    model.ir_version = 4
    onnx.save(model, tmp_path / "net.onnx")
    assert wrapped(tmp_path / "net.onnx", Convention()).difference <= TOLERANCE


def test_a_graph_that_mixes_its_batch_is_run_image_by_image(tmp_path: Path) -> None:
    model = mean_graph(["N", 3, SIDE, SIDE], "nchw")
    nodes = list(model.graph.node)
    nodes[1].output[0] = "raw"
    mixing = [
        helper.make_node("ReduceMean", ["raw"], ["all"], axes=[0], keepdims=1),
        helper.make_node("Add", ["raw", "all"], ["scores"]),
    ]
    del model.graph.node[:]
    model.graph.node.extend([*nodes[:2], *mixing, nodes[2]])
    onnx.save(model, tmp_path / "net.onnx")
    found = wrapped(tmp_path / "net.onnx", Convention())
    assert found.batch == "looped"
    classifier = opened(found)
    together = classifier.predict(IMAGES).class_probability
    alone = np.concatenate([classifier.predict(IMAGES[n : n + 1]).class_probability for n in range(len(IMAGES))])
    assert together == pytest.approx(alone, abs=1e-6)


def test_open_sizes_need_a_size_and_fixed_ones_refuse_another(tmp_path: Path) -> None:
    onnx.save(mean_graph(["N", 3, "h", "w"], "nchw"), tmp_path / "open.onnx")
    with pytest.raises(CannotWrap, match="--size"):
        wrapped(tmp_path / "open.onnx")
    found = wrapped(tmp_path / "open.onnx", size=(16, 40))
    assert (found.height, found.width) == (16, 40)
    onnx.save(mean_graph([1, 3, SIDE, SIDE], "nchw"), tmp_path / "fixed.onnx")
    with pytest.raises(CannotWrap, match="24 × 24"):
        wrapped(tmp_path / "fixed.onnx", size=(16, 40))


@pytest.mark.parametrize(
    ("convention", "classes", "said"),
    [
        (Convention(), 2, "3 scores; 2 classes"),
        (Convention(layout="nhwc"), 3, "24 channels in layout nhwc"),
        (Convention(colour="grey"), 3, "3 channels in layout nchw"),
        (Convention(activation="none"), 3, "--activation softmax or sigmoid"),
    ],
)
def test_a_description_that_does_not_fit_is_refused(
    tmp_path: Path, convention: Convention, classes: int, said: str
) -> None:
    onnx.save(mean_graph([1, 3, SIDE, SIDE], "nchw"), tmp_path / "net.onnx")
    with pytest.raises(CannotWrap, match=said):
        wrapped(tmp_path / "net.onnx", convention, classes)


def test_probabilities_are_not_squashed_twice(tmp_path: Path) -> None:
    onnx.save(mean_graph([1, 3, SIDE, SIDE], "nchw", "none"), tmp_path / "net.onnx")
    with pytest.raises(CannotWrap, match="probabilities already"):
        wrapped(tmp_path / "net.onnx", Convention())


@pytest.mark.parametrize("columns", [1, 3])
def test_a_graph_that_ends_in_sigmoid_is_not_squashed_twice(tmp_path: Path, columns: int) -> None:
    net = nn.Sequential(network(columns=columns), nn.Sigmoid())
    path = exported(net, torch.zeros(1, 3, SIDE, SIDE), tmp_path / "net.onnx")
    classes = max(columns, 2)
    with pytest.raises(CannotWrap, match="probabilities already"):
        wrapped(path, replace(IMAGENET, activation="sigmoid"), classes)
    found = wrapped(path, replace(IMAGENET, activation="none"), classes)
    scores = opened(found, CLASSES[:classes]).predict(IMAGES).class_probability
    own = torch_scores(net, IMAGENET.apply(IMAGES))
    expected = np.hstack([1 - own, own]) if columns == 1 else own / np.maximum(own.sum(axis=1, keepdims=True), 1)
    assert scores == pytest.approx(expected, abs=1e-6)


def test_weights_that_count_as_inputs_are_no_inputs(tmp_path: Path) -> None:
    model = mean_graph([1, 3, SIDE, SIDE], "nchw")
    model.graph.input.append(helper.make_tensor_value_info("weight", TensorProto.FLOAT, [3, 3]))
    model.ir_version = 3
    model.opset_import[0].version = 8
    onnx.save(model, tmp_path / "net.onnx")
    assert wrapped(tmp_path / "net.onnx", Convention()).difference <= TOLERANCE


def test_several_inputs_outputs_and_wrong_ranks_are_refused(tmp_path: Path) -> None:
    model = mean_graph([1, 3, SIDE, SIDE], "nchw")
    model.graph.output.append(helper.make_tensor_value_info("mean", TensorProto.FLOAT, [1, 3]))
    onnx.save(model, tmp_path / "outputs.onnx")
    with pytest.raises(CannotWrap, match="--output"):
        wrapped(tmp_path / "outputs.onnx")
    with pytest.raises(CannotWrap, match="no output nothing"):
        wrapped(tmp_path / "outputs.onnx", output="nothing")
    for output in ("class_probability", "mean"):
        assert wrapped(tmp_path / "outputs.onnx", output=output).difference <= TOLERANCE
    model = mean_graph([1, 3, SIDE, SIDE], "nchw")
    model.graph.input.append(helper.make_tensor_value_info("more", TensorProto.FLOAT, [1]))
    onnx.save(model, tmp_path / "inputs.onnx")
    with pytest.raises(CannotWrap, match=r"2 inputs \(images, more\)"):
        wrapped(tmp_path / "inputs.onnx")
    model = mean_graph([1, 3, SIDE, SIDE], "nchw")
    model.graph.input[0].CopyFrom(helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, SIDE]))
    onnx.save(model, tmp_path / "rank.onnx")
    with pytest.raises(CannotWrap, match="rank 3"):
        wrapped(tmp_path / "rank.onnx")


def test_maps_are_no_scores(tmp_path: Path) -> None:
    model = mean_graph([1, 3, SIDE, SIDE], "nchw")
    del model.graph.node[:]
    model.graph.node.append(helper.make_node("Identity", ["images"], ["class_probability"]))
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("class_probability", TensorProto.FLOAT, None))
    onnx.save(model, tmp_path / "map.onnx")
    with pytest.raises(CannotWrap, match="maps and boxes"):
        wrapped(tmp_path / "map.onnx")


@pytest.mark.parametrize("content", [b"", b"no model at all", b"\x08\x08\x3a\x00"])
def test_files_that_are_no_models_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "net.onnx").write_bytes(content)
    with pytest.raises(CannotWrap):
        read_graph(tmp_path / "net.onnx")
    with pytest.raises(CannotWrap, match="check the path"):
        read_graph(tmp_path / "none.onnx")


def test_a_model_file_is_not_wrapped_again(tmp_path: Path) -> None:
    onnx.save(mean_graph([1, 3, SIDE, SIDE], "nchw"), tmp_path / "net.onnx")
    content = wrapped(tmp_path / "net.onnx").with_card(ModelCard(CLASSES, Geometry(SIDE, SIDE)))
    (tmp_path / "wrapped.onnx").write_bytes(content)
    onnx.checker.check_model(onnx.load(tmp_path / "wrapped.onnx"), full_check=True)
    with pytest.raises(CannotWrap, match="already"):
        read_graph(tmp_path / "wrapped.onnx")


def test_a_fixed_batch_leaves_no_shape_nodes_for_a_gpu_to_refuse(tmp_path: Path) -> None:
    assert wrapped(exported(network(), torch.zeros(1, 3, SIDE, SIDE), tmp_path / "net.onnx")).shape_nodes == 0
    model = mean_graph(["N", 3, SIDE, SIDE], "nchw")
    nodes = list(model.graph.node)
    nodes[0].input[0] = "same"
    asking = [
        helper.make_node("Shape", ["images"], ["shape"]),
        helper.make_node("Reshape", ["images", "shape"], ["same"]),
    ]
    del model.graph.node[:]
    model.graph.node.extend([*asking, *nodes])
    onnx.save(model, tmp_path / "shape.onnx")
    assert wrapped(tmp_path / "shape.onnx", Convention()).shape_nodes == 1
