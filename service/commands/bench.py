"""`loupe bench`: speed as a ratio to what this machine can do at all, contenders alternating in one run."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import httpx
import numpy as np
import typer

from models.card import ClassInfo, ModelCard, OperatingPoint
from models.classifier import Classifier
from models.preprocess import Frame, Geometry, sniff
from models.scoring import score
from service.commands.line import stop
from service.commands.people import default_recipe
from service.demo import free_port
from service.settings import Settings, environment_of, load_settings
from service.terminal import emit, note, progress, say, table
from service.wiring import Stores, now, open_stores
from simulation.parts import Light, PartRenderer, draw_schedule, encode_jpeg
from storage import datasets
from storage import models as model_store
from storage.records import ConsensusRun, Dataset, Model, Promotion

PRODUCT = "bench"
WARM_PARTS = 20
START_WAIT_S = 60.0


class BenchBroken(RuntimeError):
    """The server under test did not do its work, so there is nothing to report."""

    def __init__(self, what: str) -> None:
        super().__init__(what)
        self.remedy = "run `loupe serve` by hand and look at its log"


@dataclass(frozen=True, slots=True)
class Pair:
    """One turn of each contender on the same images."""

    limit_cpu_ms: float
    limit_wall_ms: float
    server_cpu_ms: float
    server_wall_ms: tuple[float, ...]

    @property
    def share(self) -> float:
        """How much of the server's CPU goes into what has to be done anyway."""
        return self.limit_cpu_ms / self.server_cpu_ms


def register(app: typer.Typer) -> None:
    """Add the commands."""
    bench = typer.Typer(help="Speed of this machine beside its own limit.", no_args_is_help=True)
    bench.command("serve")(bench_serve)
    app.add_typer(bench, name="bench")


def bench_serve(
    images: Annotated[Path | None, typer.Option("--images", help="Folder of images; default: rendered parts.")] = None,
    architecture: Annotated[
        str, typer.Option("--architecture", help="Backbone of the model under test.")
    ] = "small_cnn",
    parts: Annotated[int, typer.Option("--parts", min=10, help="Parts a turn.")] = 100,
    pairs: Annotated[int, typer.Option("--pairs", min=3, help="Turns of each contender.")] = 7,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")] = False,
) -> None:
    """The line server (HTTP, journal with fsync, metrics, optics) beside decoding and scoring in one process.

    Example: loupe bench serve --architecture efficientnet_lite0
    """
    bodies = _bodies(images, parts)
    with tempfile.TemporaryDirectory(prefix="loupe-bench-") as scratch:
        settings = load_settings(
            data_dir=scratch,
            database_url=f"sqlite:///{scratch}/loupe.db",
            image_store_url=f"file://{scratch}/images",
            host="127.0.0.1",
            port=free_port(),
            watch_poll_s=0.2,
        )
        with open_stores(settings) as stores:
            path = _publish(stores, architecture)
        classifier = Classifier(path)
        with _server(settings) as (url, pid), progress("measuring") as report:
            client = httpx.Client(base_url=url, timeout=30.0, trust_env=False)
            _ask(client, bodies[:WARM_PARTS], "warm")
            found = []
            for turn in range(pairs):
                found.append(_pair(classifier, client, pid, bodies, turn))
                report(turn + 1, pairs)
            client.close()
    _report(found, architecture, json)


def _bodies(folder: Path | None, parts: int) -> list[tuple[bytes, str]]:
    """Encoded images with their media types; a folder's are taken in turn."""
    if folder is None:
        renderer = PartRenderer(0, width=640, height=480)
        schedule = draw_schedule(np.random.default_rng(0), parts, 0.1)
        return [
            (encode_jpeg(renderer.render(np.random.default_rng(p.seed), p.defect, p.size, Light()).image), "image/jpeg")
            for p in schedule
        ]
    files = [path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()]
    typed = [(data, media_type) for data in files if (media_type := sniff(data))]
    if not typed:
        raise BenchBroken(f"no image lies under {folder}")
    return [typed[n % len(typed)] for n in range(parts)]


def _publish(stores: Stores, architecture: str) -> Path:
    """A model of the architecture with an arbitrary head, promoted: speed does not depend on what it says."""
    from models.export import EMBEDDING, InspectionNetwork, export_model, software_versions
    from models.features import build_extractor
    from models.training import Head

    extractor = build_extractor(architecture)
    sample = np.zeros((1, 224, 224, 3), np.uint8)
    width = _feature_width(extractor, sample)
    rng = np.random.default_rng(0)
    head = Head(np.zeros(width), np.ones(width), rng.normal(0, 0.01, (width, 2)), np.zeros(2))
    point = OperatingPoint(0.4, 0.6, 0.05, 0.05, 0.01, 100, 100)
    card = ModelCard(
        classes=(ClassInfo("ok", 0, True), ClassInfo("defect", 1, False)),
        geometry=Geometry(224, 224),
        operating_points={"standard": point},
        capabilities=(EMBEDDING,),
        software=software_versions(),
    )
    path = stores.settings.data_dir / "bench.onnx"
    export_model(InspectionNetwork(extractor, head, 1.0), card, path, sample)
    sha256 = stores.images.put(path.read_bytes())
    with stores.database.write() as connection:
        datasets.store_run(connection, ConsensusRun("bench", PRODUCT, "none", "", 1, 0, 0, now()), [])
        datasets.store(connection, Dataset("bench", PRODUCT, "bench", 1, 0, now()), [])
        model_store.store(connection, Model("bench", PRODUCT, sha256, "bench", card.to_json(), (), (), now()))
        model_store.promote(connection, Promotion(PRODUCT, "bench", "promote", "", "bench", now()))
        model_store.add_recipe(connection, default_recipe(PRODUCT, "bench", now()))
    return path


def _feature_width(extractor: Any, sample: np.ndarray[Any, np.dtype[np.uint8]]) -> int:
    import torch

    with torch.inference_mode():
        return int(extractor(torch.from_numpy(sample)).shape[1])


@contextmanager
def _server(settings: Settings) -> Iterator[tuple[str, int]]:
    """A real `loupe serve`; ready when the block begins."""
    url = f"http://127.0.0.1:{settings.port}"
    process = subprocess.Popen(
        [sys.executable, "-m", "service.cli", "serve"], env=environment_of(settings), stderr=subprocess.DEVNULL
    )
    try:
        give_up = time.monotonic() + START_WAIT_S
        while not _is_ready(url):
            if time.monotonic() > give_up or process.poll() is not None:
                raise BenchBroken("the line server did not become ready")
            time.sleep(0.1)
        yield url, process.pid
    finally:
        stop([process])


def _is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health/ready", timeout=1.0, trust_env=False).status_code == 200
    except httpx.TransportError:
        return False


def _pair(
    classifier: Classifier, client: httpx.Client, pid: int, bodies: Sequence[tuple[bytes, str]], turn: int
) -> Pair:
    """Both contenders on the same images; who goes first changes from turn to turn."""
    if turn % 2:
        server = _server_turn(client, pid, bodies, turn)
        limit = _limit_turn(classifier, bodies)
    else:
        limit = _limit_turn(classifier, bodies)
        server = _server_turn(client, pid, bodies, turn)
    return Pair(*limit, *server)


def _limit_turn(classifier: Classifier, bodies: Sequence[tuple[bytes, str]]) -> tuple[float, float]:
    cpu, wall = time.process_time(), time.perf_counter()
    for data, media_type in bodies:
        score(classifier, Frame(data, media_type))
    return 1000 * (time.process_time() - cpu) / len(bodies), 1000 * (time.perf_counter() - wall) / len(bodies)


def _server_turn(
    client: httpx.Client, pid: int, bodies: Sequence[tuple[bytes, str]], turn: int
) -> tuple[float, tuple[float, ...]]:
    before = _cpu_s(pid)
    walls = _ask(client, bodies, str(turn))
    return 1000 * (_cpu_s(pid) - before) / len(bodies), walls


def _ask(client: httpx.Client, bodies: Sequence[tuple[bytes, str]], run: str) -> tuple[float, ...]:
    """Latency (ms) of each part at concurrency 1."""
    walls = []
    for number, (data, media_type) in enumerate(bodies):
        query = {"station": "bench", "trigger_id": f"{run}-{number}", "product": PRODUCT}
        began = time.perf_counter()
        response = client.post("/v1/inspections", params=query, content=data, headers={"Content-Type": media_type})
        walls.append(1000 * (time.perf_counter() - began))
        if response.status_code != 200:
            raise BenchBroken(f"the line server answered {response.status_code}: {response.text[:200]}")
    return tuple(walls)


def _cpu_s(pid: int) -> float:
    """User and system time of a process with all its threads (Linux: proc(5), fields 14 and 15 of stat)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _report(found: Sequence[Pair], architecture: str, json: bool) -> None:
    shares = np.array([pair.share for pair in found])
    walls = np.concatenate([pair.server_wall_ms for pair in found])
    limit_wall = float(np.median([pair.limit_wall_ms for pair in found]))
    result = {
        "architecture": architecture,
        "pairs": len(found),
        "share_of_limit": _spread(shares),
        "limit_cpu_ms": _spread(np.array([pair.limit_cpu_ms for pair in found])),
        "server_cpu_ms": _spread(np.array([pair.server_cpu_ms for pair in found])),
        "latency_p50_ms": float(np.quantile(walls, 0.5)),
        "latency_p99_ms": float(np.quantile(walls, 0.99)),
        "latency_p50_over_limit": float(np.quantile(walls, 0.5)) / limit_wall,
    }
    if json:
        emit(result)
        return
    note("CPU of the server process alone; the client is not in it, draining to the database is")
    rows = [
        (name, f"{value['median']:.2f}", f"{value['low']:.2f} – {value['high']:.2f}")
        for name, value in result.items()
        if isinstance(value, dict)
    ]
    table(f"{architecture}, {len(found)} alternating pairs", ["", "median", "least – most"], rows)
    say(f"latency at concurrency 1: p50 {result['latency_p50_ms']:.1f} ms, p99 {result['latency_p99_ms']:.1f} ms")
    say(f"p50 is {result['latency_p50_over_limit']:.2f} x the in-process time of one image")


def _spread(values: Any) -> dict[str, float]:
    return {"median": float(np.median(values)), "low": float(np.min(values)), "high": float(np.max(values))}
