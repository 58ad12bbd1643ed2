"""Who decides on the line: promotions and rollbacks, each a row with a reason."""

from dataclasses import dataclass
from datetime import datetime

from storage import models
from storage.database import Connection
from storage.records import Model, Promotion


class ModelMissing(LookupError):
    """No model, or more than one, goes by the name asked for."""

    def __init__(self, name: str, found: int) -> None:
        super().__init__(f"{found} models begin with '{name}'" if found else f"there is no model {name}".rstrip())
        self.remedy = (
            "give more characters of its id" if found else "`loupe models` lists the models, `loupe train` makes one"
        )


class GatesFailed(ValueError):
    """The candidate did not pass its gates."""

    def __init__(self, model_id: str, failed: list[str]) -> None:
        super().__init__(f"model {model_id} failed: {'; '.join(failed)}")
        self.remedy = "train on more or better labels; a person may promote it all the same with --force --reason"


class GatesStale(ValueError):
    """The gates were measured against another champion than the one that decides now."""

    def __init__(self, model_id: str, measured: object, champion: str | None) -> None:
        super().__init__(
            f"model {model_id} was measured against champion {measured or '(none)'}, now {champion or 'none'} decides"
        )
        self.remedy = "run `loupe train` again (features are kept, so it is quick), or use --force --reason"


class NothingToRollBack(ValueError):
    """There is no champion before the present one."""

    def __init__(self, product: str) -> None:
        super().__init__(f"product {product!r} has no earlier champion")
        self.remedy = "promote another model: loupe models, then loupe promote MODEL"


@dataclass(frozen=True, slots=True)
class Change:
    """A promotion, and who decided before."""

    promotion: Promotion
    before: str | None


def find(connection: Connection, name: str | None, product: str | None = None) -> Model:
    """The model whose id (or file hash) begins with `name`, or the newest one.

    Raises ModelMissing.
    """
    if name is None:
        newest = models.listing(connection, product)
        if not newest:
            raise ModelMissing(f"of product {product}" if product else "yet", 0)
        return newest[0]
    found = models.find(connection, name)
    if len(found) != 1:
        raise ModelMissing(name, len(found))
    return found[0]


def promote(
    connection: Connection, model: Model, by: str, reason: str, now: datetime, *, force: bool = False
) -> Change:
    """Make the model the champion of its product.

    Raises GatesFailed, GatesStale unless `force`.
    """
    champion = models.champions(connection).get(model.product)
    deciding = champion.model_id if champion is not None else None
    if not force and deciding != model.id:
        for gate in model.gates:
            if gate.get("champion") != deciding:
                raise GatesStale(model.id, gate.get("champion"), deciding)
    failed = [f"{gate['name']} ({gate['reason']})" for gate in model.gates if not gate["passed"]]
    if failed and not force:
        raise GatesFailed(model.id, failed)
    return _append(connection, model, "promote", by, reason, now)


def rollback(connection: Connection, product: str, by: str, reason: str, now: datetime) -> Change:
    """Make the champion before the present one the champion again.

    Raises NothingToRollBack.
    """
    history = models.history(connection, product)
    earlier = [p.model_id for p in history if p.model_id != history[0].model_id]
    if not earlier:
        raise NothingToRollBack(product)
    return _append(connection, find(connection, earlier[0]), "rollback", by, reason, now)


def _append(connection: Connection, model: Model, kind: str, by: str, reason: str, now: datetime) -> Change:
    before = models.champions(connection).get(model.product)
    promotion = Promotion(model.product, model.id, kind, reason, by, now)
    models.promote(connection, promotion)
    return Change(promotion, before.model_id if before else None)
