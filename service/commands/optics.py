"""Commands about watching light and optics: how the cameras stand, and what a camera's monitor would notice."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from service.report_file import check_places, write_whole
from service.settings import load_settings
from service.terminal import REPORT_WIDTH, emit, note, progress, say, table, tell
from service.wiring import now

if TYPE_CHECKING:
    from monitoring.optics import OpticsMonitor
    from service.optics_images import Overviews

STDOUT = Path("-")
MOST_OF_FOLDER = 300
"""Of a folder's images so many of the last are disturbed; the others teach."""
COMMISSION_SHARE = 2 / 3

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    optics = typer.Typer(help="Light and optics of the cameras.", no_args_is_help=True)
    optics.command("status")(status)
    optics.command("report")(report)
    app.add_typer(optics, name="optics")


def status(json: Json = False) -> None:
    """How the camera monitors of all line servers of this data folder stand, as they were last saved.

    Example: loupe optics status
    """
    # Imported here so that every other command starts without the compiled charts.
    from service.console.words import age
    from service.optics_report import false_alarm_text, status_row
    from service.saved_baselines import saved_baselines

    saved, damaged = saved_baselines(load_settings().data_dir)
    found, at = [status_row(one) for one in saved], now()
    if json:
        emit({"cameras": found, "damaged": [str(error) for error in damaged]})
        return
    rows = [
        (
            one["camera"],
            one["product"],
            one["lamp"],
            one["version"],
            one["phase"],
            f"{one['images_learnt']} of {one['commission']}",
            false_alarm_text(one["calibration"]),
            "" if one["standing"] is None else f"{one['standing']['title']}, {one['standing']['images']} images",
            age(baseline.saved_at, at),
        )
        for one, baseline in zip(found, saved, strict=True)
    ]
    if rows:
        heads = ["camera", "product", "lamp", "version", "phase", "learnt", "false alarms", "alarm", "saved"]
        table("cameras", heads, rows)
        say("as last saved: a line server that runs may know more (GET /v1/optics)")
    else:
        say("no camera is watched yet: a line server saves what its cameras look like once they have seen images")
    for error in damaged:
        note(f"{error}; {error.remedy}")


def report(
    camera: Annotated[
        str | None, typer.Option("--camera", metavar="STATION/CAMERA", help="Its saved baseline and its kept images.")
    ] = None,
    product: Annotated[
        str | None, typer.Option("--product", help="Where the camera has baselines of several products.")
    ] = None,
    lamp: Annotated[
        str | None, typer.Option("--lamp", help="Where the camera has baselines of several lamps; '' for none.")
    ] = None,
    images: Annotated[
        Path | None, typer.Option("--images", help="Folder of normal images instead; needs no server.", exists=True)
    ] = None,
    commission: Annotated[
        int | None,
        typer.Option("--commission", min=50, help="Images of the folder, in name order, to learn from; default: 2/3."),
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=20, help="Kept images that are used, the newest.")] = 200,
    linear: Annotated[
        bool, typer.Option("--linear", help="The counts are proportional to the light: a camera without gamma.")
    ] = False,
    replays: Annotated[int, typer.Option("--replays", min=1, help="Tries of each amount.")] = 5,
    most: Annotated[int, typer.Option("--most", min=10, help="Images an alarm is waited for.")] = 200,
    seed: Annotated[int, typer.Option("--seed", help="Another one: other places.")] = 0,
    html: Annotated[Path | None, typer.Option("--html", help="Write a printable page.")] = None,
    csv: Annotated[Path | None, typer.Option("--csv", help="Write every amount as CSV; - prints it.")] = None,
    json: Json = False,
) -> None:
    """What would be noticed: light, optics and sensor disturbed on a camera's own images, and what its monitor says.

    Example: loupe optics report --camera s1/top --html optics.html

    Example: loupe optics report --images good/ --commission 500
    """
    printed = csv == STDOUT
    _check_options(camera, [product, lamp], images, commission, printed and json)
    check_places([path for path in (html, None if printed else csv) if path])
    from monitoring.disturbances import Seen
    from monitoring.selftest import self_test
    from service.optics_page import as_html
    from service.optics_report import as_csv, chart_rows, summary

    if images is not None:
        overviews, monitor, named = _of_folder(images, commission)
    else:
        assert camera is not None
        overviews, monitor, named = _of_camera(camera, product, lamp, limit)
    with progress("disturbing") as told:
        found = self_test(
            overviews.images, monitor, replays=replays, most_images=most, seed=seed, is_linear=linear, report=told
        )
    seen = Seen.of(overviews.images, is_linear=linear)
    result = {**named, **summary(found, monitor, seen, replays, seed, overviews.skipped)}
    if html is not None:
        write_whole(html, as_html(result, monitor.scene, chart_rows(monitor)))
    if csv is not None and not printed:
        write_whole(csv, as_csv(result))
    if json:
        emit(result)
    elif printed:
        sys.stdout.write(as_csv(result))
    else:
        _show(result)
        for path in filter(None, (html, csv)):
            say(f"written: {path}")


def _check_options(
    camera: str | None, narrower: list[str | None], images: Path | None, commission: int | None, twice: bool
) -> None:
    if (camera is None) == (images is None):
        raise typer.BadParameter("name a camera, or a folder of images", param_hint="--camera / --images")
    if camera is not None and "/" not in camera:
        raise typer.BadParameter(f"{camera} is no STATION/CAMERA, such as s1/top", param_hint="--camera")
    if camera is None and narrower != [None, None]:
        raise typer.BadParameter("a folder has no product and no lamp", param_hint="--product / --lamp")
    if images is None and commission is not None:
        raise typer.BadParameter("a camera has learnt already", param_hint="--commission")
    if twice:
        raise typer.BadParameter("print one of them: --csv FILE writes the other", param_hint="--csv / --json")


def _of_camera(
    camera: str, product: str | None, lamp: str | None, limit: int
) -> tuple["Overviews", "OpticsMonitor", dict[str, Any]]:
    from service.optics_images import from_store
    from service.saved_baselines import baseline_of, saved_baselines
    from service.wiring import open_stores

    settings = load_settings()
    saved, _ = saved_baselines(settings.data_dir)
    baseline = baseline_of(saved, camera, product, lamp)
    monitor = baseline.monitor()
    with open_stores(settings) as stores, progress("reading images") as told:
        overviews = from_store(stores, baseline.sight, limit, told)
    named = {"name": camera, **baseline.sight._asdict(), "version": baseline.version}
    return overviews, monitor, named


def _of_folder(folder: Path, commission: int | None) -> tuple["Overviews", "OpticsMonitor", dict[str, Any]]:
    """A monitor that learns from the first of a folder's images; the rest, or all where few are left, are disturbed."""
    from monitoring.optics import SMALLEST_COMMISSION, OpticsMonitor
    from monitoring.selftest import FEWEST_IMAGES
    from service.optics_images import NoImages, Overviews, from_folder

    with progress("reading images") as told:
        found = from_folder(folder, told)
    count = len(found.images)
    first = commission or max(SMALLEST_COMMISSION, round(COMMISSION_SHARE * count))
    if first > count:
        raise NoImages(
            f"{folder} has {count} images of one size, and {first} are to be learnt from",
            f"name more images of one camera, or a smaller --commission ({SMALLEST_COMMISSION} or more)",
        )
    monitor = OpticsMonitor(first)
    with progress("learning") as told:
        for done, image in enumerate(found.images[:first], start=1):
            monitor.update(image)
            told(done, first)
    rest = found.images[first:] if count - first >= FEWEST_IMAGES else found.images
    named = {"name": str(folder), "camera": None, "product": None, "lamp": None, "version": None, "commission": first}
    return Overviews(rest[-MOST_OF_FOLDER:], found.skipped), monitor, named


def _show(result: dict[str, Any]) -> None:
    from service.optics_report import heads, rows

    rate = result["false_alarms_per_10k"]
    table(f"what is noticed: {result['name']}", heads(), rows(result), REPORT_WIDTH)
    tell(
        f"{result['images']} images, {result['replays']} tries of each amount; undisturbed: {result['false_alarms']} "
        f"alarms on {result['quiet_images']} images (95 %: {rate['low']:.3g} to {rate['high']:.3g} per 10,000)"
    )
    if result["skipped"]:
        note(f"{len(result['skipped'])} images left out, the first: {' '.join(result['skipped'][0].values())}")
    for caution in result["cautions"]:
        tell(f"careful: {caution}")
