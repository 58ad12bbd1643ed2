"""Promotions are followed live; a model that has not proved itself never decides."""

import itertools
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from httpx2 import Client

from models.preprocess import Geometry
from service.wiring import Stores
from storage.records import Model
from tests.service.line.conftest import OpenLine
from tests.service.line.posting import drained, events_of, post, server_of, verdict
from tests.service.line.stocked import (
    BRIGHT,
    DARK,
    MIDDLE,
    PRODUCT,
    add_champion,
    change_recipe,
    encoded,
    picture,
    promote,
    store_model,
    wait_until,
)
from tests.tiny_model import POINT, tiny_card, write_tiny_model

MakeModel = Callable[[Stores, Path], Model]


def deciding(http: Client) -> str:
    return str(server_of(http).champions.summary()[PRODUCT]["model"])


def mean(level: int) -> float:
    return float(picture(level).mean() / 255)


def truncated(stores: Stores, folder: Path) -> Model:
    whole = write_tiny_model(folder / "whole.onnx", gain=0.5).read_bytes()
    (folder / "torn.onnx").write_bytes(whole[: len(whole) // 2])
    return store_model(stores, folder / "torn.onnx")


def failing_its_challenge(stores: Stores, folder: Path) -> Model:
    path = write_tiny_model(folder / "other.onnx", gain=0.5)
    return store_model(stores, path, golden=((encoded(DARK), mean(DARK) * 0.5), (encoded(BRIGHT), mean(BRIGHT))))


def without_the_point(stores: Stores, folder: Path) -> Model:
    card = tiny_card(operating_points={"strict": POINT})
    return store_model(stores, write_tiny_model(folder / "point.onnx", card), card=card)


def of_another_decode_version(stores: Stores, folder: Path) -> Model:
    card = tiny_card(geometry=Geometry(height=32, width=32, decode_version=99))
    path = write_tiny_model(folder / "version.onnx", card)
    return store_model(stores, path, card=card, golden=((encoded(DARK), mean(DARK)),))


def without_its_file(stores: Stores, folder: Path) -> Model:
    model = store_model(stores, write_tiny_model(folder / "gone.onnx", gain=0.9))
    (stores.settings.data_dir / "images" / model.sha256[:2] / model.sha256).unlink()
    return model


def without_its_golden_part(stores: Stores, folder: Path) -> Model:
    model = store_model(stores, write_tiny_model(folder / "part.onnx", gain=0.8), golden=((encoded(MIDDLE, 77), 0.4),))
    sha256 = str(model.challenge[0]["image_sha256"])
    (stores.settings.data_dir / "images" / sha256[:2] / sha256).unlink()
    return model


BAD = [
    truncated, failing_its_challenge, without_the_point, of_another_decode_version, without_its_file,
    without_its_golden_part,
]  # fmt: skip


@pytest.mark.parametrize("make", BAD, ids=lambda make: make.__name__)
def test_bad_model_is_refused_and_the_old_one_keeps_deciding(
    line: Client, stores: Stores, tmp_path: Path, make: MakeModel
) -> None:
    before = deciding(line)
    bad: Model = make(stores, tmp_path)
    promote(stores, bad)
    wait_until(lambda: any(e.detail["model"] == bad.id for e in events_of(line, "model_refused")))
    assert deciding(line) == before
    assert verdict(post(line, encoded(BRIGHT))) == (200, "reject", 7)
    state = line.get("/v1/stations/s1/state").json()
    assert state["products"][PRODUCT]["refused"]["model"] == bad.id
    assert state["state"] == "ready"
    good = add_champion(stores, tmp_path, gain=2.0)
    wait_until(lambda: deciding(line) == good.id)
    assert line.get("/v1/stations/s1/state").json()["products"][PRODUCT]["refused"] is None


@pytest.mark.parametrize("make", BAD, ids=lambda make: make.__name__)
def test_bad_model_of_one_product_does_not_keep_another_from_being_served(
    stores: Stores, tmp_path: Path, open_line: OpenLine, make: MakeModel
) -> None:
    promote(stores, make(stores, tmp_path))
    add_champion(stores, tmp_path, "zlid")
    with open_line() as http:
        assert verdict(post(http, encoded(BRIGHT), product="zlid")) == (200, "reject", 7)
        assert verdict(post(http, encoded(DARK), "2", product=PRODUCT)) == (503, "recheck", 907)


def test_model_that_passes_its_challenge_is_taken_over_live(line: Client, stores: Stores, tmp_path: Path) -> None:
    path = write_tiny_model(tmp_path / "next.onnx", gain=0.5)
    model = store_model(stores, path, golden=((encoded(BRIGHT), mean(BRIGHT) * 0.5), (encoded(DARK), mean(DARK) / 2)))
    assert verdict(post(line, encoded(BRIGHT), "1")) == (200, "reject", 7)
    promote(stores, model)
    wait_until(lambda: deciding(line) == model.id)
    answer = post(line, encoded(BRIGHT), "2").json()
    assert (answer["disposition"], answer["provenance"]["model"]) == ("recheck", model.id)
    assert answer["provenance"]["model_sha256"] == model.sha256
    assert post(line, encoded(BRIGHT), "1").json()["disposition"] == "reject"
    wait_until(lambda: drained(line))
    assert model.id in {e.detail["model"] for e in events_of(line, "model_loaded")}


def test_every_part_is_judged_during_swaps_by_the_model_it_names(line: Client, stores: Stores, tmp_path: Path) -> None:
    gains = {add_champion(stores, tmp_path, gain=gain).id: gain for gain in (1.0, 0.5)}
    stop = threading.Event()

    def swap() -> None:
        gain = 1.0
        while not stop.wait(0.05):
            gain = 1.5 - gain
            add_champion(stores, tmp_path, gain=gain)

    swapper = threading.Thread(target=swap)
    swapper.start()
    try:
        answers = [post(line, encoded(BRIGHT, seed=n), str(n)) for n in range(150)]
    finally:
        stop.set()
        swapper.join()
    used = set()
    for answer in (a.json() for a in answers):
        gain = gains[answer["provenance"]["model"]]
        used.add(gain)
        assert answer["views"][0]["p_defect"] == pytest.approx(mean(BRIGHT) * gain, abs=0.01)
        assert answer["disposition"] == ("reject" if gain == 1.0 else "recheck")
    assert used == {1.0, 0.5}


def test_restart_needs_no_model_file_from_the_store(stores: Stores, tmp_path: Path, open_line: OpenLine) -> None:
    model = add_champion(stores, tmp_path)
    with open_line():
        pass
    (stores.settings.data_dir / "images" / model.sha256[:2] / model.sha256).unlink()
    with open_line() as http:
        assert verdict(post(http, encoded(DARK))) == (200, "pass", 0)


def test_damaged_copy_of_a_model_never_decides(stores: Stores, tmp_path: Path, open_line: OpenLine) -> None:
    model = add_champion(stores, tmp_path)
    with open_line():
        pass
    copy = stores.settings.data_dir / "line" / "models" / f"{model.sha256}.onnx"
    copy.write_bytes(write_tiny_model(tmp_path / "blind.onnx", gain=0.0).read_bytes())
    with open_line(ready=False) as http:
        wait_until(lambda: server_of(http).champions.summary() != {})
        assert verdict(post(http, encoded(BRIGHT))) != (200, "pass", 0)


def test_torn_copy_of_a_model_is_fetched_again(stores: Stores, tmp_path: Path, open_line: OpenLine) -> None:
    model = add_champion(stores, tmp_path)
    with open_line():
        pass
    copy = stores.settings.data_dir / "line" / "models" / f"{model.sha256}.onnx"
    copy.write_bytes(copy.read_bytes()[:100])
    with open_line() as http:
        assert verdict(post(http, encoded(BRIGHT))) == (200, "reject", 7)


def test_recipe_that_is_corrected_lets_the_refused_model_in(line: Client, stores: Stores, tmp_path: Path) -> None:
    bad = without_the_point(stores, tmp_path)
    promote(stores, bad)
    wait_until(lambda: bool(events_of(line, "model_refused")))
    change_recipe(stores, operating_point="strict")
    wait_until(lambda: deciding(line) == bad.id)


def test_model_that_is_promoted_again_is_tried_again(line: Client, stores: Stores, tmp_path: Path) -> None:
    path = write_tiny_model(tmp_path / "gone.onnx", gain=0.9)
    model = store_model(stores, path)
    (stores.settings.data_dir / "images" / model.sha256[:2] / model.sha256).unlink()
    promote(stores, model)
    wait_until(lambda: bool(events_of(line, "model_refused")))
    stores.images.put(path.read_bytes())
    promote(stores, model)
    wait_until(lambda: deciding(line) == model.id)


def test_recipe_without_its_point_is_not_ready_rather_than_guessed(line: Client, stores: Stores) -> None:
    answered = post(line, encoded(DARK), "1")
    change_recipe(stores, operating_point="strict")
    triggers = itertools.count(2)
    wait_until(lambda: post(line, encoded(DARK), str(next(triggers))).status_code == 503)
    assert verdict(post(line, encoded(DARK), str(next(triggers)))) == (503, "recheck", 907)
    assert post(line, encoded(DARK), "1").content == answered.content, "what was answered stays answered"
    assert post(line, encoded(BRIGHT), "1").status_code == 409


def test_execution_provider_that_is_not_there_is_never_replaced_by_another(
    stores: Stores, tmp_path: Path, open_line: OpenLine
) -> None:
    add_champion(stores, tmp_path)
    with open_line(ready=False, provider="CUDAExecutionProvider") as http:
        wait_until(lambda: bool(events_of(http, "model_refused")))
        assert verdict(post(http, encoded(DARK))) == (503, "recheck", 907)
