"""JSON for leads: where inspectors disagree, what is settled, and their own decisions."""

from collections import defaultdict
from typing import Any

from fastapi import APIRouter, Response
from pydantic import BaseModel, ConfigDict

from labeling.adjudicating import Decision, adjudicate
from labeling.label_book import book_of
from service.console.fields import Id, Limit, Name, Offset, Open, Ranked, Sha256, Sought, Text, Time
from service.console.preview import full_url
from service.label_json import adjudication_json, label_json
from service.wiring import now
from storage import adjudications, consensus, datasets, labels, pictures
from storage.records import Label

router = APIRouter()


class NotSettled(LookupError):
    """The product has no consensus yet."""

    def __init__(self, product: str) -> None:
        super().__init__(f"the labels of product {product!r} were never settled")
        self.remedy = f"settle them: loupe consensus {product}"


class AdjudicationBody(BaseModel):
    """A lead's decision; without a class it takes back the one that holds."""

    model_config = ConfigDict(extra="forbid")

    id: Id
    product: Name
    image_sha256: Sha256
    class_name: Name | None
    reason: Text
    adjudicator: Name
    decided_at: Time | None = None


@router.post("/adjudications", status_code=201)
def post_adjudication(stores: Open, body: AdjudicationBody, response: Response) -> dict[str, Any]:
    """Store one decision once: 201 when it is new, 200 when it was stored before; 409 for another under its id."""
    with stores.database.write() as connection:
        stored = adjudicate(connection, Decision(**body.model_dump()), now())
    response.status_code = 201 if stored else 200
    return {"id": body.id, "stored": stored}


@router.get("/disagreements")
def get_disagreements(
    stores: Open, rankings: Ranked, product: Sought, adjudicated: bool = False, offset: Offset = 0, limit: Limit = 50
) -> dict[str, Any]:
    """Images whose labels name different classes, the least certain first; without those that a lead has decided."""
    ranking = rankings.of(product)
    with stores.database.read() as connection:
        by_image: dict[str, list[Label]] = defaultdict(list)
        for label in labels.of_product(connection, product):
            by_image[label.image_sha256].append(label)
        decided = adjudications.holding(connection, product)
        uncertainty = {
            image: float(1 - row.max())
            for image, row in zip(ranking.images, ranking.consensus.probability, strict=True)
        }
        found = [
            image
            for image, given in by_image.items()
            if len({label.class_name for label in given}) > 1 and (adjudicated or image not in decided)
        ]
        found.sort(key=lambda image: (-uncertainty.get(image, 0.0), image))
        shown = found[offset : offset + limit]
        types = pictures.media_types(connection, product, shown)
    row_of = {image: n for n, image in enumerate(ranking.images)}
    return {
        "total": len(found),
        "images": [
            {
                "image_sha256": image,
                "image_url": full_url(image, types[image]) if image in types else None,
                "uncertainty": round(uncertainty[image], 6) if image in uncertainty else None,
                "probability": _probability(ranking.classes, ranking.consensus.probability[row_of[image]].tolist())
                if image in row_of
                else None,
                "labels": [
                    label_json(label)
                    for label in sorted(by_image[image], key=lambda label: (label.inspector, label.occasion))
                ],
                "adjudication": adjudication_json(decided[image]) if image in decided else None,
            }
            for image in shown
        ],
    }


@router.get("/consensus")
def get_consensus(stores: Open, product: Sought, offset: Offset = 0, limit: Limit = 100) -> dict[str, Any]:
    """The newest settling of a product, a page at a time, in the order of the images' hashes."""
    with stores.database.read() as connection:
        book_of(connection, product)
        run = datasets.newest_run(connection, product)
        if run is None:
            raise NotSettled(product)
        rows = consensus.page(connection, run.id, offset, limit)
    return {
        "run": run.id,
        "method": run.method,
        "reason": run.reason,
        "book_version": run.book_version,
        "labels": run.label_count,
        "settled_at": run.settled_at.isoformat(),
        "total": run.image_count,
        "images": [
            {
                "image_sha256": row.image_sha256,
                "class_name": max(row.probability, key=row.probability.__getitem__),
                "probability": row.probability,
                "effective_votes": row.effective_votes,
            }
            for row in rows
        ],
    }


def _probability(classes: tuple[str, ...], row: list[float]) -> dict[str, float]:
    return {name: round(share, 6) for name, share in zip(classes, row, strict=True)}
