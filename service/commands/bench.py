"""`loupe bench`: speed as a ratio to what this machine can do at all, contenders alternating in one run."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from service.terminal import emit, note, progress, table

Images = Annotated[Path | None, typer.Option("--images", help="Folder of images; default: rendered parts.")]
Architecture = Annotated[str, typer.Option("--architecture", help="Backbone of the model under test.")]
Size = Annotated[str, typer.Option("--size", help="Width x height of rendered parts, in pixels.")]
Quick = Annotated[bool, typer.Option("--quick", help="In about a minute, with wider intervals.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]

LARGEST_SIDE = 8192
SIDE_PX, LARGEST_MODEL_SIDE_PX = 224, 1024
"""Of the model's square input; of the largest one, all images fit into memory while the model is made."""


def register(app: typer.Typer) -> None:
    """Add the commands."""
    bench = typer.Typer(help="Speed of this machine beside its own limit.", no_args_is_help=True)
    bench.command("serve")(bench_serve)
    bench.command("swaps")(bench_swaps)
    bench.command("consensus")(bench_consensus)
    bench.command("asking")(bench_asking)
    bench.command("optics")(bench_optics)
    app.add_typer(bench, name="bench")


def bench_serve(
    images: Images = None,
    architecture: Architecture = "small_cnn",
    side: Annotated[
        int,
        typer.Option("--side", metavar="PX", help="Side of the model's square input; its cost grows with the square."),
    ] = SIDE_PX,
    size: Size = "640x480",
    pairs: Annotated[int | None, typer.Option("--pairs", min=3, help="Turns of each contender.")] = None,
    peers: Annotated[bool, typer.Option("--peers", help="Other servers too, from `make bench-peers`.")] = False,
    without: Annotated[
        bool, typer.Option("--without", help="Also the line server without journal, metrics, watching.")
    ] = False,
    quick: Quick = False,
    json: Json = False,
) -> None:
    """The line server (HTTP, journal with fsync, metrics, optics) beside decoding and scoring in one process.

    What is printed is explained in docs/performance.md.

    Example: loupe bench serve --architecture efficientnet_lite0 --size 2048x1536
    """
    # Imported here so that every other command starts without the renderer.
    from models.architectures import STRIDE
    from service.bench.peers import installed_peers
    from service.bench.plan import FULL, QUICK
    from service.bench.report import show, summary
    from service.bench.run import LOUPE, measure_server, prepared
    from service.bench.without import without_each

    if side % STRIDE or not STRIDE <= side <= LARGEST_MODEL_SIDE_PX:
        raise typer.BadParameter(
            f"{side} is no multiple of {STRIDE} in {STRIDE}..{LARGEST_MODEL_SIDE_PX} pixels", param_hint="--side"
        )
    plan = QUICK if quick else FULL
    if pairs is not None:
        plan = replace(plan, pairs=pairs, open_rounds=min(pairs, plan.open_rounds))
    extras = [*(without_each() if without else ()), *(installed_peers() if peers else ())]
    note("making images and a model")
    with prepared(plan, architecture, side, _size_px(size), images) as bench:
        with progress("measuring") as report:
            measured = measure_server(bench, extras, report)
        result = summary(bench, size if images is None else str(images), measured, LOUPE)
    if json:
        emit(result)
    else:
        show(result)


def bench_swaps(
    architecture: Architecture = "small_cnn",
    size: Size = "640x480",
    swaps: Annotated[int, typer.Option("--swaps", min=10, help="Changes of model in all.")] = 100,
    json: Json = False,
) -> None:
    """Two models promoted by turns under half load: what the parts that pass by notice; exit code 1 if one fails.

    Example: loupe bench swaps --architecture efficientnet_lite0
    """
    from service.bench.plan import QUICK
    from service.bench.run import prepared
    from service.bench.swaps import measure_swaps, show, summary

    note("making images and two models")
    with (
        prepared(QUICK, architecture, SIDE_PX, _size_px(size), None, models=2) as bench,
        progress("measuring") as report,
    ):
        result = summary(measure_swaps(bench, swaps, report))
    if json:
        emit(result)
    else:
        show(result)
    if result["failures"]:
        raise typer.Exit(1)


def bench_consensus(
    pairs: Annotated[int, typer.Option("--pairs", min=3, help="Turns of each model.")] = 7,
    quick: Quick = False,
    json: Json = False,
) -> None:
    """How long settling 300, 10,000 and 1,000,000 labels takes, beside one pass over the votes.

    Example: loupe bench consensus --quick
    """
    from service.bench.consensus import SIZES, measure

    with progress("settling"):
        found = measure(3 if quick else pairs, sizes=SIZES[:2] if quick else SIZES)
    if json:
        emit(found)
        return
    rows = [
        (
            f"{row['labels']:,}",
            row["method"],
            f"{row['cpu_ms']['median']:.1f}",
            f"{row['cpu_ms']['low']:.1f}-{row['cpu_ms']['high']:.1f}",
            f"{row['times_one_pass']['median']:.0f}",
            f"{row['peak_bytes_a_label']:.0f}",
        )
        for row in found
    ]
    table("settling labels", ["labels", "model", "CPU ms", "interval", "x one pass", "peak bytes a label"], rows)


def bench_asking(
    seeds: Annotated[int, typer.Option("--seeds", min=2, help="Panels of inspectors to draw.")] = 20,
    first: Annotated[int, typer.Option("--first", min=0, help="Seed of the first panel.")] = 0,
    json: Json = False,
) -> None:
    """How right labels get for the judgements, and for the money where inspectors differ, by who is asked about what.

    Example: loupe bench asking --seeds 5
    """
    from service.bench import buying
    from service.bench.asking import POLICIES, measure

    panels = range(first, first + seeds)
    with progress("asking") as report:
        found = measure(panels, report)
    with progress("buying") as report:
        bought = buying.measure(panels, report)
    if json:
        emit({"judgements": found, "money": bought})
        return
    rows = [
        (
            row["mix"],
            str(row["start"]),
            policy,
            f"{row['accuracy'][policy][-1]:.3f}",
            *("never" if n is None else str(n) for n in row["needed"][policy].values()),
        )
        for row in found
        for policy in POLICIES
    ]
    heads = ["mix", "looks before", "asked by", "accuracy at 200", "as random at 100", "at 150", "at 200"]
    table("further judgements", heads, rows)
    bought_rows = [
        (
            row["team"],
            str(row["controls"]),
            row["policy"],
            f"{row['mean']:.4f}",
            f"{row['above_entropy']:+.4f} ± {1.96 * row['error']:.4f}",
        )
        for row in buying.overall(bought)
    ]
    heads = ["team", "known answers", "asked by", "mean accuracy", "above entropy"]
    table("for the money, of inspectors who differ", heads, bought_rows)


def bench_optics(
    cameras: Annotated[
        list[str] | None, typer.Option("--camera", help="Only this simulated camera; may be repeated.")
    ] = None,
    commission: Annotated[
        int | None, typer.Option("--commission", min=50, help="Images that teach what is normal; default: a day, 8000.")
    ] = None,
    peers: Annotated[bool, typer.Option("--peers", help="river's detectors too, from `make bench-peers`.")] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the tables as Markdown.")] = False,
    quick: Quick = False,
    json: Json = False,
) -> None:
    """The optics monitor beside detectors of brightness, on simulated cameras: who notices what, at equal false alarms.

    What is printed is explained in docs/optics-bench.md.

    Example: loupe bench optics --quick
    """
    from service.bench.optics import FULL, QUICK, has_river, measure
    from service.bench.optics_report import as_markdown, summary, tables
    from service.bench.peers import PYTHON, PeersMissing
    from simulation.light.cameras import CAMERAS

    if unknown := sorted(set(cameras or ()) - set(CAMERAS)):
        raise typer.BadParameter(f"{unknown[0]} is none of {', '.join(CAMERAS)}", param_hint="--camera")
    if json and markdown:
        raise typer.BadParameter("print one of them", param_hint="--json / --markdown")
    plan = QUICK if quick else FULL
    if commission is not None:
        plan = replace(plan, commission=commission)
    if peers and not PYTHON.exists():
        raise PeersMissing
    river = PYTHON if peers and has_river(PYTHON) else None
    if peers and river is None:
        note(f"river is left out: {PYTHON} has none; run `make bench-peers` again")
    with progress("measuring") as report:
        runs, others = measure(plan, cameras or tuple(CAMERAS), river=river, report=report)
    result = summary(plan, runs, others)
    if json:
        emit(result)
    elif markdown:
        sys.stdout.write(as_markdown(result))
    else:
        for title, heads, rows in tables(result):
            table(title, heads, rows)


def _size_px(text: str) -> tuple[int, int]:
    """Width and height, from `640x480`."""
    width, cross, height = text.lower().partition("x")
    if not (cross and width.isdecimal() and height.isdecimal()):
        raise typer.BadParameter(f"{text} is no width x height, such as 640x480", param_hint="--size")
    if not all(32 <= int(side) <= LARGEST_SIDE for side in (width, height)):
        raise typer.BadParameter(f"the sides of {text} must lie in 32..{LARGEST_SIDE} pixels", param_hint="--size")
    return int(width), int(height)
