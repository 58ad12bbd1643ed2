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
from models.classifier import (
    CPU,
    CUDA,
    TENSORRT,
    TINY_GRAPH,
    Classifier,
    ExecutionProviderMismatch,
    Scores,
    installed_runtimes,
    pool,
    session_plan,
    try_provider,
)
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


def test_the_file_says_nothing_of_where_it_was_made(model_file: Path) -> None:
    """Else the same weights would be another model on another machine."""
    content = model_file.read_bytes()
    assert not any(trace in content for trace in (b".py", b"site-packages", str(Path.cwd()).encode()))


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


def test_a_gpu_plan_names_no_cpu_provider_and_forbids_its_use() -> None:
    for provider in (CUDA, TENSORRT):
        plan = session_plan(provider)
        assert plan.providers[0] == provider
        assert CPU not in plan.providers
        assert plan.entries["session.disable_cpu_ep_fallback"] == "1"
        assert len(plan.provider_options) == len(plan.providers)
        assert plan.provider_options[plan.providers.index(CUDA)]["cudnn_conv_algo_search"] == "HEURISTIC"
    assert "session.disable_cpu_ep_fallback" not in session_plan(CPU).entries


def test_tensorrt_keeps_engines_where_told_and_full_precision(tmp_path: Path) -> None:
    options = session_plan(TENSORRT, engine_cache=tmp_path).provider_options[0]
    assert options["trt_engine_cache_path"] == str(tmp_path)
    assert options["trt_fp16_enable"] == "0"
    assert "trt_engine_cache_enable" not in session_plan(TENSORRT).provider_options[0]


def test_other_providers_pass_through_without_fall_back() -> None:
    plan = session_plan("OpenVINOExecutionProvider", threads=3)
    assert (plan.providers, plan.threads) == (("OpenVINOExecutionProvider",), 3)
    assert plan.entries["session.disable_cpu_ep_fallback"] == "1"


def test_a_provider_is_tried_with_a_graph_of_its_own() -> None:
    onnx.checker.check_model(onnx.load_from_string(TINY_GRAPH), full_check=True)
    try_provider(CPU)
    with pytest.raises(ExecutionProviderMismatch, match="make setup EXTRA=gpu"):
        try_provider(CUDA)
    assert "onnxruntime" in installed_runtimes()


def test_a_provider_that_takes_no_node_is_an_error_not_a_slow_model(
    model_file: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    # Listed as available by every ONNX Runtime for CPUs, and runs nothing of this graph: what would fall back.
    with pytest.raises(ExecutionProviderMismatch) as caught:
        Classifier(model_file, provider="AzureExecutionProvider")
    assert caught.value.wanted == "AzureExecutionProvider"
    assert capfd.readouterr().out == ""


def test_a_broken_file_is_not_blamed_on_the_device() -> None:
    with pytest.raises(ModelFileError):
        Classifier(b"no model", provider="AzureExecutionProvider")


def test_the_memory_of_a_model_is_at_least_its_file(model_file: Path) -> None:
    assert Classifier(model_file).bytes >= model_file.stat().st_size


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


def test_one_tile_pools_as_several_do() -> None:
    rng = np.random.default_rng(0)
    for row in rng.dirichlet((0.3, 0.3, 0.3), 200).astype(np.float32):
        novelty = rng.random(1).astype(np.float32)
        one = pool(Scores(row[None], novelty=novelty), CARD)
        two = pool(Scores(np.stack([row, row]), novelty=np.repeat(novelty, 2)), CARD)
        assert one.p_defect == pytest.approx(two.p_defect, abs=1e-15)
        assert (one.class_name, one.novelty, one.is_finite) == (two.class_name, two.novelty, True)
        assert (one.class_probability == row).all()


@pytest.mark.parametrize("tiles", [1, 2])
@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_what_is_no_number_is_seen(tiles: int, wrong: float) -> None:
    probability = np.full((tiles, 3), 1 / 3, np.float32)
    assert pool(Scores(probability), CARD).is_finite
    assert not pool(Scores(probability, novelty=np.full(tiles, wrong, np.float32)), CARD).is_finite
    for column in range(3):
        broken = probability.copy()
        broken[0, column] = wrong
        assert not pool(Scores(broken), CARD).is_finite
