"""Where the defect is, from a painted frame to the line's answer."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from httpx2 import Client

from models.preprocess import Geometry
from service.wiring import Stores
from tests.service.line.conftest import OpenLine
from tests.service.line.posting import post
from tests.service.line.stocked import promote, store_model
from tests.tiny_model import tiny_card, write_tiny_model

WIDTH, HEIGHT = 640, 480
ROI = (0.1, 0.2, 0.75, 0.7)
CELL_PX = 4
"""Of a tile of 32 pixels."""
Box = tuple[int, int, int, int]

PLACES: list[Box] = [(96, 120, 60, 40), (250, 200, 200, 90), (400, 330, 80, 70)]
GEOMETRIES = {
    "one tile": Geometry(32, 32),
    "tiles with overlap": Geometry(32, 32, tile_rows=2, tile_cols=3, tile_overlap=0.25),
    "region of interest": Geometry(32, 32, roi=ROI),
    "tiles in a region of interest": Geometry(32, 32, roi=ROI, tile_rows=2, tile_cols=3, tile_overlap=0.25),
}


def frame(*boxes: Box, suffix: str = ".png") -> bytes:
    pixels = np.full((HEIGHT, WIDTH, 3), 20, np.uint8)
    for x, y, across, down in boxes:
        pixels[y : y + down, x : x + across] = 255
    done, data = cv2.imencode(suffix, pixels)
    assert done
    return bytes(data)


def add_mapping_champion(stores: Stores, folder: Path, geometry: Geometry) -> None:
    card = tiny_card(geometry=geometry, capabilities=("defect_map",))
    path = write_tiny_model(folder / "map.onnx", card, cell_px=CELL_PX)
    promote(stores, store_model(stores, path, card=card))


def regions(line: Client, body: bytes, trigger: str, media_type: str = "image/png") -> list[dict[str, Any]]:
    response = post(line, body, trigger, media_type=media_type)
    assert response.status_code == 200
    (view,) = response.json()["views"]
    found: list[dict[str, Any]] = view["regions"]
    return found


def cell_side(geometry: Geometry) -> tuple[float, float]:
    """Width and height of a cell in pixels of the frame."""
    _, _, across, down = geometry.roi or (0.0, 0.0, 1.0, 1.0)
    cols = geometry.tile_cols - (geometry.tile_cols - 1) * geometry.tile_overlap
    rows = geometry.tile_rows - (geometry.tile_rows - 1) * geometry.tile_overlap
    cells = 32 / CELL_PX
    return WIDTH * across / cols / cells, HEIGHT * down / rows / cells


@pytest.mark.parametrize("name", GEOMETRIES)
def test_bright_square_is_found_at_its_place(stores: Stores, tmp_path: Path, open_line: OpenLine, name: str) -> None:
    geometry = GEOMETRIES[name]
    add_mapping_champion(stores, tmp_path, geometry)
    wide, high = cell_side(geometry)
    with open_line() as line:
        for number, (x, y, across, down) in enumerate(PLACES):
            for suffix, media_type in ((".png", "image/png"), (".jpg", "image/jpeg")):
                body = frame((x, y, across, down), suffix=suffix)
                (found,) = regions(line, body, f"{number}{suffix}", media_type)
                assert set(found) == {"x", "y", "w", "h", "score"}
                assert abs(found["x"] - x) <= wide
                assert abs(found["y"] - y) <= high
                assert abs(found["x"] + found["w"] - (x + across)) <= wide
                assert abs(found["y"] + found["h"] - (y + down)) <= high
                assert found["score"] > 0.9


def test_two_squares_are_two_regions_and_a_dark_frame_has_none(
    stores: Stores, tmp_path: Path, open_line: OpenLine
) -> None:
    add_mapping_champion(stores, tmp_path, GEOMETRIES["tiles with overlap"])
    with open_line() as line:
        assert len(regions(line, frame(PLACES[0], PLACES[2]), "1")) == 2
        assert regions(line, frame(), "2") == []


def test_view_that_nobody_could_look_at_has_no_regions(stores: Stores, tmp_path: Path, open_line: OpenLine) -> None:
    add_mapping_champion(stores, tmp_path, Geometry(32, 32))
    with open_line() as line:
        answer = post(line, frame()[:200], "1").json()
    assert answer["result_code"] == 906
    assert answer["views"][0]["regions"] is None
