"""The pictures of an alarm, before and after."""

from typing import Annotated, Literal
from urllib.parse import quote

from fastapi import APIRouter, Path, Response

from service.console.fields import Open, Sought
from service.console.preview import FOR_EVER
from storage import alarms
from storage.records import Alarm

WHICH = ("before", "after")

router = APIRouter()


class PictureUnknown(LookupError):
    """There is no such alarm, or its picture was not kept."""

    def __init__(self, alarm_id: str, which: str) -> None:
        super().__init__(f"there is no picture {which} of alarm {alarm_id}")
        self.remedy = "pictures are kept unless the line's disk was nearly full; products have none"


@router.get("/alarms/{alarm_id}/{which}")
def get_picture(stores: Open, alarm_id: Annotated[Sought, Path()], which: Literal["before", "after"]) -> Response:
    """PNG of what the camera saw: the last quiet picture before the alarm, or the one that raised it."""
    with stores.database.read() as connection:
        episode = alarms.find(connection, alarm_id)
    sha256 = picture_of(episode.alarm, which) if episode is not None else None
    if sha256 is None:
        raise PictureUnknown(alarm_id, which)
    return Response(stores.images.get(sha256), media_type="image/png", headers=FOR_EVER)


def picture_of(alarm: Alarm, which: str) -> str | None:
    """SHA-256 of the picture before or after; None where it was not kept."""
    return alarm.before_sha256 if which == "before" else alarm.after_sha256


def picture_url(alarm: Alarm, which: str) -> str | None:
    """Address of the picture before or after; None where it was not kept."""
    return f"/api/alarms/{quote(alarm.id, safe='')}/{which}" if picture_of(alarm, which) else None
