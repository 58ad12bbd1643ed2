"""What the line server knows of its products without a label: how scores lie, and what errors are to be expected."""

from dataclasses import asdict
from typing import Any

from monitoring.expected import FEWEST, Estimate
from monitoring.metrics import LineMetrics, ProductState
from monitoring.product import CHARTS, ProductMonitor
from monitoring.product_watch import ProductWatch
from monitoring.sights import Sight
from service.line.alarm_json import alarm_json
from service.line.episodes import Episodes
from storage.alarms import Episode


def products_json(products: ProductWatch, episodes: Episodes) -> list[dict[str, Any]]:
    """Every product at every station of this process, by name."""
    standing = episodes.standing()
    return [
        _product_json(sight, version, monitor, standing, products.estimate(sight))
        for sight, (version, monitor) in sorted(products.monitors().items())
    ]


def show_products(products: ProductWatch, episodes: Episodes, metrics: LineMetrics) -> None:
    """Let the metrics show how every product stands, and what errors are to be expected unless that is withheld."""
    standing = episodes.standing()
    found = []
    for sight, (_, monitor) in products.monitors().items():
        estimate = None if _withheld(sight, standing) else products.estimate(sight)
        ratios = dict(zip(CHARTS, monitor.exact.tolist(), strict=True))
        found.append(ProductState(_station(sight), sight.product, ratios, monitor.standing is not None, estimate))
    metrics.products(found)


def _product_json(
    sight: Sight, version: int, monitor: ProductMonitor, standing: dict[Sight, Episode], estimate: Estimate | None
) -> dict[str, Any]:
    withheld = _withheld(sight, standing)
    if not withheld and estimate is None:
        withheld = f"fewer than {FEWEST} parts were decided under this model since the start"
    episode = standing.get(sight)
    return {
        "station": _station(sight),
        "product": sight.product,
        "model": monitor.model,
        "baseline_version": version,
        "phase": monitor.phase,
        "parts": monitor.parts,
        "parts_to_learn": monitor.commission,
        "standing": alarm_json(episode) if episode is not None else None,
        "charts": dict(zip(CHARTS, monitor.exact.round(4).tolist(), strict=True)),
        "expected": asdict(estimate) if estimate is not None and not withheld else None,
        "withheld": withheld or None,
    }


def _withheld(sight: Sight, standing: dict[Sight, Episode]) -> str:
    """Why the model's probabilities are not to be taken at their word now; empty where they are."""
    if sight in standing:
        return "an alarm of the product itself stands"
    cameras = sorted({one.camera for one in standing if one.camera.startswith(sight.camera)} - {sight.camera})
    return f"an optics alarm stands: camera {', '.join(cameras)}" if cameras else ""


def _station(sight: Sight) -> str:
    return sight.camera.removesuffix("/")
