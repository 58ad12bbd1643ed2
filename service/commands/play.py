"""Commands that play the outside world: simulate and demo."""

from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from service.demo import run_demo
from service.settings import load_settings
from service.terminal import emit, progress, say, table
from service.wiring import now
from simulation.dataset import write_dataset
from simulation.inspectors import standard_team
from simulation.line import LineReport, LineSimulator, SentPart, present, summarise
from simulation.parts import Light, PartRenderer, draw_schedule

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]
Seed = Annotated[int, typer.Option("--seed", help="The same seed gives the same parts.")]


class NoServer(ConnectionError):
    """Nothing was answered at all."""

    def __init__(self, url: str) -> None:
        super().__init__(f"no line server answers at {url}")
        self.remedy = "start it with `loupe serve`, or name its address with --url"


class AllRefused(RuntimeError):
    """The server is there, but took no part."""

    def __init__(self, url: str, product: str) -> None:
        super().__init__(f"the line server at {url} refused every part of product {product!r}")
        self.remedy = "look at its state (GET /v1/stations/sim/state): is a model of this product promoted?"


def register(app: typer.Typer) -> None:
    """Add the commands."""
    simulate = typer.Typer(
        help="Rendered parts: as a labelled folder, or sent at a takt to a server.", no_args_is_help=True
    )
    simulate.command("parts")(simulate_parts)
    simulate.command("line")(simulate_line)
    app.add_typer(simulate, name="simulate")
    app.command("demo")(demo)


def simulate_parts(
    folder: Annotated[Path, typer.Argument(help="New or empty folder.")],
    parts: Annotated[int, typer.Option("--parts", min=1, help="How many.")] = 300,
    defect_rate: Annotated[
        float, typer.Option("--defect-rate", min=0.0, max=1.0, help="Share of defective parts.")
    ] = 0.3,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Render parts with the labels of three simulated inspectors, ready for `loupe import`.

    Example: loupe simulate parts parts/ --parts 300
    """
    start = now().replace(hour=6, minute=0, second=0, microsecond=0)
    rng = np.random.default_rng(seed)
    labels = write_dataset(folder, rng, parts, defect_rate, standard_team(), start, renderer=PartRenderer(seed))
    emit({"labels": str(labels), "parts": parts}) if json else say(f"{parts} parts and their labels: {labels}")


def simulate_line(
    product: Annotated[str, typer.Option("--product", help="Product to name in the requests.")],
    url: Annotated[
        str | None, typer.Option("--url", help="The line server's address; default: this machine's.")
    ] = None,
    station: Annotated[str, typer.Option("--station", help="Station to name in the requests.")] = "sim",
    camera: Annotated[str, typer.Option("--camera", help="Camera to name in the requests.")] = "top",
    parts: Annotated[int, typer.Option("--parts", min=1, help="How many.")] = 200,
    takt_ms: Annotated[float, typer.Option("--takt-ms", min=1.0, help="Time from part to part (ms).")] = 200.0,
    defect_rate: Annotated[
        float, typer.Option("--defect-rate", min=0.0, max=1.0, help="Share of defective parts.")
    ] = 0.05,
    dim_from: Annotated[int | None, typer.Option("--dim-from", help="From this part on the lamps are dimmed.")] = None,
    dim_to: Annotated[float, typer.Option("--dim-to", min=0.0, max=1.0, help="Light left when dimmed.")] = 0.8,
    key: Annotated[str | None, typer.Option("--key", help="The station's key, where keys exist.")] = None,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Send rendered parts to a line server at a takt, as a camera PC would, and say what became of them.

    Example: loupe simulate line --product housing --parts 500 --takt-ms 100
    """
    url = url or f"http://127.0.0.1:{load_settings().port}"
    schedule = draw_schedule(np.random.default_rng(seed), parts, defect_rate)
    dimmed, normal = Light(level=dim_to), Light()
    run_id = f"{now():%Y%m%dT%H%M%S}"
    shots = present(
        PartRenderer(seed), schedule, run_id, lambda n: dimmed if dim_from is not None and n >= dim_from else normal
    )
    simulator = LineSimulator(url, station, product, camera, takt_ms, key=key)
    with progress("sending parts") as report:
        done: list[SentPart] = []

        def count(part: SentPart) -> None:
            done.append(part)
            report(len(done), parts)

        found = summarise(simulator.run(shots, count))
    if found.answered == 0:
        raise NoServer(url)
    if found.refused == found.parts:
        raise AllRefused(url, product)
    if json:
        emit({name: getattr(found, name) for name in LineReport.__dataclass_fields__})
        return
    table("what became of the parts", ["", ""], line_rows(found))


def demo(
    once: Annotated[bool, typer.Option("--once", help="Stop after the summary instead of serving on.")] = False,
    seed: Seed = 7,
    json: Json = False,
) -> None:
    """The whole loop on rendered parts, in about two minutes: label, settle, train, promote, inspect, dim, relabel.

    Example: loupe demo --once
    """
    run_demo(load_settings(), seed=seed, once=once, json=json)


def line_rows(report: LineReport) -> list[tuple[str, str]]:
    """A line report for people."""
    return [
        ("parts sent", str(report.parts)),
        ("answered / refused / lost", f"{report.answered} / {report.refused} / {report.lost}"),
        ("escapes", f"{report.escapes} of {report.defective} defective parts"),
        ("overkill", f"{report.overkill} of {report.good} good parts"),
        ("rechecks", str(report.rechecks)),
        ("latency p50 / p99", f"{report.p50_ms:.1f} / {report.p99_ms:.1f} ms"),
    ]
