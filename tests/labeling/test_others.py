"""What the others say: everybody else has one voice, and nobody is held against their own words."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labeling.others import UNKNOWN, others
from labeling.votes import Votes, WrongVotes

LOOKS = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 5), st.integers(0, 2)), max_size=40)


def votes_of(looks: list[tuple[int, int, int]]) -> Votes:
    """Of (item, inspector, label)."""
    item, inspector, label = np.array(looks, np.int64).reshape(-1, 3).T
    return Votes(item, inspector, label, np.arange(len(item)))


@pytest.mark.parametrize("classes", [2, 3, 9])
@pytest.mark.parametrize(
    ("rest", "said"),
    [
        ([[1]], 1), ([[1], [0]], -1), ([[1], [1], [0]], 1), ([[1], [1], [0], [0]], -1), ([[1], [1], [1], [0], [0]], 1),
        ([[1, 1, 1], [1, 0, 0]], 1), ([[1, 0], [0, 1]], -1), ([[1, 1, 0], [1, 0, 0]], -1), ([], -1),
    ],
)  # fmt: skip
def test_they_are_decided_where_more_than_half_of_their_voices_bear_one_class(
    rest: list[list[int]], said: int, classes: int
) -> None:
    looks = [(0, 0, 0), *((0, who, label) for who, labels in enumerate(rest, 1) for label in labels)]
    found = others(votes_of(looks), classes)
    assert (found.label[0], found.decided[0], found.known[0]) == (said, said != UNKNOWN, bool(rest))


def test_a_plurality_is_most_and_decides_nothing() -> None:
    found = others(votes_of([(0, who, label) for who, label in enumerate([0, 0, 0, 1, 2])]), 3)
    assert found.label[0] == UNKNOWN
    assert found.most[0].tolist() == [1.0, 0.0, 0.0]


def test_labels_that_decide_nothing_are_nobodys_voice_and_their_looks_have_others_too() -> None:
    found = others(votes_of([(0, 0, 2), (0, 1, 2), (0, 1, 1), (0, 2, 2)]), 3, silent=[2])
    assert found.label.tolist() == [1, UNKNOWN, UNKNOWN, 1]
    assert found.inspectors.tolist() == [1, 0, 0, 1]


def test_an_unsure_voice_weighs_less() -> None:
    votes = Votes(
        np.zeros(3, np.int64), np.arange(3), np.array([0, 1, 0]), np.zeros(3, np.int64), np.array([1, 1, 0.5])
    )
    assert others(votes, 2).label.tolist() == [1, 0, UNKNOWN]


def test_images_that_others_are_less_sure_of_are_in_a_harder_stratum() -> None:
    said = [[0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 1, 1], [0, 0, 0, 1, 1, 1]]
    found = others(votes_of([(item, who, label) for item, row in enumerate(said) for who, label in enumerate(row)]), 2)
    first, second, third = found.strata(3).reshape(3, 6)
    assert first.max() < second.min()
    assert second.max() <= third.min()


@given(LOOKS)
def test_nobody_has_a_say_in_what_they_are_held_against(looks: list[tuple[int, int, int]]) -> None:
    found = others(votes_of(looks), 3)
    for n, (item, who, _) in enumerate(looks):
        rest = [look for look in looks if look[1] != who]
        without = others(votes_of([*rest, (item, who, 0)]), 3)
        assert found.voices[n] == pytest.approx(without.voices[-1])
        assert found.inspectors[n] == without.inspectors[-1] == len({name for at, name, _ in rest if at == item})


@given(LOOKS)
def test_voices_are_as_many_as_inspectors_and_most_is_a_share(looks: list[tuple[int, int, int]]) -> None:
    found = others(votes_of(looks), 3)
    assert found.voices.sum(axis=1) == pytest.approx(found.inspectors)
    assert found.most.sum(axis=1) == pytest.approx(np.ones(len(looks)))
    assert not (found.decided & ~found.known).any()


def test_a_label_beyond_the_classes_is_refused() -> None:
    with pytest.raises(WrongVotes, match="label 3"):
        others(votes_of([(0, 0, 3)]), 3)
