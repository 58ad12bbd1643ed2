import json
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from monitoring.saved import StateDamaged, count, floats, integers, number, packed, unpacked


@pytest.mark.parametrize("kind", [np.float64, np.float32, np.uint8, np.int64])
@pytest.mark.parametrize("shape", [(7,), (3, 4), (2, 3, 4), (0,)])
def test_an_array_comes_back_exactly_and_as_one_s_own(kind: type, shape: tuple[int, ...]) -> None:
    values: NDArray[Any] = np.random.default_rng(0).uniform(0, 200, shape).astype(kind)
    found = unpacked("it", json.loads(json.dumps(packed(values))), kind, *shape)
    assert found.dtype == values.dtype
    assert found.shape == shape
    assert (found == values).all()
    assert found.flags.writeable


def test_an_array_that_is_not_in_order_is_packed_as_it_reads() -> None:
    values = np.arange(12.0).reshape(3, 4)[:, ::-2]
    assert (unpacked("it", packed(values), np.float64, 3, 2) == values).all()


@pytest.mark.parametrize("text", ["", "a", "ä", "====", "AAAAAAAAAAA", 3, None, [], b"\x00", packed(np.zeros(3))])
def test_text_of_no_such_array_is_refused(text: object) -> None:
    with pytest.raises(StateDamaged) as refused:
        unpacked("level", text, np.float64, 2)
    assert "level" in str(refused.value)
    assert refused.value.remedy


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_none_are_refused(value: float) -> None:
    with pytest.raises(StateDamaged):
        unpacked("it", packed(np.array([1.0, value])), np.float64, 2)
    with pytest.raises(StateDamaged):
        floats("it", [1.0, value], 2)
    with pytest.raises(StateDamaged):
        number("it", value)


@pytest.mark.parametrize("values", [[1], [1, 2, 3], ["1", "2"], [1, None], [[1], [2, 3]], 5, None, {}, [True, 10**400]])
def test_lists_of_another_shape_or_kind_are_refused(values: object) -> None:
    for read in (floats, integers):
        with pytest.raises(StateDamaged):
            read("it", values, 2)


def test_whole_numbers_count_as_floats_and_not_the_other_way_round() -> None:
    assert floats("it", [1, 2], 2).tolist() == [1.0, 2.0]
    with pytest.raises(StateDamaged):
        integers("it", [1.0, 2.5], 2)


@pytest.mark.parametrize("value", [-1, 1.0, "1", True, None])
def test_a_count_is_a_whole_number_of_at_least_nothing(value: object) -> None:
    with pytest.raises(StateDamaged):
        count("it", value)
    assert count("it", 0) == 0


@pytest.mark.parametrize("value", ["1", None, [], True, 10**400])
def test_a_number_is_one(value: object) -> None:
    with pytest.raises(StateDamaged):
        number("it", value)
    assert number("it", 3) == 3.0
