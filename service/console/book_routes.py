"""JSON for label books."""

from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from labeling.book_changes import change
from labeling.label_book import UnknownProduct, book_of
from service.book_files import ClassEntry
from service.console.fields import Name, Open, Sought, Text
from service.label_json import book_json, change_json, history_json
from service.wiring import now
from storage import labels

router = APIRouter()


class BookBody(BaseModel):
    """All classes of a product as they shall be from now on."""

    model_config = ConfigDict(extra="forbid")

    product: Name
    made_from: Annotated[int, Field(ge=0, le=2**31 - 1)]
    """The version that the change was made from; 0 for a first one."""
    author: Name
    note: Text = ""
    classes: Annotated[list[ClassEntry], Field(min_length=1, max_length=900)]
    wording_only: bool = False


@router.get("/products")
def get_products(stores: Open) -> list[dict[str, Any]]:
    """The products that have a label book."""
    with stores.database.read() as connection:
        books = labels.newest_books(connection)
    return [{"product": product, "book_version": book.version} for product, book in books.items()]


@router.get("/label-book")
def get_label_book(
    stores: Open, product: Sought, version: Annotated[int | None, Query(ge=1, le=2**31 - 1)] = None
) -> dict[str, Any]:
    """The product's classes, in the newest version of its label book or in a former one."""
    with stores.database.read() as connection:
        return book_json(book_of(connection, product, version))


@router.get("/label-book/history")
def get_history(stores: Open, product: Sought) -> list[dict[str, Any]]:
    """Every version, newest first, and what it changed."""
    with stores.database.read() as connection:
        history = labels.book_history(connection, product)
    if not history:
        raise UnknownProduct(product)
    return history_json(history)


@router.put("/label-book")
def put_label_book(stores: Open, body: BookBody) -> dict[str, Any]:
    """Write the next version; 409 where another one than `made_from` holds."""
    with stores.database.write() as connection:
        done = change(
            connection,
            body.product,
            body.made_from,
            [entry.wanted() for entry in body.classes],
            author=body.author,
            note=body.note,
            now=now(),
            wording_only=body.wording_only,
        )
    return change_json(done)
