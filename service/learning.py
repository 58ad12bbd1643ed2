"""From a product's labels to a candidate, for the command line, the worker and the demo."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from labeling.settle import Settlement, settle
from models.dataset import snapshot
from service.wiring import Stores, now
from storage.records import Dataset

# torch is loaded by those who train, not by those who only queue a training or read about one.
if TYPE_CHECKING:
    from models.retrain import Candidate
    from models.training import TrainingSettings

Report = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Learned:
    """A candidate, and the labels that it learned from."""

    settlement: Settlement
    dataset: Dataset
    candidate: "Candidate"


def features_folder(stores: Stores) -> Path:
    """Where features are kept between trainings."""
    return stores.settings.data_dir.absolute() / "cache" / "features"


def train_on(
    stores: Stores, dataset: Dataset, settings: "TrainingSettings", report: Report | None = None
) -> "Candidate":
    """Train a candidate on a dataset.

    Raises CannotTrain, ExportParityError.
    """
    from models.retrain import retrain

    return retrain(
        stores.database,
        stores.images,
        dataset,
        settings,
        cache=features_folder(stores),
        folder=stores.settings.data_dir.absolute() / "models",
        now=now(),
        report=lambda _, done, total: report(done, total) if report else None,
    )


def learn(stores: Stores, product: str, settings: "TrainingSettings", report: Report | None = None) -> Learned:
    """Settle the product's labels, snapshot them, train a candidate; a person promotes it.

    Raises NothingToSettle, CannotTrain, ExportParityError.
    """
    with stores.database.write() as connection:
        settlement = settle(connection, product, now())
        dataset, _ = snapshot(connection, settlement.run, now())
    return Learned(settlement, dataset, train_on(stores, dataset, settings, report))
