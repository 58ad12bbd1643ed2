"""What the line server knows of its products without a label: how scores lie, and what errors are to be expected."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from monitoring.expected import FEWEST, Estimate
from monitoring.metrics import LineMetrics, ProductState
from monitoring.product import CHARTS, ProductMonitor
from monitoring.product_watch import ProductWatch
from monitoring.sights import Sight
from service.line.alarm_json import alarm_json
from service.line.champions import Champions
from service.line.episodes import Episodes
from storage.alarms import Episode


def products_json(products: ProductWatch, episodes: Episodes, champions: Champions) -> list[dict[str, Any]]:
    """Every product at every station of this process, by name."""
    standing, summary = episodes.standing(), champions.summary()
    found = []
    for sight, (version, monitor) in sorted(products.monitors().items()):
        withheld = _withheld(sight, monitor, standing, summary)
        estimate = None if withheld else products.estimate(sight)
        found.append(_product_json(sight, version, monitor, standing.get(sight), estimate, withheld))
    return found


def show_products(products: ProductWatch, episodes: Episodes, champions: Champions, metrics: LineMetrics) -> None:
    """Let the metrics show how every product stands, and what errors are to be expected unless that is withheld."""
    standing, summary = episodes.standing(), champions.summary()
    found = []
    for sight, (_, monitor) in products.monitors().items():
        estimate = None if _withheld(sight, monitor, standing, summary) else products.estimate(sight)
        ratios = dict(zip(CHARTS, monitor.exact.tolist(), strict=True))
        found.append(ProductState(_station(sight), sight.product, ratios, monitor.standing is not None, estimate))
    metrics.products(found)


def _product_json(
    sight: Sight,
    version: int,
    monitor: ProductMonitor,
    episode: Episode | None,
    estimate: Estimate | None,
    withheld: str,
) -> dict[str, Any]:
    if not withheld and estimate is None:
        withheld = f"fewer than {FEWEST} parts were decided under this model since the start"
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
        "expected": asdict(estimate) if estimate is not None else None,
        "withheld": withheld or None,
    }


def _withheld(
    sight: Sight,
    monitor: ProductMonitor,
    standing: Mapping[Sight, Episode],
    champions: Mapping[str, Mapping[str, object]],
) -> str:
    """Why the model's probabilities are not to be taken at their word now; empty where they are."""
    champion = champions.get(sight.product, {}).get("model")
    if champion is None:
        return "no model decides for this product now"
    if champion != monitor.model:
        return f"no part was judged by the present model, {champion}, yet"
    if sight in standing:
        return "an alarm of the product itself stands"
    others = sorted({one for one in standing if one.camera.startswith(sight.camera)})
    if not others:
        return ""
    named = [f"product {one.product}" if one.camera == sight.camera else f"camera {one.camera}" for one in others]
    return f"an alarm stands: {', '.join(dict.fromkeys(named))}"


def _station(sight: Sight) -> str:
    return sight.camera.removesuffix("/")
