"""What the line server knows of light and optics: every camera's baseline, and the alarms of late."""

from dataclasses import asdict
from typing import Any, Final

from monitoring.metrics import LineMetrics
from monitoring.optics import OpticsMonitor
from monitoring.sights import Sight
from monitoring.watch import Watch
from service.line.alarm_json import alarm_json, heat_map_json, picture_of
from service.line.episodes import Episodes
from service.line.requests import WrongRequest
from storage import alarms
from storage.alarms import Episode
from storage.database import Database
from storage.images.content import ContentMissing, ContentStore

MOST_ALARMS: Final = 1000
WORST_CHARTS: Final = 5


def sights_json(watch: Watch, episodes: Episodes) -> list[dict[str, Any]]:
    """Every camera, product and lamp that this process watches, by name."""
    standing, latest = episodes.standing(), episodes.latest()
    return [
        _sight_json(sight, version, monitor, standing.get(sight), latest)
        for sight, (version, monitor) in sorted(watch.monitors().items())
    ]


def show_baselines(watch: Watch, episodes: Episodes, metrics: LineMetrics) -> None:
    """Let the metrics show by which baseline each camera is watched: that of what it saw last."""
    latest = episodes.latest()
    for sight, (version, monitor) in watch.monitors().items():
        if latest.get(sight.camera, sight) == sight:
            rate = monitor.calibration.rate_per_10k if monitor.calibration else None
            metrics.learnt(sight.camera, version, monitor.phase, rate, monitor.standing is not None)


def alarms_json(
    database: Database, *, station: str | None, camera: str | None, limit: int, heat_map: bool
) -> list[dict[str, Any]]:
    """The newest alarms, newest first; `camera` is a camera's name, or STATION/CAMERA.

    Raises WrongRequest, DatabaseUnavailable.
    """
    if not 1 <= limit <= MOST_ALARMS:
        raise WrongRequest(f"limit={limit} can't be used", f"give a number from 1 to {MOST_ALARMS}")
    for name, value in (("station", station), ("camera", camera)):
        if not (value or "").isprintable():  # PostgreSQL knows no text with a NUL
            raise WrongRequest(f"{name} holds control characters", "use printable characters")
    if camera and "/" in camera:
        of, _, camera = camera.partition("/")
        if station and of != station:
            raise WrongRequest(f"camera {of}/{camera} is not at station {station}", "name the station once")
        station = of
    with database.read() as connection:
        found = alarms.latest(connection, limit, station=station or None, camera=camera or None)
    return [
        {**alarm_json(episode), **({"heat_map": heat_map_json(episode.last)} if heat_map else {})} for episode in found
    ]


def picture(database: Database, images: ContentStore, episodes: Episodes, alarm_id: str, name: str) -> bytes | None:
    """PNG of an alarm, `before` or `after`; None where there is no such alarm or its picture was not kept.

    Raises DatabaseUnavailable, ImageStoreUnavailable.
    """
    found = episodes.picture(alarm_id, name)
    if found is not None or not alarm_id.isprintable():
        return found
    with database.read() as connection:
        episode = alarms.find(connection, alarm_id)
    sha256 = picture_of(episode.alarm, name) if episode is not None else None
    try:
        return images.get(sha256) if sha256 is not None else None
    except ContentMissing:
        return None


def _sight_json(
    sight: Sight, version: int, monitor: OpticsMonitor, episode: Episode | None, latest: dict[str, Sight]
) -> dict[str, Any]:
    station, _, camera = sight.camera.partition("/")
    worst = sorted(monitor.ratios.items(), key=lambda pair: -pair[1])[:WORST_CHARTS]
    found = monitor.calibration
    rate = {name: value for name, value in asdict(found).items() if name != "limits"} if found else None
    return {
        "station": station,
        "camera": camera,
        "product": sight.product,
        "lamp": sight.lamp or None,
        "is_seen_now": latest.get(sight.camera) == sight,
        "baseline_version": version,
        "phase": monitor.phase,
        "images": monitor.images,
        "images_learnt": monitor.learnt,
        "images_to_learn": monitor.commission,
        "measured": monitor.layout.name if monitor.layout else None,
        "false_alarms": {"wanted_per_10k": monitor.false_alarms_per_10k, **rate} if rate else None,
        "standing": alarm_json(episode) if episode is not None else None,
        "worst": [{"chart": chart, "ratio": round(ratio, 4)} for chart, ratio in worst if ratio > 0],
    }
