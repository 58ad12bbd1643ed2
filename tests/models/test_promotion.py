from collections.abc import Iterator

import pytest

from models.promotion import GatesFailed, GatesStale, ModelMissing, NothingToRollBack, find, promote, rollback
from storage import datasets, models
from storage.database import Connection, Database
from storage.records import Model
from tests.storage.samples import NOW, PRODUCT, dataset, hash_of, later, model, run

FAILED = ({"name": "parity", "passed": False, "reason": "differs by 0.3"},)


@pytest.fixture
def connection(database: Database) -> Iterator[Connection]:
    with database.write() as opened:
        datasets.store_run(opened, run(), [])
        datasets.store(opened, dataset(), [])
        for n, model_id in enumerate(("aa11", "aa22", "bb33")):
            models.store(opened, model(model_id, created_at=later(n)))
        yield opened


def measured(model_id: str, against: str | None) -> Model:
    """A model whose gates were passed while `against` decided."""
    gate = {"name": "better_than_chance", "passed": True, "reason": "AUROC 0.9", "champion": against}
    return model(model_id, gates=(gate,))


def champion(connection: Connection) -> str:
    return models.champions(connection)[PRODUCT].model_id


def test_a_promoted_model_decides(connection: Connection) -> None:
    first = promote(connection, measured("aa11", None), "mira", "first", NOW)
    assert (first.before, first.promotion.kind) == (None, "promote")
    second = promote(connection, measured("aa22", "aa11"), "olaf", "fewer escapes", later(1))
    assert second.before == "aa11"
    assert champion(connection) == "aa22"
    assert [(p.model_id, p.promoted_by, p.reason) for p in models.history(connection, PRODUCT)] == [
        ("aa22", "olaf", "fewer escapes"),
        ("aa11", "mira", "first"),
    ]


def test_gates_measured_against_another_champion_are_refused(connection: Connection) -> None:
    promote(connection, measured("aa11", None), "mira", "first", NOW)
    with pytest.raises(GatesStale, match=r"measured against champion \(none\), now aa11 decides") as refused:
        promote(connection, measured("aa22", None), "mira", "trained before aa11 was promoted", later(1))
    assert "loupe train" in refused.value.remedy
    assert champion(connection) == "aa11"


def test_a_model_that_failed_a_gate_is_refused_unless_a_person_insists(connection: Connection) -> None:
    failed = model("cc44", gates=FAILED)
    models.store(connection, failed)
    with pytest.raises(GatesFailed, match=r"parity \(differs by 0.3\)") as refused:
        promote(connection, failed, "mira", "try", NOW)
    assert "--force" in refused.value.remedy
    assert models.champions(connection) == {}
    promote(connection, failed, "mira", "the line stands", NOW, force=True)
    assert champion(connection) == "cc44"


def test_rolling_back_gives_the_line_to_the_champion_before(connection: Connection) -> None:
    for n, (model_id, before) in enumerate((("aa11", None), ("aa22", "aa11"), ("aa22", "aa11"))):
        promote(connection, measured(model_id, before), "mira", "…", later(n))
    change = rollback(connection, PRODUCT, "olaf", "overkill", later(5))
    assert (change.before, change.promotion.model_id, change.promotion.kind) == ("aa22", "aa11", "rollback")
    assert champion(connection) == "aa11"
    rollback(connection, PRODUCT, "olaf", "was not it", later(6))
    assert champion(connection) == "aa22", "a rollback can be taken back the same way"


def test_there_must_be_a_champion_before(connection: Connection) -> None:
    with pytest.raises(NothingToRollBack):
        rollback(connection, PRODUCT, "mira", "…", NOW)
    promote(connection, model("aa11"), "mira", "…", NOW)
    with pytest.raises(NothingToRollBack) as refused:
        rollback(connection, PRODUCT, "mira", "…", NOW)
    assert "loupe promote" in refused.value.remedy


def test_a_model_is_found_by_the_beginning_of_its_id_or_is_the_newest(connection: Connection) -> None:
    assert find(connection, None).id == "bb33"
    assert find(connection, None, PRODUCT).id == "bb33"
    assert find(connection, "bb").id == "bb33"
    assert find(connection, hash_of("aa11")).id == "aa11"
    with pytest.raises(ModelMissing, match="2 models"):
        find(connection, "aa")
    with pytest.raises(ModelMissing, match="no model"):
        find(connection, "zz")
    with pytest.raises(ModelMissing):
        find(connection, None, "lid")
