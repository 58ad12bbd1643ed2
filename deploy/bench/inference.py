"""What every peer does with an image: scaled decode, resize, ONNX Runtime, as Loupe does it, on one thread."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnxruntime as ort
import simplejpeg


class Inspector:
    """A model file of Loupe, called with the bytes of a JPEG."""

    def __init__(self, path: str | Path) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        # The workers keep the cores busy already; OpenCV's own threads would only wait for each other.
        cv2.setNumThreads(1)
        self._session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        card = json.loads(self._session.get_modelmeta().custom_metadata_map["loupe"])
        self._height, self._width = card["geometry"]["height"], card["geometry"]["width"]
        self._pass_below = next(iter(card["operating_points"].values()))["pass"]
        self._names = [info["name"] for info in card["classes"]]

    def __call__(self, data: bytes) -> dict[str, Any]:
        """The answer as JSON knows it."""
        decoded = simplejpeg.decode_jpeg(data, "RGB", min_height=self._height, min_width=self._width)
        tile = cv2.resize(decoded, (self._width, self._height), interpolation=cv2.INTER_LINEAR)
        (probability,) = self._session.run(["class_probability"], {"images": np.ascontiguousarray(tile[None])})
        p_defect = float(1 - probability[0, 0])
        return {
            "result_code": 0 if p_defect < self._pass_below else 1,
            "p_defect": p_defect,
            "class_probability": dict(zip(self._names, map(float, probability[0]), strict=True)),
        }
