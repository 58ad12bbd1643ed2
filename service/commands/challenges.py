"""Commands about parts with a known answer: one challenge, the challenges there were, the capability study."""

import json as json_text
import os
import secrets
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from labeling.formats import FORMATS, Listing, Problem, detect
from models.preprocess import UnreadableImage, sniff
from service.commands.data import PROBLEMS_SHOWN, read_columns
from service.line_client import PostedView, open_client, post_part
from service.report_file import check_places, write_whole
from service.settings import load_settings
from service.study import Look, figures, judgements, send_rounds
from service.study_items import KnownItem, NothingKnown, known_items
from service.study_page import as_html
from service.study_report import Sent, as_csv, cautions, columns, facts, rows, summary
from service.terminal import emit, note, progress, say, table
from service.wiring import Stores, now, open_stores
from storage import challenges as challenge_store

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]
Station = Annotated[str, typer.Option("--station", help="Station that the part is sent to.")]
Product = Annotated[str | None, typer.Option("--product", help="Product; needed where more than one has a champion.")]
Url = Annotated[str | None, typer.Option("--url", help="The line server's address; default: this machine's.")]
ApiKey = Annotated[str | None, typer.Option("--key", help="The station's key, where keys exist.")]

WRITERS: dict[str, Callable[[dict[str, Any]], str]] = {
    ".html": as_html,
    ".csv": as_csv,
    ".json": lambda result: json_text.dumps(result, indent=2) + "\n",
}
"""How a report is written, by the ending of its file."""


def register(app: typer.Typer) -> None:
    """Add the commands."""
    challenge = typer.Typer(help="Parts with a known answer, sent through the whole system.", no_args_is_help=True)
    challenge.command("send")(send)
    challenge.command("list")(list_challenges)
    challenge.command("study")(run_study)
    app.add_typer(challenge, name="challenge")


def send(
    expected: Annotated[str, typer.Option("--expected", help="What must be found: ok, not_ok, or a class.")],
    station: Station,
    image: Annotated[
        Path | None,
        typer.Argument(
            metavar="IMAGE",
            help="Image of the part, where one view shows it.",
            exists=True,
            dir_okay=False,
            readable=True,
        ),
    ] = None,
    product: Product = None,
    view: Annotated[
        list[str] | None,
        typer.Option("--view", help="NAME=IMAGE for each view of the part; with IMAGE only the NAME of its view."),
    ] = None,
    url: Url = None,
    key: ApiKey = None,
    json: Json = False,
) -> None:
    """Send one part whose answer is known. A station that gets it wrong stops until it gets a known part right.

    Exit code 1 where the answer is not the known one.

    Example: loupe challenge send rabbit.png --expected not_ok --station s1

    Example: loupe challenge send --view top=top.jpg --view side=side.jpg --expected scratch --station s1
    """
    views = [_read_view(path, name) for name, path in _views(image, view or []).items()]
    query = {**_query(station, product), "trigger_id": _unique("challenge"), "expected": expected}
    with open_client(_address(url), key) as http:
        found = post_part(http, "/v1/challenges", views, query)
    if json:
        emit(found)
    else:
        code = f"{found['disposition']} ({found['result_code']})"
        say(f"passed: {code}" if found["passed"] else f"NOT PASSED: {found['reason']}, {code}")
    if not found["passed"]:
        raise typer.Exit(1)


def list_challenges(
    station: Annotated[str | None, typer.Option("--station", help="Only this station.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="At most so many.")] = 50,
    json: Json = False,
) -> None:
    """List the challenges, newest first.

    Example: loupe challenge list --station s1
    """
    with open_stores(load_settings()) as stores, stores.database.read() as connection:
        found = challenge_store.newest(connection, limit, station)
    if json:
        emit([asdict(one) for one in found])
        return
    table(
        "challenges",
        ["sent (UTC)", "station", "product", "expected", "passed", "why not"],
        [
            (
                f"{one.challenged_at:%Y-%m-%d %H:%M:%S}",
                one.station,
                one.product,
                one.expected_class or one.expected,
                "yes" if one.passed else "NO",
                one.reason,
            )
            for one in found
        ],
    )
    if not found:
        say("no challenges yet: loupe challenge send IMAGE --expected not_ok --station S")


def run_study(
    path: Annotated[Path, typer.Argument(help="Images with known answers: labels.csv, or a folder as for import.")],
    station: Station,
    repeats: Annotated[int, typer.Option("--repeats", min=1, help="Rounds: how often every image is sent.")] = 3,
    ok: Annotated[str, typer.Option("--ok", help="Names of the good classes, separated by commas.")] = "",
    columns_of: Annotated[
        list[str] | None, typer.Option("--map", help="COLUMN=MEANING for labels.csv; may be repeated.")
    ] = None,
    product: Product = None,
    view: Annotated[
        list[str] | None,
        typer.Option(
            "--view", help="Name of the view; repeat it for parts of several views, which their files are named by."
        ),
    ] = None,
    url: Url = None,
    key: ApiKey = None,
    takt_ms: Annotated[float, typer.Option("--takt-ms", min=0.0, help="Least time from part to part (ms).")] = 0.0,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the orders in which parts are sent.")] = 0,
    out: Annotated[Path | None, typer.Option("--out", help="Report: a file ending in .html, .csv or .json.")] = None,
    json: Json = False,
) -> None:
    """How capable is the inspection: parts with known answers, several times, in a new random order each round.

    Loupe is judged as an inspector is in an attribute study, beside the people who labelled the same images. Nothing of
    it counts in yield, and a part that is found wrong does not stop the station.

    Example: loupe challenge study known/labels.csv --station s1 --repeats 3 --out report.html

    Example: loupe challenge study known/ --view top --view side --station s1 (known/scratch/4711/top.png, …/side.png)
    """
    views = view or []
    if len(set(views)) != len(views):
        raise typer.BadParameter(f"a view is named twice: {', '.join(views)}", param_hint="--view")
    if out is not None:
        if out.suffix.lower() not in WRITERS:
            raise typer.BadParameter(f"{out}: name a file ending in {', '.join(WRITERS)}", param_hint="--out")
        check_places([out], [path, path / "labels.csv"])
    listing = FORMATS[detect(path)](path, read_columns(columns_of or []))
    good = [part.strip() for part in ok.split(",") if part.strip()]
    with progress("reading images") as report:
        items, problems = known_items(listing, good, views, report)
    _note_problems(problems)
    if not items:
        raise NothingKnown(listing.root, len(problems))
    query = {**_query(station, product), "trigger_epoch": _unique("study")}
    started = now()
    # Opened first: a database that does not answer must not cost a study that was sent.
    with open_stores(load_settings()) as stores:
        with open_client(_address(url), key) as http, progress("sending parts") as report:
            looks = send_rounds(http, items, query, repeats, takt_ms, np.random.default_rng(seed), report)
        sent = Sent(station, repeats, seed, started, now())
        found = _summary(stores, sent, listing, items, looks)
    result = {**found, "left_out": [asdict(problem) for problem in problems]}
    if out is not None:
        write_whole(out, WRITERS[out.suffix.lower()](result))
    if json:
        emit(result)
    else:
        _show(result, out)


def _summary(
    stores: Stores, sent: Sent, listing: Listing, items: Sequence[KnownItem], looks: Sequence[Look]
) -> dict[str, Any]:
    # Whoever gave the known answers agrees with them.
    authors = {label.inspector for image in listing.images for label in image.labels}
    with stores.database.read() as connection:
        people = judgements(connection, looks[0].product, items, authors)
    return summary(sent, items, looks, figures(items, looks, people))


def _views(image: Path | None, named: Sequence[str]) -> dict[str, Path]:
    """The image of each view, by its name; without a name it is the view that the line takes by default."""
    if image is not None:
        if len(named) > 1 or any("=" in one for one in named):
            raise _wrong_views("IMAGE is one view, and --view may only name it")
        return {named[0] if named else "": image}
    found: dict[str, Path] = {}
    for one in named:
        name, _, path = one.partition("=")
        if not name or not path:
            raise _wrong_views(f"{one!r} names no view and its image")
        if name in found:
            raise _wrong_views(f"view {name} is named twice")
        if not Path(path).is_file() or not os.access(path, os.R_OK):
            raise _wrong_views(f"{path} is no file that can be read")
        found[name] = Path(path)
    if not found:
        raise _wrong_views("there is no image to send")
    return found


def _wrong_views(what: str) -> typer.BadParameter:
    return typer.BadParameter(f"{what}: give IMAGE, or --view NAME=IMAGE for each view", param_hint="IMAGE / --view")


def _read_view(path: Path, view_id: str) -> PostedView:
    data = path.read_bytes()
    media_type = sniff(data)
    if media_type is None:
        raise UnreadableImage(f"{path} is no JPEG, PNG, BMP or TIFF", "convert it, or name another file")
    return PostedView(data, media_type, view_id)


def _query(station: str, product: str | None) -> dict[str, str]:
    return {"station": station} if product is None else {"station": station, "product": product}


def _address(url: str | None) -> str:
    return url or f"http://127.0.0.1:{load_settings().port}"


def _unique(what: str) -> str:
    """So that no trigger is taken for one that came before."""
    return f"{what}-{now():%Y%m%dT%H%M%S}-{secrets.token_hex(3)}"


def _note_problems(problems: Collection[Problem]) -> None:
    for problem in list(problems)[:PROBLEMS_SHOWN]:
        note(f"{problem.where}: {problem.what}; {problem.remedy}")
    if len(problems) > PROBLEMS_SHOWN:
        note(f"… and {len(problems) - PROBLEMS_SHOWN} more; --json lists all")


def _show(result: dict[str, Any], out: Path | None) -> None:
    heads = columns()
    for row in rows(result):
        table(f"{row[0]}: {row[1]} looks at {row[2]} parts", ["figure", "found"], zip(heads[3:], row[3:], strict=True))
    for name, text in facts(result):
        say(f"{name}: {text}")
    if result["wrong"]:
        what = "parts" if len(result["views"]) > 1 else "images"
        say(f"{len(result['wrong'])} {what} were not judged right every time; --json and --out list them")
    for caution in cautions(result):
        note(caution)
    if out is not None:
        say(f"report: {out}")
