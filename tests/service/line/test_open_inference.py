import asyncio
import json
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import httpx
import numpy as np
import onnx
import pytest
import uvicorn
from fastapi import Depends, FastAPI
from onnx import TensorProto, helper
from tritonclient.http import (  # type: ignore[import-untyped]  # it publishes no type information
    InferenceServerClient,
    InferenceServerException,
    InferInput,
    InferRequestedOutput,
)

from models.classifier import Classifier, Scorer
from service.line.open_inference import IN_WORK_LIMIT, JSON_LIMIT, open_inference
from service.line.requests import KeyMissing
from storage.records import Model
from tests.tiny_model import tiny_card, write_tiny_model

T = TypeVar("T")
PRODUCT = "housing 2/3".replace("/", "-")
SIZE = 32 * 32 * 3
Images = np.ndarray[Any, np.dtype[np.uint8]]


@dataclass
class Served:
    """A server with models on a free port."""

    port: int
    models: dict[str, tuple[Model, Scorer]]
    keys: list[str] = field(default_factory=list)
    threads: set[str] = field(default_factory=set)
    """On which models ran."""
    may_run: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def scorer(self) -> Scorer:
        return self.models[PRODUCT][1]

    def infer(self, body: bytes, header: int | str | None = None, path: str = "", **headers: str) -> httpx.Response:
        named = {} if header is None else {"Inference-Header-Content-Length": str(header)}
        path = path or f"/v2/models/{PRODUCT}/infer"
        return httpx.post(f"{self.url}{path}", content=body, headers={**named, **headers}, timeout=20)


def stored(model_id: str, product: str, scorer: Scorer) -> Model:
    card = scorer.card.to_json()
    return Model(model_id, product, scorer.sha256, "dataset", card, (), (), datetime(2026, 3, 1, tzinfo=UTC))


def add_outputs(path: Path) -> Path:
    """The tiny model with every capability: map: red channel; novelty: the defect twice; embedding: the mean."""
    model = onnx.load(write_tiny_model(path, tiny_card(capabilities=("defect_map", "novelty", "embedding"))))
    graph = model.graph
    graph.initializer.extend(
        [
            helper.make_tensor("first", TensorProto.INT64, [], [0]),
            helper.make_tensor("full", TensorProto.FLOAT, [], [255.0]),
        ]
    )
    graph.node.extend(
        [
            helper.make_node("Gather", ["pixels", "first"], ["red"], axis=3),
            helper.make_node("Div", ["red", "full"], ["defect_map"]),
            helper.make_node("Add", ["defect", "defect"], ["novelty"]),
            helper.make_node("Unsqueeze", ["mean", "last"], ["embedding"]),
        ]
    )
    graph.output.extend(
        [
            helper.make_tensor_value_info("defect_map", TensorProto.FLOAT, ["N", 32, 32]),
            helper.make_tensor_value_info("novelty", TensorProto.FLOAT, ["N"]),
            helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["N", 1]),
        ]
    )
    onnx.save(model, path)
    return path


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("models")
    scorer = Classifier(add_outputs(folder / "full.onnx"))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        served = Served(free.getsockname()[1], {PRODUCT: (stored("a1b2c3", PRODUCT, scorer), scorer)})
    pool = ThreadPoolExecutor(2, thread_name_prefix="inspect")

    def submit(job: Callable[[], T], images: int, /) -> Awaitable[T]:
        def watched() -> T:
            served.threads.add(threading.current_thread().name)
            assert served.may_run.wait(10)
            return job()

        return asyncio.get_running_loop().run_in_executor(pool, watched)

    def checked() -> None:
        if served.keys:
            raise KeyMissing("the request has no key", "send Authorization: Bearer KEY")

    app = FastAPI()
    router = open_inference(lambda: served.models, submit, version="1.2.3", limit_mb=8.0, batch_limit=16)
    app.include_router(router, dependencies=[Depends(checked)])
    server = uvicorn.Server(uvicorn.Config(app, port=served.port, log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        assert thread.is_alive()
    yield served
    server.should_exit = True
    thread.join()
    pool.shutdown()


@pytest.fixture
def served(running: Served) -> Iterator[Served]:
    models = dict(running.models)
    running.may_run.set()
    yield running
    running.models.clear()
    running.models.update(models)
    running.keys.clear()


@pytest.fixture
def triton(served: Served) -> Iterator[Any]:
    client = InferenceServerClient(f"127.0.0.1:{served.port}")
    yield client
    client.close()


def images(count: int, seed: int = 0) -> Images:
    return np.random.default_rng(seed).integers(0, 256, (count, 32, 32, 3), np.uint8)


def input_of(batch: Images, binary: bool = True) -> Any:
    sent = InferInput("images", list(batch.shape), "UINT8")
    sent.set_data_from_numpy(batch, binary_data=binary)
    return sent


def request_of(**changes: Any) -> dict[str, Any]:
    """One black image in JSON."""
    tensor = {"name": "images", "shape": [1, 32, 32, 3], "datatype": "UINT8", "data": [0] * SIZE, **changes}
    return {"inputs": [{name: value for name, value in tensor.items() if value is not None}]}


def binary_of(tail: bytes = bytes(SIZE), size: Any = SIZE, **changes: Any) -> tuple[bytes, int]:
    """One image as binary data, and the length of its JSON."""
    head = json.dumps(request_of(data=None, parameters={"binary_data_size": size}, **changes)).encode()
    return head + tail, len(head)


def test_triton_client_finds_server_and_model(served: Served, triton: Any) -> None:
    assert triton.is_server_live()
    assert triton.is_server_ready()
    assert triton.is_model_ready(PRODUCT)
    assert triton.is_model_ready(PRODUCT, "a1b2c3")
    assert not triton.is_model_ready(PRODUCT, "another")
    assert not triton.is_model_ready("another")
    server = triton.get_server_metadata()
    assert (server["name"], server["version"]) == ("loupe", "1.2.3")
    assert "binary_tensor_data" in server["extensions"]
    assert triton.get_model_repository_index() == [
        {"name": PRODUCT, "version": "a1b2c3", "state": "READY", "reason": ""}
    ]


def test_metadata_and_configuration_describe_the_model(triton: Any) -> None:
    metadata = triton.get_model_metadata(PRODUCT)
    assert metadata == triton.get_model_metadata(PRODUCT, "a1b2c3")
    assert metadata["versions"] == ["a1b2c3"]
    assert metadata["inputs"] == [{"name": "images", "datatype": "UINT8", "shape": [-1, 32, 32, 3]}]
    assert {output["name"]: output["shape"] for output in metadata["outputs"]} == {
        "class_probability": [-1, 2],
        "defect_map": [-1, -1, -1],
        "novelty": [-1],
        "embedding": [-1, -1],
    }
    config = triton.get_model_config(PRODUCT)
    assert config["max_batch_size"] == 16
    assert config["input"][0]["dims"] == [32, 32, 3]
    assert config["output"][0] == {"name": "class_probability", "data_type": "TYPE_FP32", "dims": [2]}
    assert json.loads(config["parameters"]["classes"]["string_value"]) == ["good", "scratch"]


@pytest.mark.parametrize("binary_in", [True, False])
@pytest.mark.parametrize("binary_out", [True, False])
def test_scores_are_those_of_the_model(served: Served, triton: Any, binary_in: bool, binary_out: bool) -> None:
    batch = images(5)
    expected = served.scorer.predict(batch)
    names = ["class_probability", "defect_map", "novelty", "embedding"]
    result = triton.infer(
        PRODUCT,
        [input_of(batch, binary_in)],
        outputs=[InferRequestedOutput(name, binary_data=binary_out) for name in names],
        request_id="part 7",
    )
    response = result.get_response()
    assert (response["id"], response["model_name"], response["model_version"]) == ("part 7", PRODUCT, "a1b2c3")
    assert [output["name"] for output in response["outputs"]] == names
    for name in names:
        np.testing.assert_array_equal(result.as_numpy(name), getattr(expected, name))


def test_without_wishes_every_output_comes(served: Served, triton: Any) -> None:
    batch = images(2)
    result = triton.infer(PRODUCT, [input_of(batch)], model_version="a1b2c3")
    np.testing.assert_array_equal(result.as_numpy("novelty"), served.scorer.predict(batch).novelty)
    assert len(result.get_response()["outputs"]) == 4


def test_outputs_may_come_mixed(served: Served, triton: Any) -> None:
    batch = images(3)
    expected = served.scorer.predict(batch)
    wanted = [
        InferRequestedOutput("embedding", binary_data=True),
        InferRequestedOutput("class_probability", binary_data=False),
        InferRequestedOutput("novelty", binary_data=True),
    ]
    result = triton.infer(PRODUCT, [input_of(batch)], outputs=wanted)
    np.testing.assert_array_equal(result.as_numpy("embedding"), expected.embedding)
    np.testing.assert_array_equal(result.as_numpy("class_probability"), expected.class_probability)
    np.testing.assert_array_equal(result.as_numpy("novelty"), expected.novelty)
    assert result.as_numpy("defect_map") is None


def test_json_may_be_nested_as_the_shape(served: Served) -> None:
    batch = images(2)
    request = request_of(shape=[2, 32, 32, 3], data=batch.tolist())
    response = served.infer(json.dumps(request).encode())
    assert response.status_code == 200
    assert "inference-header-content-length" not in response.headers
    output = response.json()["outputs"][0]
    expected = served.scorer.predict(batch).class_probability
    np.testing.assert_array_equal(np.array(output["data"], np.float32).reshape(output["shape"]), expected)


def test_models_run_where_they_are_told_to(served: Served, triton: Any) -> None:
    served.threads.clear()
    triton.infer(PRODUCT, [input_of(images(1))])
    assert all(name.startswith("inspect") for name in served.threads)
    assert served.threads


def test_a_new_champion_answers_the_next_request(served: Served, triton: Any, tmp_path: Path) -> None:
    batch = images(1)
    before = triton.infer(PRODUCT, [input_of(batch)]).as_numpy("class_probability")
    scorer = Classifier(write_tiny_model(tmp_path / "next.onnx", gain=0.5))
    served.models[PRODUCT] = stored("d4e5f6", PRODUCT, scorer), scorer
    result = triton.infer(PRODUCT, [input_of(batch)])
    assert result.get_response()["model_version"] == "d4e5f6"
    assert result.as_numpy("class_probability")[0, 1] == pytest.approx(before[0, 1] / 2, abs=1e-6)
    assert [output["name"] for output in triton.get_model_metadata(PRODUCT)["outputs"]] == ["class_probability"]
    with pytest.raises(InferenceServerException, match="d4e5f6 does"):
        triton.infer(PRODUCT, [input_of(batch)], model_version="a1b2c3")


def test_without_a_model_nothing_is_ready(served: Served, triton: Any) -> None:
    served.models.clear()
    assert triton.is_server_live()
    assert not triton.is_server_ready()
    assert triton.get_model_repository_index() == []
    assert served.infer(b"{}").status_code == 503
    assert "no model is loaded" in served.infer(b"{}").json()["error"]


def test_unknown_models_and_addresses_are_not_found(served: Served, triton: Any) -> None:
    with pytest.raises(InferenceServerException, match="'another' has no model"):
        triton.get_model_metadata("another")
    with pytest.raises(InferenceServerException, match="is not served"):
        triton.get_inference_statistics(PRODUCT)
    with pytest.raises(InferenceServerException, match="is not served"):
        triton.load_model(PRODUCT)
    assert served.infer(b"", path="/v2/models/another/infer").status_code == 404
    assert httpx.get(f"{served.url}/v2/models/{PRODUCT}/infer").status_code == 404


def test_refusals_of_a_key_speak_the_protocol_too(served: Served, triton: Any) -> None:
    served.keys.append("a key")
    assert not triton.is_server_live()
    with pytest.raises(InferenceServerException, match="no key") as refused:
        triton.infer(PRODUCT, [input_of(images(1))])
    assert refused.value.status() == "401"


def test_more_requests_than_places_are_told_so(served: Served) -> None:
    body, header = binary_of()
    served.may_run.clear()
    with ThreadPoolExecutor(IN_WORK_LIMIT + 4) as clients:
        answers = [clients.submit(served.infer, body, header) for _ in range(IN_WORK_LIMIT + 4)]
        while sum(answer.done() for answer in answers) < 4:
            pass
        served.may_run.set()
    assert sorted(answer.result().status_code for answer in answers) == [200] * IN_WORK_LIMIT + [503] * 4
    assert served.infer(body, header).status_code == 200


HUGE = 2**62
WRONG: Mapping[str, Any] = {
    "nothing": b"",
    "no JSON": b"{",
    "no text": b"\xff\xfe\x00",
    "no object": b"[]",
    "a number": b"1",
    "deeply nested": b"[" * 100_000,
    "no inputs": {},
    "no list of inputs": {"inputs": {"images": []}},
    "two inputs": {"inputs": request_of()["inputs"] * 2},
    "input is no object": {"inputs": [1]},
    "another name": request_of(name="pictures"),
    "no name": request_of(name=None),
    "another datatype": request_of(datatype="FP32"),
    "datatype is no string": request_of(datatype=[]),
    "no shape": request_of(shape=None),
    "shape of another rank": request_of(shape=[32, 32, 3]),
    "other height": request_of(shape=[1, 64, 16, 3]),
    "channels first": request_of(shape=[1, 3, 32, 32]),
    "no images": request_of(shape=[0, 32, 32, 3], data=[]),
    "negative": request_of(shape=[-1, 32, 32, 3]),
    "two negatives": request_of(shape=[-1, 32, -32, 3]),
    "huge": request_of(shape=[HUGE, 32, 32, 3]),
    "huge everywhere": request_of(shape=[HUGE, HUGE, HUGE, HUGE]),
    "a number of 4000 digits": request_of(shape=[10**4000, 32, 32, 3]),
    "a number of 5000 digits": b'{"inputs":[{"shape":[' + b"9" * 5000 + b"]}]}",
    "above the batch limit": request_of(shape=[17, 32, 32, 3], data=[0] * 17 * SIZE),
    "shape of fractions": request_of(shape=[1.0, 32, 32, 3]),
    "shape of truths": request_of(shape=[True, 32, 32, 3]),
    "shape of texts": request_of(shape=["1", "32", "32", "3"]),
    "no data": request_of(data=None),
    "data is text": request_of(data="0" * SIZE),
    "too little data": request_of(data=[0] * (SIZE - 1)),
    "too much data": request_of(data=[0] * (SIZE + 1)),
    "empty data": request_of(data=[]),
    "above 255": request_of(data=[256] * SIZE),
    "far above 255": request_of(data=[10**400] * SIZE),
    "below 0": request_of(data=[-1] * SIZE),
    "fractions": request_of(data=[0.5] * SIZE),
    "no numbers": request_of(data=[None] * SIZE),
    "texts": request_of(data=["a"] * SIZE),
    "objects": request_of(data=[{}] * SIZE),
    "not a number": request_of(data=[float("nan")] * SIZE),
    "infinite": request_of(data=[float("inf")] * SIZE),
    "nested wrongly": request_of(data=[[0] * SIZE]),
    "nested with too many": request_of(data=[[[[0] * 3] * 32] * 32] * 2),
    "nested raggedly": request_of(data=[[[[0] * 3] * 32] * 31 + [[[0] * 3] * 31]]),
    "nested too deeply": request_of(data=[[[[[0]] * 3] * 32] * 32]),
    "nested in part": request_of(data=[[[[0] * 3] * 32] * 31 + [0]]),
    "id is no string": {**request_of(), "id": 7},
    "parameters are no object": {**request_of(), "parameters": []},
    "parameter is no truth": {**request_of(), "parameters": {"binary_data_output": "yes"}},
    "outputs are no list": {**request_of(), "outputs": {"name": "novelty"}},
    "output is no object": {**request_of(), "outputs": ["novelty"]},
    "unknown output": {**request_of(), "outputs": [{"name": "logits"}]},
    "output's name is a list": {**request_of(), "outputs": [{"name": "novelty"}, {"name": []}]},
    "output twice": {**request_of(), "outputs": [{"name": "novelty"}] * 2},
    "many outputs": {**request_of(), "outputs": [{"name": "novelty"}] * 1000},
    "classification": {**request_of(), "outputs": [{"name": "novelty", "parameters": {"classification": 2}}]},
    "shared memory": request_of(data=None, parameters={"shared_memory_region": "x", "shared_memory_byte_size": SIZE}),
    "binary data without a header": request_of(data=None, parameters={"binary_data_size": SIZE}),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_json_is_refused(served: Served, name: str) -> None:
    body = WRONG[name] if isinstance(WRONG[name], bytes) else json.dumps(WRONG[name]).encode()
    response = served.infer(body)
    assert response.status_code == 400
    assert 0 < len(response.json()["error"]) < 500


@pytest.mark.parametrize(
    "body",
    [
        binary_of(tail=b""),
        binary_of(tail=bytes(SIZE - 1)),
        binary_of(tail=bytes(SIZE + 1)),
        binary_of(size=SIZE - 1),
        binary_of(size=-1),
        binary_of(size=HUGE),
        binary_of(size=float(SIZE)),
        binary_of(size=str(SIZE)),
        binary_of(size=True),
        binary_of(shape=[2, 32, 32, 3]),
        binary_of(tail=bytes(17 * SIZE), size=17 * SIZE, shape=[17, 32, 32, 3]),
        (json.dumps(request_of()).encode() + bytes(SIZE), len(json.dumps(request_of()))),
    ],
    ids=range(12),
)
def test_wrong_binary_data_is_refused(served: Served, body: tuple[bytes, int]) -> None:
    response = served.infer(*body)
    assert response.status_code == 400
    assert response.json()["error"]


@pytest.mark.parametrize("length", ["-1", "", "1e3", "0x10", "٣", "9" * 400, str(HUGE), "100000", "0", "5"])
def test_wrong_header_length_is_refused(served: Served, length: str) -> None:
    body, _ = binary_of()
    named = [(b"Inference-Header-Content-Length", length.encode())]
    response = httpx.post(f"{served.url}/v2/models/{PRODUCT}/infer", content=body, headers=named)
    assert response.status_code == 400
    assert response.json()["error"]


def test_bodies_over_the_limit_are_not_read(served: Served) -> None:
    with socket.create_connection(("127.0.0.1", served.port)) as line:
        line.sendall(
            b"POST /v2/models/" + PRODUCT.replace(" ", "%20").encode() + b"/infer HTTP/1.1\r\nHost: x\r\n"
            b"Inference-Header-Content-Length: 10\r\nContent-Length: 8000001\r\n\r\n"
        )
        assert line.recv(100).startswith(b"HTTP/1.1 413")
    chunked = httpx.post(f"{served.url}/v2/models/{PRODUCT}/infer", content=(bytes(1_000_000) for _ in range(5)))
    assert chunked.status_code == 413
    assert served.infer(b" " * (JSON_LIMIT + 1)).status_code == 413
    assert served.infer(b" " * (JSON_LIMIT + 1), JSON_LIMIT + 1).status_code == 413


def test_a_body_that_is_cut_short_harms_nobody(served: Served) -> None:
    body, header = binary_of()
    with socket.create_connection(("127.0.0.1", served.port)) as line:
        line.sendall(
            b"POST /v2/models/" + PRODUCT.replace(" ", "%20").encode() + b"/infer HTTP/1.1\r\nHost: x\r\n"
            b"Inference-Header-Content-Length: %d\r\nContent-Length: %d\r\n\r\n" % (header, len(body)) + body[:-100]
        )
    assert served.infer(body, header).status_code == 200


def test_a_compressed_body_is_refused(triton: Any) -> None:
    with pytest.raises(InferenceServerException, match="compressed"):
        triton.infer(PRODUCT, [input_of(images(1))], request_compression_algorithm="gzip")
