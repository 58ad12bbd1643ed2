"""The Open Inference Protocol v2 over REST, so that programs made for Triton and KServe can ask the line's models.

Answers are scores, not verdicts: nothing is decided and nothing recorded.
"""

import asyncio
import itertools
import json
import math
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
from fastapi import APIRouter, Request, Response
from fastapi.routing import APIRoute
from numpy.typing import NDArray
from starlette.requests import ClientDisconnect

from models.card import ModelCard
from models.classifier import CLASS_PROBABILITY, INPUT, UNLOADABLE, Scorer, Scores
from service.line.requests import (
    FIELD_LIMIT,
    BodyTooLarge,
    BodyTooSlow,
    KeyMissing,
    NotReady,
    Overloaded,
    Refusal,
    WrongRequest,
    WrongStation,
)
from storage.records import Model

HEADER_LENGTH = "inference-header-content-length"
EXTENSIONS = ("binary_tensor_data", "model_configuration")
JSON_LIMIT = 4_000_000
"""Bytes of JSON in a request: parsing holds the interpreter's lock, and the line waits for it (4 MB: about 50 ms)."""
IN_WORK_LIMIT = 4
"""Requests that may be read or computed at once: each holds its body in memory, and the line has the first call."""
BODY_WAIT_S = 10.0
DOCS = "docs/open-inference.md describes the request"

T = TypeVar("T")
Models = Callable[[], Mapping[str, tuple[Model, Scorer]]]


class Submit(Protocol):
    """Runs a job where the line's models run, off the event loop."""

    def __call__(self, job: Callable[[], T], images: int, /) -> Awaitable[T]:
        """The job's result; the job's errors are raised. images: about how many it is for."""


class UnknownModel(Refusal):
    """No model of this name, or not in this version, is loaded."""


class NotServed(Refusal):
    """A part of the protocol that Loupe does not have."""


STATUS: dict[type[Refusal], int] = {
    KeyMissing: 401,
    WrongStation: 403,
    UnknownModel: 404,
    NotServed: 404,
    BodyTooLarge: 413,
    Overloaded: 503,
    NotReady: 503,
}
"""HTTP status of each refusal; all others: 400."""


@dataclass(frozen=True, slots=True)
class Inference:
    """What a client wants to know: images uint8 (N, H, W, 3), and the outputs by name, True where as binary data."""

    id: str | None
    images: NDArray[np.uint8]
    outputs: Mapping[str, bool]


def open_inference(
    models: Models, submit: Submit, *, version: str, limit_mb: float = 64.0, batch_limit: int = 32
) -> APIRouter:
    """The routes under /v2.

    models: the loaded models by product, asked anew for every request. version: of this program. limit_mb: the largest
    body (MB). batch_limit: images in one request.
    """
    router = APIRouter(prefix="/v2", tags=["Open Inference Protocol"], route_class=_Route)
    server = _Server(models, submit, version, int(limit_mb * 1e6), batch_limit)
    # The client asks `/v2`, people and proxies often `/v2/`.
    for path, answer in (("", server.metadata), ("/", server.metadata), ("/health/live", server.live)):
        router.add_api_route(path, answer, methods=["GET"], response_model=None)
    router.add_api_route("/health/ready", server.ready, methods=["GET"], response_model=None)
    for model in ("/models/{name}", "/models/{name}/versions/{version}"):
        router.add_api_route(model, server.model, methods=["GET"], response_model=None)
        router.add_api_route(f"{model}/ready", server.model_ready, methods=["GET"], response_model=None)
        router.add_api_route(f"{model}/config", server.config, methods=["GET"], response_model=None)
        router.add_api_route(f"{model}/infer", server.infer, methods=["POST"], response_model=None)
    router.add_api_route("/repository/index", server.index, methods=["POST"], response_model=None)
    every = ["GET", "POST", "PUT", "PATCH", "DELETE"]
    router.add_api_route("/{rest:path}", _not_served, methods=every, response_model=None, include_in_schema=False)
    return router


class _Route(APIRoute):
    """Answers refusals, those of the keys too, in the protocol's words."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        answer = super().get_route_handler()

        async def answered(request: Request) -> Response:
            try:
                return await answer(request)
            except Refusal as refusal:
                return _json({"error": f"{refusal}; {refusal.remedy}"}, STATUS.get(type(refusal), 400))

        return answered


def _not_served(request: Request) -> Response:
    raise NotServed(f"{request.method} {request.url.path[:FIELD_LIMIT]} is not served", DOCS)


class _Server:
    """The answers to the routes."""

    def __init__(self, models: Models, submit: Submit, version: str, limit: int, batch_limit: int) -> None:
        self._models, self._submit, self._version = models, submit, version
        self._limit, self._batch_limit = limit, batch_limit
        self._in_work = 0

    async def metadata(self) -> Response:
        """Name, version and extensions of this server."""
        return _json({"name": "loupe", "version": self._version, "extensions": EXTENSIONS})

    async def live(self) -> Response:
        """The process answers."""
        return _json({"live": True})

    async def ready(self) -> Response:
        """At least one model is loaded."""
        is_ready = bool(self._models())
        return _json({"ready": is_ready}, 200 if is_ready else 503)

    async def index(self, request: Request) -> Response:
        """The models that are loaded."""
        await _read_body(request, FIELD_LIMIT)
        return _json(
            [
                {"name": name, "version": model.id, "state": "READY", "reason": ""}
                for name, (model, _) in sorted(self._models().items())
            ]
        )

    async def model_ready(self, name: str, version: str | None = None) -> Response:
        """Whether the model is loaded, warmed and challenged: only such are listed."""
        self._find(name, version)
        return _json({"name": name, "ready": True})

    async def model(self, name: str, version: str | None = None) -> Response:
        """Inputs and outputs of a product's champion."""
        model, scorer = self._find(name, version)
        geometry = scorer.card.geometry
        return _json(
            {
                "name": name,
                "versions": [model.id],
                "platform": "onnxruntime_onnx",
                "inputs": [_tensor(INPUT, "UINT8", [-1, geometry.height, geometry.width, 3])],
                "outputs": [_tensor(output, "FP32", [-1, *dims]) for output, dims in _outputs(scorer.card).items()],
            }
        )

    async def config(self, name: str, version: str | None = None) -> Response:
        """Triton's model configuration, as far as it means anything here; the class names are parameters."""
        _, scorer = self._find(name, version)
        card = scorer.card
        outputs = [
            # Triton has no output without dimensions beside the batch: it writes them as one, reshaped to none.
            {
                "name": output,
                "data_type": "TYPE_FP32",
                "dims": dims or [1],
                **({} if dims else {"reshape": {"shape": []}}),
            }
            for output, dims in _outputs(card).items()
        ]
        dims = [card.geometry.height, card.geometry.width, 3]
        classes = json.dumps([info.name for info in card.classes])
        return _json(
            {
                "name": name,
                "platform": "onnxruntime_onnx",
                "backend": "onnxruntime",
                "max_batch_size": self._batch_limit,
                "input": [{"name": INPUT, "data_type": "TYPE_UINT8", "format": "FORMAT_NONE", "dims": dims}],
                "output": outputs,
                "parameters": {
                    "classes": {"string_value": classes},
                    "execution_provider": {"string_value": scorer.provider},
                },
            }
        )

    async def infer(self, request: Request, name: str, version: str | None = None) -> Response:
        """Scores of images as the model takes them: cut and scaled already."""
        model, scorer = self._find(name, version)
        if "content-encoding" in request.headers:
            raise WrongRequest("the body is compressed", "send it as it is")
        header_length = _header_length(request)
        if self._in_work >= IN_WORK_LIMIT:
            raise Overloaded(f"{IN_WORK_LIMIT} inference requests are in work already", "send it again later")
        self._in_work += 1
        try:
            body = await _read_body(request, self._limit if header_length is not None else min(self._limit, JSON_LIMIT))
            geometry = scorer.card.geometry
            images = max(1, len(body) // (3 * geometry.height * geometry.width))
            return await self._submit(lambda: self._inferred(name, model, scorer, body, header_length), images)
        finally:
            self._in_work -= 1

    def _inferred(self, name: str, model: Model, scorer: Scorer, body: bytes, header_length: int | None) -> Response:
        inference = read_inference(body, header_length, scorer.card, self._batch_limit)
        try:
            scores = scorer.predict(inference.images)
        except (*UNLOADABLE, MemoryError) as error:
            reason = str(error).partition("\n")[0][:FIELD_LIMIT]
            raise NotReady(f"model {model.id} can't be run: {reason}", "send fewer images, or see the log") from error
        return _answer({"model_name": name, "model_version": model.id}, inference, scores)

    def _find(self, name: str, version: str | None) -> tuple[Model, Scorer]:
        models = self._models()
        if not models:
            raise NotReady("no model is loaded", "ask /v2/health/ready until it answers 200; promote a model")
        if name not in models:
            raise UnknownModel(
                f"product {name[:FIELD_LIMIT]!r} has no model here", "POST /v2/repository/index lists them"
            )
        model, scorer = models[name]
        if version is not None and version != model.id:
            raise UnknownModel(
                f"model {version[:FIELD_LIMIT]!r} does not decide for {name!r}, {model.id} does",
                "leave the version out",
            )
        return model, scorer


def read_inference(body: bytes, header_length: int | None, card: ModelCard, batch_limit: int) -> Inference:
    """The request in a body; without header_length all of it is JSON, else so many bytes, then the tensor's.

    The images are a view of the body where they came as binary data.

    Raises WrongRequest, BodyTooLarge.
    """
    if header_length is not None and header_length > len(body):
        raise WrongRequest(f"Inference-Header-Content-Length is {header_length}, the body {len(body)} bytes", DOCS)
    head = body[:header_length]
    if len(head) > JSON_LIMIT:
        raise BodyTooLarge(
            f"{len(head)} bytes of JSON are too many", f"send at most {JSON_LIMIT}, images as binary data"
        )
    fields = _object(_parse(head), "the request")
    request_id = fields.get("id")
    if not isinstance(request_id, str | None):
        raise WrongRequest("the request's id is no string", DOCS)
    inputs = fields.get("inputs")
    if not isinstance(inputs, list) or len(inputs) != 1:
        raise WrongRequest("the request does not have exactly one input", f"send the input {INPUT}")
    tensor = _object(inputs[0], "the input")
    shape = _shape(tensor, card, batch_limit)
    data = memoryview(body)[len(head) :]
    return Inference(request_id, _images(tensor, shape, data), _wanted(fields, card))


def _parse(head: bytes) -> object:
    def refuse(number: str) -> None:
        raise WrongRequest(f"{number} is no number that JSON knows", DOCS)

    try:
        return json.loads(head, parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        # Without the text around the error: it is the client's, and may be large.
        raise WrongRequest("the request is no JSON", DOCS) from error


def _object(value: object, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise WrongRequest(f"{what} is no JSON object", DOCS)
    return value


def _parameters(fields: Mapping[str, Any], what: str) -> dict[str, Any]:
    return _object(fields.get("parameters", {}), f"`parameters` of {what}")


def _shape(tensor: Mapping[str, Any], card: ModelCard, batch_limit: int) -> tuple[int, int, int, int]:
    height, width = card.geometry.height, card.geometry.width
    wanted = f"send {INPUT} as UINT8 of shape [N, {height}, {width}, 3] with N from 1 to {batch_limit}"
    if tensor.get("name") != INPUT:
        raise WrongRequest("the model does not have the input", wanted)
    if tensor.get("datatype") != "UINT8":
        raise WrongRequest(f"the datatype of {INPUT} is not UINT8", wanted)
    shape = tensor.get("shape")
    if not isinstance(shape, list) or len(shape) != 4 or any(type(side) is not int for side in shape):
        raise WrongRequest(f"the shape of {INPUT} is not four whole numbers", wanted)
    if shape[1:] != [height, width, 3] or not 1 <= shape[0] <= batch_limit:
        raise WrongRequest(f"the shape of {INPUT} does not fit the model", wanted)
    return shape[0], height, width, 3


def _images(tensor: Mapping[str, Any], shape: tuple[int, int, int, int], data: memoryview) -> NDArray[np.uint8]:
    parameters = _parameters(tensor, "the input")
    if any(name.startswith("shared_memory") for name in parameters):
        raise WrongRequest("shared memory is not served", "send the images in the body")
    wanted, announced = math.prod(shape), parameters.get("binary_data_size")
    if announced is None:
        if len(data):
            raise WrongRequest(f"{len(data)} bytes follow the JSON, and no input names them", "give binary_data_size")
        return np.frombuffer(_flat(tensor.get("data"), shape), np.uint8).reshape(shape)
    if "data" in tensor:
        raise WrongRequest("the input has both `data` and binary_data_size", "send one of the two")
    if type(announced) is not int or announced != wanted or len(data) != wanted:
        raise WrongRequest(
            f"the shape makes {wanted} bytes, and {len(data)} follow the JSON", "send them, and this binary_data_size"
        )
    return np.frombuffer(data, np.uint8).reshape(shape)


def _flat(data: object, shape: tuple[int, ...]) -> bytes:
    """The bytes of a tensor in JSON, which is one list or nested as its shape."""
    if not isinstance(data, list):
        raise WrongRequest("the input has no `data`", DOCS)
    if data and isinstance(data[0], list):
        for side in shape[1:]:
            if any(not isinstance(row, list) or len(row) != side for row in data):
                raise WrongRequest("`data` is not nested as the shape", "send one flat list, or a list an axis")
            data = list(itertools.chain.from_iterable(data))
    if len(data) != math.prod(shape):
        raise WrongRequest(f"`data` holds {len(data)} numbers, the shape makes {math.prod(shape)}", DOCS)
    try:
        return bytes(data)
    except (ValueError, TypeError) as error:
        raise WrongRequest("`data` holds something else than whole numbers from 0 to 255", DOCS) from error


def _wanted(fields: Mapping[str, Any], card: ModelCard) -> dict[str, bool]:
    as_binary = _flag(_parameters(fields, "the request"), "binary_data_output", False)
    known = list(_outputs(card))
    outputs = fields.get("outputs")
    if outputs is None or outputs == []:
        return dict.fromkeys(known, as_binary)
    if not isinstance(outputs, list) or len(outputs) > len(known):
        raise WrongRequest("`outputs` is no list of outputs", f"the model has {', '.join(known)}")
    wanted: dict[str, bool] = {}
    for output in outputs:
        one = _object(output, "an output")
        name, parameters = one.get("name"), _parameters(one, "an output")
        if name not in known or name in wanted:
            raise WrongRequest("an output is unknown, or asked for twice", f"the model has {', '.join(known)}")
        if any(parameter == "classification" or parameter.startswith("shared_memory") for parameter in parameters):
            raise WrongRequest("classification and shared memory are not served", "ask for the output's numbers")
        wanted[name] = _flag(parameters, "binary_data", as_binary)
    return wanted


def _flag(parameters: Mapping[str, Any], name: str, default: bool) -> bool:
    value = parameters.get(name, default)
    if not isinstance(value, bool):
        raise WrongRequest(f"the parameter {name} is neither true nor false", DOCS)
    return value


def _outputs(card: ModelCard) -> dict[str, list[int]]:
    """The sides of each output beside the batch; -1: not known before it is computed."""
    sides = {CLASS_PROBABILITY: [len(card.classes)], "defect_map": [-1, -1], "novelty": [], "embedding": [-1]}
    return {name: sides[name] for name in (CLASS_PROBABILITY, *card.capabilities)}


def _tensor(name: str, datatype: str, shape: list[int]) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": shape}


def _answer(head: dict[str, Any], inference: Inference, scores: Scores) -> Response:
    if inference.id is not None:
        head["id"] = inference.id
    outputs, tail = [], []
    for name, as_binary in inference.outputs.items():
        values: NDArray[np.float32] = np.ascontiguousarray(getattr(scores, name), "<f4")
        output = _tensor(name, "FP32", list(values.shape))
        if as_binary:
            output["parameters"] = {"binary_data_size": values.nbytes}
            tail.append(values.tobytes())
        elif np.isfinite(values).all():
            output["data"] = values.ravel().tolist()
        else:
            raise NotReady(f"{name} holds numbers that are not finite", "ask for binary data, which can hold them")
        outputs.append(output)
    content = json.dumps({**head, "outputs": outputs}, separators=(",", ":")).encode()
    if not tail:
        return Response(content, media_type="application/json")
    headers = {"Inference-Header-Content-Length": str(len(content))}
    return Response(b"".join([content, *tail]), media_type="application/octet-stream", headers=headers)


def _header_length(request: Request) -> int | None:
    text = request.headers.get(HEADER_LENGTH)
    if text is not None and _whole(text) is None:
        raise WrongRequest("Inference-Header-Content-Length is no whole number", "send the size of the JSON in bytes")
    return _whole(text)


def _whole(text: str | None) -> int | None:
    return int(text) if text is not None and text.isascii() and text.isdigit() and len(text) <= 12 else None


async def _read_body(request: Request, limit: int) -> bytes:
    too_large = BodyTooLarge(f"the body is larger than {limit} bytes", "send fewer images, or images as binary data")
    if (_whole(request.headers.get("content-length")) or 0) > limit:
        raise too_large
    chunks, size = [], 0
    try:
        async with asyncio.timeout(BODY_WAIT_S):
            async for chunk in request.stream():
                chunks.append(chunk)
                size += len(chunk)
                if size > limit:
                    raise too_large
    except TimeoutError as error:
        raise BodyTooSlow(f"the body did not arrive within {BODY_WAIT_S:g} s", "send it at once and whole") from error
    except ClientDisconnect as error:
        raise WrongRequest("the body was cut short", "send it whole") from error
    return b"".join(chunks)


def _json(content: object, status: int = 200) -> Response:
    return Response(json.dumps(content).encode(), status, media_type="application/json")
