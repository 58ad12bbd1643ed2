from collections import Counter
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.dataset import TEST, TRAIN, DatasetMissing, assign_splits, find, snapshot
from storage import datasets, pictures
from storage.database import Connection, Database
from storage.records import ConsensusRow
from tests.storage.samples import NOW, dataset, hash_of, image, later, run

GROUPS = st.dictionaries(
    st.integers(0, 400).map(lambda n: f"part-{n}"), st.sampled_from(["good", "scratch", "dent"]), max_size=80
)
SHARES = st.sampled_from([0.0, 0.1, 0.2, 0.5])


@pytest.fixture
def connection(database: Database) -> Iterator[Connection]:
    with database.write() as opened:
        yield opened


def settle(connection: Connection, name: str, truth: dict[str, tuple[str, str]], **changes: object) -> None:
    """A stored settling: image -> (group, class)."""
    pictures.store(connection, [image(n, part_group=group) for n, (group, _) in truth.items()])
    rows = [
        ConsensusRow(hash_of(name), hash_of(n), {"good": 0.9, "scratch": 0.1}, 1.0)
        if kind == "good"
        else ConsensusRow(hash_of(name), hash_of(n), {"good": 0.2, "scratch": 0.8}, 1.0)
        for n, (_, kind) in truth.items()
    ]
    datasets.store_run(connection, run(name, **changes), rows)


@given(GROUPS, SHARES)
def test_every_group_gets_one_split_and_each_class_its_share(group_class: dict[str, str], share: float) -> None:
    splits = assign_splits(group_class, {}, share)
    assert set(splits) == set(group_class)
    assert set(splits.values()) <= {TRAIN, TEST}
    for name, count in Counter(group_class.values()).items():
        test = sum(splits[group] == TEST for group, own in group_class.items() if own == name)
        assert abs(test - share * count) <= 0.5


@settings(max_examples=60)
@given(st.lists(GROUPS, min_size=2, max_size=5), SHARES)
def test_a_group_keeps_its_split_while_the_data_set_grows(steps: list[dict[str, str]], share: float) -> None:
    known: dict[str, str] = {}
    for step in steps:  # groups come and go, and inspectors change their minds about classes
        splits = assign_splits(step, known, share)
        assert {group: splits[group] for group in step if group in known}.items() <= known.items()
        known = {**known, **splits}


@settings(max_examples=60)
@given(GROUPS, GROUPS, SHARES)
def test_the_share_holds_after_growing(first: dict[str, str], more: dict[str, str], share: float) -> None:
    grown = {**more, **first}
    splits = assign_splits(grown, assign_splits(first, {}, share), share)
    for name, count in Counter(grown.values()).items():
        test = sum(splits[group] == TEST for group, own in grown.items() if own == name)
        assert abs(test - share * count) <= 0.5


@given(GROUPS, st.randoms(use_true_random=False))
def test_the_order_of_groups_says_nothing(group_class: dict[str, str], random: st.DrawFn) -> None:
    shuffled = list(group_class.items())
    random.shuffle(shuffled)  # type: ignore[attr-defined] # hypothesis types st.randoms() as a strategy of Random
    assert assign_splits(dict(shuffled), {}, 0.2) == assign_splits(group_class, {}, 0.2)


def test_pictures_of_one_part_are_on_one_side(connection: Connection) -> None:
    truth = {f"{part}-{n}": (f"part-{part}", "good" if part % 2 else "scratch") for part in range(20) for n in range(3)}
    settle(connection, "run", truth)
    made, new = snapshot(connection, run("run"), NOW)
    assert new
    items = datasets.items(connection, made.id)
    assert len(items) == made.image_count == 60
    sides: dict[str, set[str]] = {}
    for item in items:
        sides.setdefault(item.part_group, set()).add(item.split)
    assert all(len(side) == 1 for side in sides.values())
    assert sum(side == {TEST} for side in sides.values()) == 4


def test_the_same_content_is_the_same_dataset(connection: Connection) -> None:
    truth = {str(n): (f"part-{n}", "good" if n % 2 else "scratch") for n in range(10)}
    settle(connection, "run", truth)
    first, _ = snapshot(connection, run("run"), NOW)
    assert snapshot(connection, run("run"), later(60)) == (
        dataset(id=first.id, image_count=10, created_at=later(60)),
        False,
    )
    settle(connection, "more", {**truth, "10": ("part-10", "good")})
    other, new = snapshot(connection, run("more"), later(60))
    assert new
    assert other.id != first.id
    before = {item.part_group: item.split for item in datasets.items(connection, first.id)}
    after = {item.part_group: item.split for item in datasets.items(connection, other.id)}
    assert before.items() <= after.items()


def test_splits_of_another_product_bind_nobody(connection: Connection) -> None:
    settle(connection, "run", {str(n): (f"part-{n}", "good") for n in range(10)})
    mine, _ = snapshot(connection, run("run"), NOW, test_share=0.5)
    pictures.store(connection, [image(str(n), part_group=f"part-{n}", product="lid") for n in range(10)])
    rows = [ConsensusRow(hash_of("lid"), hash_of(str(n)), {"good": 1.0}, 1.0) for n in range(10)]
    datasets.store_run(connection, run("lid", product="lid"), rows)
    lid, _ = snapshot(connection, run("lid", product="lid"), NOW, test_share=0.0)
    assert Counter(item.split for item in datasets.items(connection, mine.id)) == {TRAIN: 5, TEST: 5}
    assert Counter(item.split for item in datasets.items(connection, lid.id)) == {TRAIN: 10}


def test_a_dataset_is_found_by_the_beginning_of_its_id_or_is_the_newest(connection: Connection) -> None:
    with pytest.raises(DatasetMissing, match="no dataset"):
        find(connection, None)
    datasets.store_run(connection, run(), [])
    for name, at in (("a", NOW), ("b", later(1))):
        datasets.store(connection, dataset(name, created_at=at), [])
    assert find(connection, None).id == hash_of("b")
    assert find(connection, hash_of("a")[:6]).id == hash_of("a")
    with pytest.raises(DatasetMissing, match="2 datasets"):
        find(connection, "")
    with pytest.raises(DatasetMissing) as missing:
        find(connection, "zz")
    assert "loupe import" in missing.value.remedy
