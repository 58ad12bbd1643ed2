"""Stores as a plant has them after its first promotion, and the images that a camera would send."""

import hashlib
import io
import json
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
from onnx import TensorProto, helper

from models.card import ModelCard
from service.recipe_rules import default_recipe
from service.wiring import Stores
from storage import datasets
from storage import models as model_store
from storage.records import ConsensusRun, Dataset, Model, Promotion, Recipe
from tests.tiny_model import tiny_card, write_tiny_model

PRODUCT = "housing"
MADE_AT = datetime(2026, 3, 1, 6, 30, tzinfo=UTC)
DARK, MIDDLE, BRIGHT = 30, 128, 230
"""Levels of grey that the tiny model passes, can't decide, and rejects."""


def picture(level: int, seed: int = 0, height: int = 48, width: int = 64) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """A grey part under a fixture with texture, with sensor noise of its own."""
    rng = np.random.default_rng(seed)
    texture = np.random.default_rng(99).normal(0, 6, (height, width, 1))
    noisy = level + texture + rng.normal(0, 2, (height, width, 3))
    return np.clip(noisy, 0, 255).astype(np.uint8)


def encoded(level: int, seed: int = 0, suffix: str = ".png") -> bytes:
    """`picture` as a file; another seed gives another file."""
    done, data = cv2.imencode(suffix, picture(level, seed))
    assert done
    return bytes(data)


def store_model(
    stores: Stores,
    path: Path,
    product: str = PRODUCT,
    *,
    card: ModelCard | None = None,
    golden: tuple[tuple[bytes, float], ...] = (),
) -> Model:
    """Store the file at `path` as a model version with the rows it refers to; `golden`: PNG and expected p_defect."""
    content = path.read_bytes()
    sha256 = stores.images.put(content)
    model_id = hashlib.sha256(product.encode() + content + repr(golden).encode()).hexdigest()[:12]
    run = ConsensusRun(f"run-{product}", product, "majority", "a test", 1, 10, 10, MADE_AT)
    dataset = Dataset(f"dataset-{product}", product, run.id, 1, 10, MADE_AT)
    challenge = tuple(
        {"image_sha256": stores.images.put(png), "media_type": "image/png", "p_defect": p} for png, p in golden
    )
    model = Model(model_id, product, sha256, dataset.id, (card or tiny_card()).to_json(), (), challenge, MADE_AT)
    with stores.database.write() as connection:
        datasets.store_run(connection, run, [])
        datasets.store(connection, dataset, [])
        model_store.store(connection, model)
    return model


def promote(stores: Stores, model: Model) -> None:
    """Make the model its product's champion, under the default recipe where the product has none."""
    with stores.database.write() as connection:
        model_store.promote(connection, Promotion(model.product, model.id, "promote", "a test", "test", MADE_AT))
        if (model.product, "*") not in model_store.newest_recipes(connection):
            model_store.add_recipe(connection, default_recipe(model.product, "test", MADE_AT))


def add_champion(stores: Stores, folder: Path, product: str = PRODUCT, gain: float = 1.0) -> Model:
    """A tiny model that decides for the product."""
    model = store_model(stores, write_tiny_model(folder / f"{product}-{gain}.onnx", gain=gain), product)
    promote(stores, model)
    return model


def change_recipe(stores: Stores, product: str = PRODUCT, **changes: Any) -> Recipe:
    """The next version of the product's recipe for all stations."""
    with stores.database.write() as connection:
        before = model_store.newest_recipes(connection)[product, "*"]
        after = replace(before, version=before.version + 1, **changes)
        model_store.add_recipe(connection, after)
    return after


def write_slow_model(path: Path, turns: int) -> Path:
    """As the tiny model, but it multiplies matrices for `turns` turns first: a few hundred take about a second."""
    card = tiny_card()
    model = onnx.load(write_tiny_model(path))
    body = helper.make_graph(
        [
            helper.make_node("MatMul", ["matrix_in", "factor"], ["matrix_out"]),
            helper.make_node("Identity", ["go_in"], ["go_out"]),
        ],
        "turn",
        [
            helper.make_tensor_value_info("turn", TensorProto.INT64, []),
            helper.make_tensor_value_info("go_in", TensorProto.BOOL, []),
            helper.make_tensor_value_info("matrix_in", TensorProto.FLOAT, [512, 512]),
        ],
        [
            helper.make_tensor_value_info("go_out", TensorProto.BOOL, []),
            helper.make_tensor_value_info("matrix_out", TensorProto.FLOAT, [512, 512]),
        ],
        [helper.make_tensor("factor", TensorProto.FLOAT, [512, 512], np.zeros(512 * 512, np.float32))],
    )
    graph = model.graph
    graph.initializer.extend(
        [
            helper.make_tensor("turns", TensorProto.INT64, [], [turns]),
            helper.make_tensor("go", TensorProto.BOOL, [], [True]),
        ]
    )
    # The matrix starts from the image: otherwise the optimiser would do the work once, at loading.
    first = [
        helper.make_node("ReduceMax", ["pixels"], ["brightest"], keepdims=0),
        helper.make_node("Expand", ["brightest", "side"], ["matrix"]),
        helper.make_node("Loop", ["turns", "go", "matrix"], ["product"], body=body),
        helper.make_node("ReduceMax", ["product"], ["nothing"], keepdims=0),
        helper.make_node("Add", ["defect_raw", "nothing"], ["defect"]),
    ]
    graph.initializer.append(helper.make_tensor("side", TensorProto.INT64, [2], [512, 512]))
    nodes = list(graph.node)
    clip = next(n for n in nodes if n.op_type == "Clip")
    clip.output[0] = "defect_raw"
    at = nodes.index(clip) + 1
    del graph.node[:]
    graph.node.extend([*nodes[:at], *first, *nodes[at:]])
    assert json.loads(model.metadata_props[0].value) == card.to_json()
    onnx.save(model, path)
    return path


def wait_until(true: Callable[[], bool], timeout_s: float = 60.0) -> None:
    """Return as soon as `true` is; that it takes long on a busy machine says nothing."""
    give_up = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < give_up, "it did not come about in time"
        time.sleep(0.01)


def png_header(width: int, height: int) -> bytes:
    """A PNG that says how large it is, and has nothing in it."""
    ihdr = b"IHDR" + width.to_bytes(4, "big") + height.to_bytes(4, "big") + b"\x08\x02\x00\x00\x00"
    file = io.BytesIO()
    file.write(b"\x89PNG\r\n\x1a\n" + (13).to_bytes(4, "big") + ihdr + bytes(4))
    return file.getvalue()
