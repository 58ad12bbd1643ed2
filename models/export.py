"""From a trained head to the model file: one ONNX graph from uint8 pixels to calibrated probabilities."""

import contextlib
import io
import json
import logging
import os
import tempfile
import warnings
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.card import METADATA_KEY, ModelCard
from models.classifier import CLASS_PROBABILITY, INPUT, Classifier
from models.features import FeatureExtractor
from models.training import Head

PARITY_TOLERANCE = 1e-4
EMBEDDING = "embedding"


class ExportParityError(RuntimeError):
    """The exported file gives other probabilities than the network that it was made from."""

    def __init__(self, difference: float, tolerance: float) -> None:
        self.difference = difference
        self.tolerance = tolerance
        self.remedy = "train again; if it stays, report the architecture and the versions of torch and onnxruntime"
        super().__init__(f"exported probabilities differ by {difference:.2g}, more than {tolerance:g}; {self.remedy}")


class InspectionNetwork(nn.Module):
    """uint8 (N, H, W, 3) -> class_probability (N, K) and embedding (N, D), the pooled features."""

    def __init__(self, extractor: FeatureExtractor, head: Head, temperature: float) -> None:
        super().__init__()
        self.extractor = extractor
        # Standardising and temperature fold into the linear layer: fewer operations, and no second place to round.
        weight = (head.weight / head.scale[:, None] / temperature).T
        bias = (head.bias - (head.mean / head.scale) @ head.weight) / temperature
        self.linear = nn.Linear(weight.shape[1], weight.shape[0])
        with torch.no_grad():
            self.linear.weight.copy_(torch.from_numpy(weight))
            self.linear.bias.copy_(torch.from_numpy(bias))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Features, then probabilities."""
        features = self.extractor(images)
        return torch.softmax(self.linear(features), dim=1), features


def software_versions() -> dict[str, str]:
    """The versions that shape a model file."""
    return {
        "torch": str(torch.__version__),
        "onnx": str(onnx.__version__),
        "onnxruntime": str(onnxruntime.__version__),
        "numpy": str(np.__version__),
    }


def export_model(network: InspectionNetwork, card: ModelCard, path: Path, samples: NDArray[np.uint8]) -> float:
    """Write the model file and return the largest difference of a probability from torch's, over the sample tiles.

    samples: uint8 (n, H, W, 3), n >= 1, of the card's geometry. The file appears whole or not at all. `embedding`
    must be among the card's capabilities for answers to carry it.

    Raises:
        ExportParityError: the difference is above PARITY_TOLERANCE; nothing is written.
    """
    network = network.eval()
    example = torch.from_numpy(np.ascontiguousarray(samples[:1])).repeat(2, 1, 1, 1)
    program = _to_onnx(network, example)
    entry = program.metadata_props.add()
    entry.key, entry.value = METADATA_KEY, json.dumps(card.to_json(), sort_keys=True)
    content = program.SerializeToString()
    difference = _parity(network, content, samples)
    if not difference <= PARITY_TOLERANCE:  # written so that NaN fails too
        raise ExportParityError(difference, PARITY_TOLERANCE)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".part", delete=False) as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    Path(file.name).replace(path)
    return difference


def _to_onnx(network: nn.Module, example: Tensor) -> onnx.ModelProto:
    exporter_log = logging.getLogger("torch.onnx")
    level = exporter_log.level
    # The exporter prints its steps, logs about packages that are not needed and warns about its own deprecations.
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        exporter_log.setLevel(logging.ERROR)
        try:
            program = torch.onnx.export(
                network,
                (example,),
                dynamo=True,
                input_names=[INPUT],
                output_names=[CLASS_PROBABILITY, EMBEDDING],
                dynamic_shapes={"images": {0: torch.export.Dim("batch", min=1)}},
                external_data=False,
                verbose=False,
            )
        finally:
            exporter_log.setLevel(level)
    assert program is not None  # with dynamo=True a program always comes back
    return _without_traces(program.model_proto)


def _without_traces(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model without what the exporter tells about the code it came from.

    It names files of this installation, so that the same weights would be another model elsewhere.
    """
    graphs = [model.graph, *model.functions]
    for graph in graphs:
        graph.ClearField("metadata_props")
        for part in (*graph.node, *graph.value_info):
            part.ClearField("metadata_props")
            part.ClearField("doc_string")
    for value in (*model.graph.input, *model.graph.output, *model.graph.initializer):
        value.ClearField("metadata_props")
    return model


def _parity(network: nn.Module, content: bytes, samples: NDArray[np.uint8]) -> float:
    with torch.inference_mode():
        expected, _ = network(torch.from_numpy(samples))
    found = Classifier(content).predict(samples).class_probability
    return float(np.abs(found - expected.numpy()).max())
