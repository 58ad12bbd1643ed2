"""The console's JSON API: images, products, label books, and the labels that inspectors give."""

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, Path, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints

from labeling.submitting import Judgement, UnknownClass, UnknownImage, submit
from models.preprocess import UnreadableImage
from service.console.preview import full_url, preview
from service.console.tasks import UnknownProduct, worklist
from service.wiring import Stores, now
from storage import inspections, labels, pictures
from storage.database import DatabaseUnavailable
from storage.images.content import ContentMissing

SOURCE = "console"
FOR_EVER = {"Cache-Control": "private, max-age=31536000, immutable"}
"""An image's address holds its hash, so what it names never changes."""

Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=120)]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class ImageUnknown(LookupError):
    """Neither a product nor a kept view has this image."""

    def __init__(self, sha256: str) -> None:
        super().__init__(f"there is no image {sha256}")
        self.remedy = "only imported images, and images that the recipe's retention kept, can be seen"


class AddressUnknown(LookupError):
    """The API has no such address."""

    def __init__(self, path: str) -> None:
        super().__init__(f"there is nothing at {path}")
        self.remedy = "see /api/openapi.json for the addresses served"


STATUS: dict[type[Exception], int] = {
    UnknownClass: 422,
    UnknownImage: 422,
    UnknownProduct: 404,
    ImageUnknown: 404,
    AddressUnknown: 404,
    ContentMissing: 404,
    UnreadableImage: 415,
    DatabaseUnavailable: 503,
}
"""HTTP status of each error: the one place where the domain's errors meet HTTP."""


class LabelBody(BaseModel):
    """One judgement as the page sends it."""

    model_config = ConfigDict(extra="forbid")

    id: Annotated[str, StringConstraints(pattern=r"^[0-9A-Za-z-]{8,64}$")]
    product: Name
    image_sha256: Sha256
    inspector: Name
    class_name: Name
    unsure: bool = False
    comment: Annotated[str, StringConstraints(max_length=2000)] = ""
    seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    region: tuple[float, float, float, float] | None = None
    judged_at: AwareDatetime | None = None


def add_api(app: FastAPI) -> None:
    """Serve the API; `app.state.stores` must hold the stores."""
    app.include_router(router)
    for error in STATUS:
        app.add_exception_handler(error, _refused)
    app.add_exception_handler(RequestValidationError, _invalid)


def _stores(request: Request) -> Stores:
    stores: Stores = request.app.state.stores
    return stores


Open = Annotated[Stores, Depends(_stores)]
router = APIRouter(prefix="/api")


@router.get("/images/{sha256}")
def get_image(stores: Open, sha256: Annotated[Sha256, Path()]) -> Response:
    """The stored bytes of an image."""
    data, media_type = _image(stores, sha256)
    return Response(data, media_type=media_type, headers=FOR_EVER)


@router.get("/images/{sha256}/preview")
def get_preview(
    stores: Open, sha256: Annotated[Sha256, Path()], side: Annotated[int, Query(ge=16, le=4096)] = 256
) -> Response:
    """A JPEG of the image, its long side at most `side` pixels."""
    data, media_type = _image(stores, sha256)
    return Response(preview(data, media_type, side), media_type="image/jpeg", headers=FOR_EVER)


@router.get("/products")
def get_products(stores: Open) -> list[dict[str, Any]]:
    """The products that have a label book."""
    with stores.database.read() as connection:
        books = labels.newest_books(connection)
    return [{"product": product, "book_version": book.version} for product, book in books.items()]


@router.get("/label-book")
def get_label_book(stores: Open, product: str) -> dict[str, Any]:
    """The product's classes in the newest version of its label book."""
    with stores.database.read() as connection:
        book = labels.newest_book(connection, product)
    if book is None:
        raise UnknownProduct(product)
    return {"product": product, "version": book.version, "classes": [asdict(entry) for entry in book.classes]}


@router.get("/tasks")
def get_tasks(
    stores: Open,
    product: str,
    inspector: Annotated[Name, Query()],
    n: Annotated[int, Query(ge=1, le=200)] = 8,
) -> JSONResponse:
    """The next images for this inspector, and nothing about them that could sway a judgement."""
    found = worklist(stores.database, product, inspector, n, now())
    tasks = [
        {"image_sha256": task.image_sha256, "image_url": full_url(task.image_sha256, task.media_type)}
        for task in found.tasks
    ]
    body = {"tasks": tasks, "unlabelled": found.unlabelled, "judged": found.judged}
    return JSONResponse(body, headers={"Cache-Control": "no-store"})


@router.post("/labels", status_code=201)
def post_label(stores: Open, body: LabelBody, response: Response) -> dict[str, Any]:
    """Store one judgement once: 201 when it is new, 200 when its id was stored before."""
    judgement = Judgement(**body.model_dump())
    with stores.database.write() as connection:
        stored = submit(connection, judgement, SOURCE, now())
    response.status_code = 201 if stored else 200
    return {"id": body.id, "stored": stored}


@router.get("/{path:path}", include_in_schema=False)
def get_nothing(path: str) -> None:
    """Every other address under /api: an answer for programs, not a page."""
    raise AddressUnknown(f"/api/{path}")


def _image(stores: Stores, sha256: str) -> tuple[bytes, str]:
    with stores.database.read() as connection:
        media_type = pictures.media_type(connection, sha256) or inspections.kept_media_type(connection, sha256)
    if media_type is None:  # the content store holds model files too: only known images leave it
        raise ImageUnknown(sha256)
    return stores.images.get(sha256), media_type


async def _refused(request: Request, error: Exception) -> JSONResponse:
    status = next(code for kind, code in STATUS.items() if isinstance(error, kind))
    return JSONResponse({"what": str(error), "remedy": getattr(error, "remedy", "")}, status)


async def _invalid(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"] if part not in ("body", "query", "path"))
    remedy = "see /api/openapi.json for the fields and their limits"
    return JSONResponse({"what": f"{where or 'the body'}: {first['msg'].lower()}", "remedy": remedy}, 422)
