"""An ONNX Runtime session over a model file: uint8 images in, scores out."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors

from models.card import METADATA_KEY, ModelCard, ModelFileError

INPUT = "images"
CLASS_PROBABILITY = "class_probability"
CPU = "CPUExecutionProvider"
RE_EXPORT = "export it again with `loupe train`, or import it with its preprocessing wrapped in"

# What ONNX Runtime raises for files it cannot open; they share no base class below RuntimeError and Exception.
UNLOADABLE = (
    ort_errors.InvalidProtobuf,
    ort_errors.InvalidGraph,
    ort_errors.InvalidArgument,
    ort_errors.NoSuchFile,
    ort_errors.NoModel,
    ort_errors.NotImplemented,
    ort_errors.RuntimeException,
    ort_errors.Fail,
)


class ExecutionProviderMismatch(RuntimeError):
    """ONNX Runtime does not run the model on the device that was asked for."""

    def __init__(self, wanted: str, found: str) -> None:
        self.wanted = wanted
        self.found = found
        self.remedy = "check the driver and the installed ONNX Runtime package, or configure another execution provider"
        super().__init__(f"asked for {wanted}, got {found}; {self.remedy}")


@dataclass(frozen=True, slots=True)
class Scores:
    """What a model says about N images; an output that the model does not have is None.

    class_probability: float32 (N, K). defect_map: float32 (N, h, w) in [0, 1]. novelty: float32 (N,). embedding:
    float32 (N, D).
    """

    class_probability: NDArray[np.float32]
    defect_map: NDArray[np.float32] | None = None
    novelty: NDArray[np.float32] | None = None
    embedding: NDArray[np.float32] | None = None


@dataclass(frozen=True, slots=True)
class ViewScore:
    """One view, its tiles pooled: class_probability float32 (K,), p_defect in [0, 1], novelty, the likeliest class."""

    class_probability: NDArray[np.float32]
    p_defect: float
    novelty: float | None
    class_name: str

    @property
    def is_finite(self) -> bool:
        """Whether every number is one."""
        return bool(np.isfinite([*self.class_probability, self.p_defect, self.novelty or 0.0]).all())


class Classifier:
    """A loaded model; predict may be called from many threads at once.

    Raises:
        ModelFileError: the file is missing, damaged, or does not keep the contract of the model file.
        ExecutionProviderMismatch: the execution provider is not available or not the one that the session uses.
    """

    def __init__(self, path: Path | str | bytes, provider: str = CPU, threads: int = 1) -> None:
        content = path if isinstance(path, bytes) else _read_file(Path(path))
        self.sha256 = hashlib.sha256(content).hexdigest()
        self._session = _open_session(content, provider, threads)
        self.provider: str = self._session.get_providers()[0]
        if self.provider != provider:
            raise ExecutionProviderMismatch(provider, self.provider)
        self.card = _read_card(self._session)
        self._outputs = [CLASS_PROBABILITY, *self.card.capabilities]
        _check_contract(self._session, self.card)

    def predict(self, images: NDArray[np.uint8]) -> Scores:
        """uint8 (N, H, W, 3) RGB tiles, as models.preprocess makes them -> scores of each tile."""
        values = self._session.run(self._outputs, {INPUT: images})
        return Scores(**dict(zip(self._outputs, values, strict=True)))

    def warm(self, batch: int = 1) -> Scores:
        """Run one black batch, so that the first part does not pay for lazy initialisation."""
        return self.predict(np.zeros((batch, self.card.geometry.height, self.card.geometry.width, 3), np.uint8))


def pool(scores: Scores, card: ModelCard) -> ViewScore:
    """The score of one view from the scores of its tiles: the tile with the highest p_defect speaks for the view."""
    p_defect = card.p_defect(scores.class_probability)
    worst = int(np.argmax(p_defect))
    probability = scores.class_probability[worst]
    return ViewScore(
        class_probability=probability,
        p_defect=float(p_defect[worst]),
        novelty=None if scores.novelty is None else float(scores.novelty.max()),
        class_name=card.classes[int(np.argmax(probability))].name,
    )


def _read_file(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ModelFileError(f"the model file {path} cannot be read: {error.strerror}", "check the path") from error


def _open_session(content: bytes, provider: str, threads: int) -> ort.InferenceSession:
    if provider not in ort.get_available_providers():
        raise ExecutionProviderMismatch(provider, ", ".join(ort.get_available_providers()))
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.intra_op_num_threads = threads
    options.log_severity_level = 3  # errors only: a server's log is no place for optimiser remarks
    # Spinning threads answer a little sooner and take twice the CPU from the other requests.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    provider_options: list[dict[str, str]] = [{}]
    if provider != CPU:
        # A graph that silently runs on the CPU misses every deadline; with this entry it fails here instead.
        options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    if provider == "CUDAExecutionProvider":
        provider_options = [{"cudnn_conv_algo_search": "HEURISTIC"}]
    try:
        return ort.InferenceSession(content, options, providers=[provider], provider_options=provider_options)
    except UNLOADABLE as error:
        if provider != CPU and "fallback" in str(error).lower():
            raise ExecutionProviderMismatch(provider, CPU) from error
        reason = str(error).splitlines()[0][:300] if str(error) else type(error).__name__
        raise ModelFileError(f"the model file cannot be loaded: {reason}", f"copy it again, or {RE_EXPORT}") from error


def _read_card(session: ort.InferenceSession) -> ModelCard:
    metadata: dict[str, str] = session.get_modelmeta().custom_metadata_map
    if METADATA_KEY not in metadata:
        raise ModelFileError(f"the model file has no {METADATA_KEY!r} metadata", RE_EXPORT)
    return ModelCard.from_json(metadata[METADATA_KEY])


def _check_contract(session: ort.InferenceSession, card: ModelCard) -> None:
    inputs = session.get_inputs()
    if [node.name for node in inputs] != [INPUT] or inputs[0].type != "tensor(uint8)":
        found = ", ".join(f"{node.name} {node.type}" for node in inputs)
        raise ModelFileError(f"the model's input is {found}, not {INPUT!r} of type uint8", RE_EXPORT)
    _check_shape(inputs[0].shape, card)
    outputs = {node.name: node for node in session.get_outputs()}
    missing = [name for name in (CLASS_PROBABILITY, *card.capabilities) if name not in outputs]
    if missing:
        raise ModelFileError(f"the model has no output {', '.join(missing)}", RE_EXPORT)
    columns = outputs[CLASS_PROBABILITY].shape[-1]
    if isinstance(columns, int) and columns != len(card.classes):
        raise ModelFileError(f"the model gives {columns} classes, its card names {len(card.classes)}", RE_EXPORT)


def _check_shape(shape: list[Any], card: ModelCard) -> None:
    wanted = [None, card.geometry.height, card.geometry.width, 3]
    fits = len(shape) == 4 and all(
        not isinstance(side, int) or side == expected for side, expected in zip(shape[1:], wanted[1:], strict=True)
    )
    if not fits:
        raise ModelFileError(
            f"the model's input has shape {shape}, its card says (N, {wanted[1]}, {wanted[2]}, 3)", RE_EXPORT
        )
    if isinstance(shape[0], int):
        raise ModelFileError(f"the model takes batches of exactly {shape[0]}", "export it with a dynamic batch size")
