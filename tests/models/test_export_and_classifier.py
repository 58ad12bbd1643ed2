import json
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray

from models.card import METADATA_KEY, ClassInfo, ModelCard, ModelFileError
from models.classifier import Classifier, ExecutionProviderMismatch, Scores, pool
from models.export import PARITY_TOLERANCE, ExportParityError, InspectionNetwork, export_model, software_versions
from models.features import build_extractor
from models.preprocess import Geometry
from models.training import Head

SIDE = 64
CARD = ModelCard(
    classes=(ClassInfo("free", 0, True), ClassInfo("crack", 3, False), ClassInfo("dent", 4, False)),
    geometry=Geometry(SIDE, SIDE),
    capabilities=("embedding",),
    software=software_versions(),
)
SAMPLES: NDArray[np.uint8] = np.random.default_rng(0).integers(0, 256, (5, SIDE, SIDE, 3), dtype=np.uint8)


def head() -> Head:
    with torch.inference_mode():
        features = build_extractor("small_cnn")(torch.from_numpy(SAMPLES)).numpy().astype(np.float64)
    rng = np.random.default_rng(1)
    return Head(
        features.mean(axis=0),
        features.std(axis=0) + 0.1,
        rng.normal(0, 0.3, (features.shape[1], 3)),
        np.array([0.5, 0.0, -0.5]),
    )


@pytest.fixture(scope="module")
def model_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "model.onnx"
    export_model(InspectionNetwork(build_extractor("small_cnn"), head(), 1.7), CARD, path, SAMPLES)
    return path


def rewritten(model_file: Path, change: Callable[[onnx.ModelProto], None]) -> bytes:
    model = onnx.load(model_file)
    change(model)
    return bytes(model.SerializeToString())


def test_the_file_computes_head_temperature_and_softmax(model_file: Path) -> None:
    with torch.inference_mode():
        features = build_extractor("small_cnn")(torch.from_numpy(SAMPLES)).numpy()
    logits = head().logits(features) / 1.7
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    scores = Classifier(model_file).predict(SAMPLES)
    assert scores.class_probability == pytest.approx(expected, abs=PARITY_TOLERANCE)
    assert scores.embedding == pytest.approx(features, abs=1e-3)
    assert scores.defect_map is None
    assert scores.novelty is None


def test_one_file_without_side_files(model_file: Path) -> None:
    assert [path.name for path in model_file.parent.iterdir()] == ["model.onnx"]
    onnx.checker.check_model(onnx.load(model_file))


def test_batch_size_is_free_and_does_not_change_scores(model_file: Path) -> None:
    classifier = Classifier(model_file)
    together = classifier.predict(SAMPLES).class_probability
    alone = np.concatenate([classifier.predict(SAMPLES[i : i + 1]).class_probability for i in range(len(SAMPLES))])
    assert together == pytest.approx(alone, abs=1e-5)


def test_threads_share_a_classifier(model_file: Path) -> None:
    classifier = Classifier(model_file)
    expected = classifier.predict(SAMPLES).class_probability
    with ThreadPoolExecutor(4) as threads:
        for scores in threads.map(lambda _: classifier.predict(SAMPLES), range(16)):
            assert (scores.class_probability == expected).all()


def test_card_hash_and_provider_come_with_the_file(model_file: Path) -> None:
    by_path, by_bytes = Classifier(model_file), Classifier(model_file.read_bytes())
    assert by_path.card == CARD
    assert by_path.sha256 == by_bytes.sha256
    assert by_path.provider == "CPUExecutionProvider"
    assert by_path.warm(3).class_probability.shape == (3, 3)


def test_a_provider_that_is_not_there_is_an_error(model_file: Path) -> None:
    with pytest.raises(ExecutionProviderMismatch) as caught:
        Classifier(model_file, provider="MadeUpExecutionProvider")
    assert caught.value.wanted == "MadeUpExecutionProvider"


@pytest.mark.parametrize("keep", [0.0, 0.1, 0.5, 0.99])
def test_a_truncated_file_is_refused_with_a_remedy(model_file: Path, keep: float) -> None:
    content = model_file.read_bytes()
    with pytest.raises(ModelFileError) as caught:
        Classifier(content[: int(len(content) * keep)])
    assert caught.value.remedy


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="cannot be read"):
        Classifier(tmp_path / "none.onnx")


def test_a_model_without_a_card_is_refused(model_file: Path) -> None:
    def strip(model: onnx.ModelProto) -> None:
        del model.metadata_props[:]

    with pytest.raises(ModelFileError, match=METADATA_KEY):
        Classifier(rewritten(model_file, strip))


def test_a_model_with_another_input_size_than_its_card_is_refused(model_file: Path) -> None:
    other = json.dumps(ModelCard(CARD.classes, Geometry(32, 32)).to_json())

    def swap(model: onnx.ModelProto) -> None:
        model.metadata_props[0].value = other

    with pytest.raises(ModelFileError, match="shape"):
        Classifier(rewritten(model_file, swap))


def test_an_export_that_differs_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    broken = head()
    broken.weight[0, 0] = np.nan
    with pytest.raises(ExportParityError):
        export_model(InspectionNetwork(build_extractor("small_cnn"), broken, 1.0), CARD, tmp_path / "m.onnx", SAMPLES)
    assert list(tmp_path.iterdir()) == []


def test_export_warns_and_prints_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        export_model(InspectionNetwork(build_extractor("small_cnn"), head(), 1.0), CARD, tmp_path / "m.onnx", SAMPLES)
    assert capfd.readouterr() == ("", "")


def test_the_worst_tile_speaks_for_the_view() -> None:
    tiles = np.array([[0.9, 0.1, 0.0], [0.2, 0.3, 0.5], [0.4, 0.6, 0.0]], np.float32)
    view = pool(Scores(tiles, novelty=np.array([0.1, 0.2, 0.9], np.float32)), CARD)
    assert view.p_defect == pytest.approx(0.8)
    assert view.class_name == "dent"
    assert view.novelty == pytest.approx(0.9)
    assert view.class_probability.tolist() == tiles[1].tolist()
