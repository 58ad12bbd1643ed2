"""A look at the machine: what is there, what can't work, and what to do about it."""

import ctypes
import importlib.metadata
import os
import platform
import re
import shutil
import subprocess
import sysconfig
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import typer

from models.classifier import ExecutionProviderMismatch, installed_runtimes, provider_remedy, try_provider
from service.settings import Settings, load_settings
from service.terminal import emit, say, table
from service.wiring import data_folder, now, open_stores
from storage import models as model_store
from storage.database import DatabaseUnavailable

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]

SIMD = ("sse4_2", "avx", "avx2", "fma", "avx512f", "avx512_vnni", "avx_vnni", "amx_int8", "asimd", "asimddp", "sve")
CUDA_LIBRARIES = ("libcuda.so.1", "libcudart.so.13", "libcublas.so.13", "libcudnn.so.9")
LITTLE_DISK_BYTES = 1_000_000_000
SLOW_FSYNC_MS = 10.0
CLOCK_SLACK_S = 60.0
TIME_ERROR = 5
"""What adjtimex answers where nothing keeps the clock right."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("doctor")(doctor)


@dataclass(slots=True)
class Findings:
    """What the doctor has found: facts, problems that must be solved, hints that may help."""

    facts: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    hints: list[str] = field(default_factory=list)


def doctor(json: Json = False) -> None:
    """Say what this machine has, and what is missing; exit code 1 where Loupe can't work as it is set.

    Example: loupe doctor
    """
    settings = load_settings()
    folder = data_folder(settings)
    found = Findings({"python": platform.python_version(), "cores": f"{os.cpu_count()} ({_simd()})"})
    _look_at_packages(found)
    _look_at_gpu(found)
    _look_at_providers(found, settings.provider)
    _look_at_disk(found, folder)
    _look_at_clock(found, folder)
    _look_at_stores(found, settings)
    if json:
        emit({"ok": not found.problems, "facts": found.facts, "problems": found.problems, "hints": found.hints})
    else:
        table("this machine", ["what", "found"], found.facts.items())
        for hint in found.hints:
            say(f"hint: {hint}")
        for problem in found.problems:
            say(f"problem: {problem}")
        say("all is well" if not found.problems else f"{len(found.problems)} problems")
    if found.problems:
        raise typer.Exit(1)


def _simd() -> str:
    """The instruction sets that make inference quick."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return "instruction sets unknown"
    flags = set(re.findall(r"\S+", "".join(re.findall(r"^(?:flags|Features)\s*:(.*)$", text, re.MULTILINE)[:1])))
    return " ".join(flag for flag in SIMD if flag in flags) or "no SIMD instructions known here"


def _look_at_packages(found: Findings) -> None:
    runtimes = installed_runtimes()
    found.facts["runtime"] = ", ".join(f"{name} {version}" for name, version in runtimes.items()) or "missing"
    if len(runtimes) > 1:
        found.problems.append(
            f"{' and '.join(runtimes)} are both installed and break each other: pip uninstall {' '.join(runtimes)}, "
            "then `make setup EXTRA=cpu` or `make setup EXTRA=gpu`"
        )
    for name in ("numpy", "opencv-python-headless", "simplejpeg", "torch", "onnx", "nicegui", "psycopg"):
        try:
            found.facts[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found.facts[name] = "missing"


def _look_at_gpu(found: Findings) -> None:
    found.facts["nvidia driver"] = _driver() or "none"
    found.facts["gpu"] = _gpus() or "none"
    missing = [name for name in CUDA_LIBRARIES if not _library_is_there(name)]
    found.facts["cuda libraries"] = f"missing: {', '.join(missing)}" if missing else "CUDA 13, cuDNN 9"
    if _driver() is None:
        return
    if "onnxruntime-gpu" not in installed_runtimes():
        found.hints.append("there is an NVIDIA GPU: `make setup EXTRA=gpu`, then LOUPE_PROVIDER=CUDAExecutionProvider")
    elif missing:
        found.hints.append(f"the GPU needs CUDA 13 and cuDNN 9; not found: {', '.join(missing)}")


def _driver() -> str | None:
    try:
        return Path("/proc/driver/nvidia/version").read_text().splitlines()[0].partition(":")[2].strip()
    except (OSError, IndexError):
        return None


def _gpus() -> str:
    """What nvidia-smi lists; empty where there is none."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return ""
    query = [program, "--query-gpu=name,memory.total", "--format=csv,noheader"]
    try:
        ended = subprocess.run(query, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        return f"nvidia-smi fails: {error}"
    return "; ".join(ended.stdout.splitlines())


def _library_is_there(name: str) -> bool:
    """Where the linker looks, or in the Python packages of NVIDIA, from which they are loaded too."""
    try:
        ctypes.CDLL(name)
    except OSError:
        packages = Path(sysconfig.get_path("purelib")) / "nvidia"
        return any(packages.glob(f"**/{name}"))
    return True


def _look_at_providers(found: Findings, wanted: str) -> None:
    """Every provider is tried: what ONNX Runtime lists as available need not open a session."""
    from onnxruntime import get_available_providers

    works = {}
    for provider in [name for name in get_available_providers() if name != "AzureExecutionProvider"]:
        try:
            try_provider(provider)
            works[provider] = "works"
        except ExecutionProviderMismatch as error:
            works[provider] = f"fails: {error.reason or error.found}"
    found.facts["execution providers"] = ", ".join(f"{name} {result}" for name, result in works.items())
    if works.get(wanted) != "works":
        result = works.get(wanted, "is not in this ONNX Runtime")
        found.problems.append(f"LOUPE_PROVIDER={wanted} {result}: {provider_remedy(wanted)}")


def _look_at_disk(found: Findings, folder: Path) -> None:
    found.facts["data folder"] = str(folder)
    usage = shutil.disk_usage(folder)
    found.facts["free disk"] = f"{usage.free / 1e9:.1f} GB of {usage.total / 1e9:.0f} GB"
    if usage.free < LITTLE_DISK_BYTES:
        found.problems.append(f"{folder} has {usage.free / 1e9:.1f} GB left: make room, or move LOUPE_DATA_DIR")
    took_ms = _fsync_ms(folder)
    found.facts["fsync"] = f"{took_ms[len(took_ms) // 2]:.2f} ms in the middle, {took_ms[-1]:.2f} ms at worst"
    if took_ms[len(took_ms) // 2] > SLOW_FSYNC_MS:
        found.hints.append(f"every verdict waits for an fsync of {folder}: put LOUPE_DATA_DIR on a local SSD")


def _fsync_ms(folder: Path) -> list[float]:
    """How long it takes until 4 KB are on the disk, ascending."""
    took = []
    with tempfile.TemporaryFile(dir=folder) as file:
        for _ in range(20):
            file.write(bytes(4096))
            file.flush()
            start = time.perf_counter()
            os.fsync(file.fileno())
            took.append(1000 * (time.perf_counter() - start))
    return sorted(took)


def _look_at_clock(found: Findings, folder: Path) -> None:
    at = now()
    found.facts["clock"] = f"{at:%Y-%m-%d %H:%M:%S} UTC, {_clock_state()}"
    written = [path.stat().st_mtime for path in folder.iterdir() if path.is_file()]
    ahead_s = max(written, default=0.0) - at.timestamp()
    if ahead_s > CLOCK_SLACK_S:
        found.problems.append(f"files in {folder} were written {ahead_s / 60:.0f} minutes in the future: set the clock")


def _clock_state() -> str:
    """What the kernel says of its clock."""
    # struct timex, of which nothing is changed as its first field, modes, is 0; it is smaller than this.
    try:
        state = int(ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(512)))
    except (OSError, AttributeError):
        return "synchronisation unknown"
    return "not synchronised (set up NTP)" if state == TIME_ERROR else "synchronised"


def _look_at_stores(found: Findings, settings: Settings) -> None:
    try:
        with open_stores(settings) as stores:
            found.facts["database"] = stores.database.url
            found.facts["image store"] = stores.images.address
            with stores.database.read() as connection:
                champions = model_store.champions(connection)
            found.facts["champions"] = ", ".join(f"{p}: {c.model_id}" for p, c in champions.items()) or "none yet"
    except DatabaseUnavailable as error:
        found.problems.append(f"{error}: {error.remedy}")
