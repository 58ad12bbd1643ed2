"""More models than memory: the least recently used one leaves, and comes back when a part asks for it."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
from httpx2 import Client

from service.line.champions import REST_AFTER_S
from service.wiring import Stores
from tests.service.line.conftest import OpenLine
from tests.service.line.posting import post, server_of, verdict
from tests.service.line.stocked import BRIGHT, DARK, add_champion, encoded, wait_until

PRODUCTS = ("bolt", "lid", "nut")
NOT_READY = (503, "recheck", 907)


@pytest.fixture
def crowded(stores: Stores, tmp_path: Path, open_line: OpenLine) -> Iterator[Client]:
    """Three products, and memory for one model."""
    for product in PRODUCTS:
        add_champion(stores, tmp_path, product)
    with open_line(model_memory_mb=0.000001) as http:
        wait_until(lambda: sum(is_resting(http, product) for product in PRODUCTS) == 2)
        yield http


def facts(http: Client, product: str) -> dict[str, object]:
    found: dict[str, object] = http.get("/v1/stations/s1/state").json()["products"][product]
    return found


def is_resting(http: Client, product: str) -> bool:
    return bool(facts(http, product)["resting"])


def running(http: Client) -> str:
    (product,) = server_of(http).champions.loaded
    return product


triggers = map(str, itertools.count())


def ask(http: Client, product: str, station: str = "s1") -> tuple[int, str, int]:
    return verdict(post(http, encoded(BRIGHT), next(triggers), product=product, station=station))


def test_model_that_rests_comes_back_when_a_part_asks_for_it(crowded: Client) -> None:
    first = running(crowded)
    wanted = next(product for product in PRODUCTS if product != first)
    assert ask(crowded, first) == (200, "reject", 7)
    assert ask(crowded, wanted) == NOT_READY
    state = crowded.get("/v1/stations/s1/state").json()
    assert state["state"] == "initialized", "its model is known, and not in memory"
    assert crowded.get("/health/ready").status_code == 200, "another product is served"
    wait_until(lambda: ask(crowded, wanted) == (200, "reject", 7))
    assert running(crowded) == wanted
    assert [is_resting(crowded, product) for product in (wanted, first)] == [False, True]
    assert crowded.get("/v1/stations/s1/state").json()["state"] == "ready"
    assert server_of(crowded).registry.get_sample_value("loupe_models_loaded") == 1
    assert ask(crowded, first) == NOT_READY
    wait_until(lambda: ask(crowded, first) == (200, "reject", 7))


def test_product_that_is_running_is_served_whatever_others_ask_for(crowded: Client) -> None:
    """Its model leaves only when no part has needed it for a while."""
    first = running(crowded)
    wanted = next(product for product in PRODUCTS if product != first)
    server = server_of(crowded)
    began = server.clock()
    while (server.clock() - began).total_seconds() < 1.5 * REST_AFTER_S:
        assert ask(crowded, first) == (200, "reject", 7)
        assert ask(crowded, wanted, "s2") == NOT_READY
    assert running(crowded) == first


def test_part_that_names_no_product_is_not_judged_by_the_model_that_happens_to_be_there(crowded: Client) -> None:
    response = post(crowded, encoded(DARK), next(triggers))
    assert verdict(response) == NOT_READY
    assert "3 products" in response.json()["reasons"][0]
    assert "&product=" in response.json()["remedy"]


def test_what_was_answered_is_told_again_while_its_model_rests(crowded: Client) -> None:
    first = running(crowded)
    answer = post(crowded, encoded(DARK), "mine", product=first, station="s3")
    wanted = next(product for product in PRODUCTS if product != first)
    wait_until(lambda: ask(crowded, wanted) == (200, "reject", 7))
    assert post(crowded, encoded(DARK), "mine", product=first, station="s3").content == answer.content


def test_model_that_is_promoted_for_the_running_product_is_taken_over(
    crowded: Client, stores: Stores, tmp_path: Path
) -> None:
    first = running(crowded)
    model = add_champion(stores, tmp_path, first, gain=0.5)
    wait_until(lambda: facts(crowded, first)["model"] == model.id)
    assert ask(crowded, first) == (200, "recheck", 7)


def test_models_that_fit_are_all_in_memory(stores: Stores, tmp_path: Path, open_line: OpenLine) -> None:
    for product in PRODUCTS:
        add_champion(stores, tmp_path, product)
    with open_line() as http:
        wait_until(lambda: len(server_of(http).champions.loaded) == 3)
        assert {ask(http, product) for product in PRODUCTS} == {(200, "reject", 7)}
        assert not any(is_resting(http, product) for product in PRODUCTS)
