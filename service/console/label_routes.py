"""JSON for inspectors: what to judge next, and their judgements."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from labeling.label_book import book_of
from labeling.submitting import Judgement, submit, take_back
from service.console.fields import Id, Limit, Name, Offset, Open, Ranked, Sha256, Sought, Text, Time
from service.console.preview import full_url
from service.console.tasks import worklist
from service.label_json import withdrawal_json
from service.wiring import now
from storage import labels

SOURCE = "console"

Place = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Length = Annotated[float, Field(gt=0, allow_inf_nan=False)]

router = APIRouter()


class LabelBody(BaseModel):
    """One judgement as the page sends it."""

    model_config = ConfigDict(extra="forbid")

    id: Id
    product: Name
    image_sha256: Sha256
    inspector: Name
    class_name: Name
    also: Annotated[tuple[Name, ...], Field(max_length=20)] = ()
    severity: Annotated[int, Field(ge=0, le=99)] | None = None
    unsure: bool = False
    comment: Text = ""
    seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    region: tuple[Place, Place, Length, Length] | None = None
    judged_at: Time | None = None
    shift: Annotated[Text, Field(max_length=120)] = ""


class WithdrawBody(BaseModel):
    """Who takes a label back, and why."""

    model_config = ConfigDict(extra="forbid")

    inspector: Name
    reason: Text = ""


@router.get("/tasks")
def get_tasks(
    stores: Open,
    rankings: Ranked,
    product: Sought,
    inspector: Annotated[Name, Query()],
    n: Annotated[int, Query(ge=1, le=200)] = 8,
) -> JSONResponse:
    """The next images for this inspector, and nothing about them that could sway a judgement."""
    found = worklist(stores.database, rankings, product, inspector, n, now())
    tasks = [
        {"image_sha256": task.image_sha256, "image_url": full_url(task.image_sha256, task.media_type)}
        for task in found.tasks
    ]
    body = {"tasks": tasks, "unlabelled": found.unlabelled, "judged": found.judged}
    return JSONResponse(body, headers={"Cache-Control": "no-store"})


@router.post("/labels", status_code=201)
def post_label(stores: Open, body: LabelBody, response: Response) -> dict[str, Any]:
    """Store one judgement once: 201 when it is new, 200 when it was stored before; 409 for another under its id."""
    judgement = Judgement(**body.model_dump())
    with stores.database.write() as connection:
        stored = submit(connection, judgement, SOURCE, now())
    response.status_code = 201 if stored else 200
    return {"id": body.id, "stored": stored}


@router.post("/labels/{label_id}/withdraw", status_code=201)
def withdraw_label(stores: Open, label_id: Sought, body: WithdrawBody, response: Response) -> dict[str, Any]:
    """Take back a judgement made by mistake, so that it no longer counts: 201 now, 200 when it was before."""
    with stores.database.write() as connection:
        withdrawn = take_back(connection, label_id, body.inspector, body.reason, now())
    response.status_code = 201 if withdrawn else 200
    return {"id": label_id, "withdrawn": withdrawn}


@router.get("/withdrawals")
def get_withdrawals(stores: Open, product: Sought, offset: Offset = 0, limit: Limit = 100) -> dict[str, Any]:
    """The labels of a product that no longer count, newest withdrawal first."""
    with stores.database.read() as connection:
        book_of(connection, product)
        found = labels.withdrawn(connection, product)
    return {"total": len(found), "withdrawals": [withdrawal_json(one) for one in found[offset : offset + limit]]}
