"""An ONNX Runtime session over a model file: uint8 images in, scores out."""

import contextlib
import hashlib
import importlib.metadata
import io
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors

from models.card import METADATA_KEY, ModelCard, ModelFileError
from models.regions import Region

INPUT = "images"
CLASS_PROBABILITY = "class_probability"
CPU = "CPUExecutionProvider"
CUDA = "CUDAExecutionProvider"
TENSORRT = "TensorrtExecutionProvider"
RE_EXPORT = "export it again with `loupe train`, or bring it in with `loupe model import`"

RUNTIME_PACKAGES = ("onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino", "onnxruntime-directml")
"""Packages that bring the one import name onnxruntime; two of them overwrite each other's files."""

# What ONNX Runtime raises for files it cannot open; they share no base class below RuntimeError and Exception.
UNLOADABLE = (
    ort_errors.InvalidProtobuf,
    ort_errors.InvalidGraph,
    ort_errors.InvalidArgument,
    ort_errors.NoSuchFile,
    ort_errors.NoModel,
    ort_errors.NotImplemented,
    ort_errors.RuntimeException,
    ort_errors.EPFail,
    ort_errors.Fail,
)

# y = float(x)², x uint8 (n,), as serialised ONNX: machines that only inspect have no onnx package to build it with.
TINY_GRAPH = bytes.fromhex(
    "08083a530a170a01781201662204436173742a090a02746f1801a001020a0e0a01660a016612017922034d756c120474696e795a100a0178"
    "120b0a09080212050a0312016e62100a0179120b0a09080112050a0312016e42040a001012"
)
OPENING = (*UNLOADABLE, ValueError, RuntimeError)
"""What opening a session raises: execution providers that can't start add the two plain ones."""


class ExecutionProviderMismatch(RuntimeError):
    """ONNX Runtime does not run the model on the device that was asked for."""

    def __init__(self, wanted: str, found: str, reason: str = "") -> None:
        self.wanted = wanted
        self.found = found
        self.reason = reason
        self.remedy = provider_remedy(wanted)
        super().__init__(f"asked for {wanted}, got {found}{f' ({reason})' if reason else ''}; {self.remedy}")


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
    regions: tuple[Region, ...] | None = None
    """Where the defects are in the frame; None where the model has no defect map, or nobody asked where."""

    @property
    def is_finite(self) -> bool:
        """Whether every number is one."""
        # math on a list: for the handful of numbers of one view numpy's calls cost five times as much.
        if not math.isfinite(self.p_defect) or (self.novelty is not None and not math.isfinite(self.novelty)):
            return False
        return all(map(math.isfinite, self.class_probability.tolist()))


class Scorer(Protocol):
    """A loaded model: a Classifier, or one that gathers the requests of many threads."""

    @property
    def card(self) -> ModelCard:
        """What the file says about itself."""

    @property
    def provider(self) -> str:
        """The execution provider that the session uses."""

    @property
    def sha256(self) -> str:
        """Of the file."""

    @property
    def bytes(self) -> int:
        """Main memory that the loaded model holds, in bytes; an estimate."""

    def predict(self, images: NDArray[np.uint8]) -> Scores:
        """uint8 (N, H, W, 3) RGB tiles -> scores of each tile."""

    def warm(self, batch: int = 1) -> Scores:
        """Run black images, so that the first part does not pay for lazy initialisation."""


@dataclass(frozen=True, slots=True)
class SessionPlan:
    """How a session is opened: providers in order with their options, session entries, threads of the CPU."""

    providers: tuple[str, ...]
    provider_options: tuple[Mapping[str, str], ...]
    entries: Mapping[str, str] = field(default_factory=dict)
    threads: int = 1


def session_plan(provider: str, threads: int = 1, engine_cache: Path | None = None) -> SessionPlan:
    """The plan for an execution provider; it opens nothing.

    engine_cache: folder where TensorRT keeps the engines that it builds, which takes minutes a model; without one they
    are built anew at every start.

    >>> session_plan("CUDAExecutionProvider").providers
    ('CUDAExecutionProvider',)
    """
    # Spinning threads answer a little sooner and take twice the CPU from the other requests.
    entries = {"session.intra_op.allow_spinning": "0"}
    if provider == CPU:
        return SessionPlan((CPU,), ({},), entries, threads)
    # A graph that silently runs on the CPU misses every deadline; with this entry it fails at opening instead. Naming
    # the CPU provider beside it would be a contradiction that ONNX Runtime refuses.
    entries["session.disable_cpu_ep_fallback"] = "1"
    # HEURISTIC: the exhaustive search for a convolution would be paid again for every new batch size. TF32 rounds to
    # 10 bits: the thresholds were made in full precision.
    cuda = {"cudnn_conv_algo_search": "HEURISTIC", "use_tf32": "0"}
    if provider == CUDA:
        return SessionPlan((CUDA,), (cuda,), entries, threads)
    if provider == TENSORRT:
        # What TensorRT has no kernel for stays on the same device.
        return SessionPlan((TENSORRT, CUDA), (_tensorrt(engine_cache), cuda), entries, threads)
    return SessionPlan((provider,), ({},), entries, threads)


def _tensorrt(engine_cache: Path | None) -> dict[str, str]:
    options = {"trt_fp16_enable": "0"}
    if engine_cache is not None:
        options |= {
            "trt_engine_cache_enable": "1",
            "trt_engine_cache_path": str(engine_cache),
            "trt_timing_cache_enable": "1",
            "trt_timing_cache_path": str(engine_cache),
        }
    return options


def provider_remedy(provider: str) -> str:
    """What to do where an execution provider can't be used."""
    if provider in (CUDA, TENSORRT):
        return (
            "install the GPU build (`make setup EXTRA=gpu`; it needs an NVIDIA driver, CUDA 13 and cuDNN 9), see what "
            f"`loupe doctor` finds, or set LOUPE_PROVIDER={CPU}"
        )
    if provider == CPU:
        return "install ONNX Runtime: `make setup EXTRA=cpu`"
    return f"install the ONNX Runtime package that has it, see what `loupe doctor` finds, or set LOUPE_PROVIDER={CPU}"


def installed_runtimes() -> dict[str, str]:
    """Package -> version of every ONNX Runtime that is installed; there must be exactly one."""
    found = {}
    for name in RUNTIME_PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def try_provider(provider: str) -> None:
    """Open a session over a tiny graph on a provider and run it: what is listed as available need not work.

    Raises ExecutionProviderMismatch.
    """
    try:
        session = _open(TINY_GRAPH, session_plan(provider))
        found = session.run(None, {"x": np.arange(3, dtype=np.uint8)})[0]
    except ExecutionProviderMismatch:
        raise
    except OPENING as error:
        raise ExecutionProviderMismatch(provider, "an error", _first_line(error)) from error
    if found.tolist() != [0.0, 1.0, 4.0]:
        raise ExecutionProviderMismatch(provider, f"wrong results {found.tolist()}")


class Classifier:
    """A loaded model; predict may be called from many threads at once.

    engine_cache: as for session_plan.

    Raises:
        ModelFileError: the file is missing, damaged, or does not keep the contract of the model file.
        ExecutionProviderMismatch: the execution provider is not available or not the one that the session uses.
    """

    def __init__(
        self,
        path: Path | str | bytes,
        provider: str = CPU,
        threads: int = 1,
        *,
        engine_cache: Path | None = None,
    ) -> None:
        content = path if isinstance(path, bytes) else _read_file(Path(path))
        self.sha256 = hashlib.sha256(content).hexdigest()
        before = resident_bytes()
        self._session = _open_session(content, session_plan(provider, threads, engine_cache))
        self.provider: str = self._session.get_providers()[0]
        # Other threads allocate too, so what was measured is only a hint: never less than the weights in the file.
        self.bytes = max(len(content), resident_bytes() - before)
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
    novelty = scores.novelty
    if len(scores.class_probability) == 1:
        # By far the most views are one tile: plain floats cost a fifth of numpy's calls on so few numbers.
        probability = scores.class_probability[0]
        values = probability.tolist()
        return ViewScore(
            class_probability=probability,
            p_defect=_left_by(values, card.ok_columns),
            novelty=None if novelty is None else float(novelty[0]),
            class_name=card.classes[values.index(max(values))].name,
        )
    p_defect = card.p_defect(scores.class_probability)
    # A tile with a number that is none must speak for the view: argmax takes NaN for the highest.
    p_defect[~np.isfinite(scores.class_probability).all(axis=1)] = np.nan
    worst = int(np.argmax(p_defect))
    probability = scores.class_probability[worst]
    return ViewScore(
        class_probability=probability,
        p_defect=float(p_defect[worst]),
        novelty=None if novelty is None else float(novelty.max()),
        class_name=card.classes[int(np.argmax(probability))].name,
    )


def _left_by(probability: list[float], ok_columns: tuple[int, ...]) -> float:
    """As ModelCard.p_defect; not written with min and max, which would turn NaN into a number."""
    p_defect = 1.0 - sum(probability[column] for column in ok_columns)
    if p_defect < 0.0:
        return 0.0
    return 1.0 if p_defect > 1.0 else p_defect


def resident_bytes() -> int:
    """Main memory that this process holds; 0 where the system does not say."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0


def _read_file(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ModelFileError(f"the model file {path} cannot be read: {error.strerror}", "check the path") from error


def _open_session(content: bytes, plan: SessionPlan) -> ort.InferenceSession:
    try:
        return _open(content, plan)
    except ExecutionProviderMismatch:
        raise
    except OPENING as error:
        wanted = plan.providers[0]
        if wanted != CPU and _opens_on_cpu(content):
            raise ExecutionProviderMismatch(wanted, CPU, _first_line(error)) from error
        raise ModelFileError(
            f"the model file cannot be loaded: {_first_line(error)}", f"copy it again, or {RE_EXPORT}"
        ) from error


def _open(content: bytes, plan: SessionPlan) -> ort.InferenceSession:
    wanted = plan.providers[0]
    available = ort.get_available_providers()
    if wanted not in available:
        raise ExecutionProviderMismatch(wanted, ", ".join(available))
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.intra_op_num_threads = plan.threads
    options.log_severity_level = 3  # errors only: a server's log is no place for optimiser remarks
    for name, value in plan.entries.items():
        options.add_session_config_entry(name, value)
    _preload(plan.providers)
    # enable_fallback=0: else ONNX Runtime opens a failing session on the CPU again and prints that, and does the same
    # in the middle of production where a GPU fails.
    session = ort.InferenceSession(
        content,
        options,
        providers=list(plan.providers),
        provider_options=[dict(one) for one in plan.provider_options],
        enable_fallback=0,
    )
    found = session.get_providers()[0]
    if found != wanted:
        raise ExecutionProviderMismatch(wanted, found)
    # It is kept for opening the session on another provider, which never happens here, and doubles the memory.
    session._model_bytes = None
    return session


def _preload(providers: tuple[str, ...]) -> None:
    """Load the CUDA libraries that came as Python packages; the linker does not look for them there."""
    if CUDA not in providers or not hasattr(ort, "preload_dlls"):
        return
    # It prints what it did not find, on the standard output that `--json` needs; opening the session says it again.
    with contextlib.redirect_stdout(io.StringIO()):
        ort.preload_dlls()


def _opens_on_cpu(content: bytes) -> bool:
    """Whether the file itself is sound."""
    try:
        _open(content, session_plan(CPU))
    except OPENING:
        return False
    return True


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0][:300] if str(error) else type(error).__name__


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
