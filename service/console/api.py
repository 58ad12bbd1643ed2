"""The console's JSON API: images here; label books, labels, disputes and alarms in routers of their own."""

from typing import Annotated

from fastapi import APIRouter, FastAPI, Path, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse

from labeling.adjudicating import NoReason, NothingToTakeBack
from labeling.label_book import UnknownProduct, UnknownVersion, WrongLabelBook
from labeling.submitting import Contradiction, IdTaken, NotYourLabel, UnknownClass, UnknownImage, UnknownLabel
from models.preprocess import UnreadableImage
from service.console import alarm_routes, book_routes, dispute_routes, label_routes
from service.console.alarm_routes import PictureUnknown
from service.console.dispute_routes import NotSettled
from service.console.fields import Open, Sha256
from service.console.preview import FOR_EVER, preview
from service.console.rankings import Rankings
from service.wiring import Stores
from storage import inspections, pictures
from storage.database import DatabaseUnavailable
from storage.images.content import ContentMissing
from storage.labels import BookChanged


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
    NotYourLabel: 403,
    UnknownProduct: 404,
    UnknownVersion: 404,
    UnknownLabel: 404,
    NotSettled: 404,
    ImageUnknown: 404,
    PictureUnknown: 404,
    AddressUnknown: 404,
    ContentMissing: 404,
    BookChanged: 409,
    IdTaken: 409,
    NothingToTakeBack: 409,
    UnreadableImage: 415,
    UnknownClass: 422,
    UnknownImage: 422,
    Contradiction: 422,
    WrongLabelBook: 422,
    NoReason: 422,
    DatabaseUnavailable: 503,
}
"""HTTP status of each error: the one place where the domain's errors meet HTTP."""


def add_api(app: FastAPI) -> None:
    """Serve the API; `app.state.stores` must hold the stores."""
    stores: Stores = app.state.stores
    app.state.rankings = Rankings(stores.database)
    served = (book_routes.router, label_routes.router, dispute_routes.router, alarm_routes.router)
    for routes in (images, *served, nothing):
        app.include_router(routes, prefix="/api")
    for error in STATUS:
        app.add_exception_handler(error, _refused)
    app.add_exception_handler(RequestValidationError, _invalid)


images = APIRouter()
nothing = APIRouter()


@images.get("/images/{sha256}")
def get_image(stores: Open, sha256: Annotated[Sha256, Path()]) -> Response:
    """The stored bytes of an image."""
    data, media_type = _image(stores, sha256)
    return Response(data, media_type=media_type, headers=FOR_EVER)


@images.get("/images/{sha256}/preview")
def get_preview(
    stores: Open, sha256: Annotated[Sha256, Path()], side: Annotated[int, Query(ge=16, le=4096)] = 256
) -> Response:
    """A JPEG of the image, its long side at most `side` pixels."""
    data, media_type = _image(stores, sha256)
    return Response(preview(data, media_type, side), media_type="image/jpeg", headers=FOR_EVER)


@nothing.get("/{path:path}", include_in_schema=False)
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
