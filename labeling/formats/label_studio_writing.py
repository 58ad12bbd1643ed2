"""Tasks and annotations in the shape of Label Studio's JSON export, and the labelling interface that they belong to.

Format: https://labelstud.io/guide/export and https://labelstud.io/guide/task_format
"""

import hashlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote
from xml.sax.saxutils import quoteattr

from storage.records import Image, ImageClass, Label

CLASS, BOX, UNSURE, COMMENT, SHIFT, SEVERITY, OCCASION = (
    "class",
    "region",
    "unsure",
    "comment",
    "shift",
    "severity",
    "occasion",
)
"""Names of the controls."""


def tasks(images: Sequence[Image], labels: Mapping[str, Sequence[Label]], names: Mapping[str, str]) -> list[Any]:
    """One task an image, one annotation a label; `labels` and `names` (of the image files) by SHA-256."""
    people = {label.inspector for given in labels.values() for label in given}
    number = {inspector: n for n, inspector in enumerate(sorted(people), start=1)}
    found: list[Any] = []
    annotations = 0
    for task, image in enumerate(images, start=1):
        data = {"image": f"/data/local-files/?d={quote(names[image.sha256])}", "group": image.part_group}
        if image.lot is not None:
            data["lot"] = image.lot
        done = []
        for label in labels.get(image.sha256, ()):
            annotations += 1
            done.append(_annotation(annotations, task, image, label, number[label.inspector]))
        found.append({"id": task, "data": data, "annotations": done, "predictions": [], "meta": {}})
    return found


def interface(classes: Sequence[ImageClass]) -> str:
    """The labelling interface (XML) with the controls that `tasks` uses."""
    words = [quoteattr(entry.name) for entry in classes]
    choices = "\n".join(f"    <Choice value={word}/>" for word in words)
    labels = "\n".join(f"    <Label value={word}/>" for word in words)
    return f"""<View>
  <Image name="image" value="$image" zoom="true"/>
  <Choices name="{CLASS}" toName="image" choice="multiple" required="true">
{choices}
  </Choices>
  <RectangleLabels name="{BOX}" toName="image">
{labels}
  </RectangleLabels>
  <Choices name="{UNSURE}" toName="image"><Choice value="{UNSURE}"/></Choices>
  <Number name="{SEVERITY}" toName="image" min="0"/>
  <TextArea name="{COMMENT}" toName="image"/>
  <TextArea name="{SHIFT}" toName="image"/>
  <Number name="{OCCASION}" toName="image" min="0"/>
</View>
"""


def _annotation(number: int, task: int, image: Image, label: Label, person: int) -> dict[str, Any]:
    results = _results(image, label)
    found: dict[str, Any] = {
        "id": number,
        # Inspectors have no address here; by this field an import finds them again.
        "completed_by": {"id": person, "email": label.inspector, "first_name": "", "last_name": ""},
        "result": results,
        "was_cancelled": False,
        "ground_truth": False,
        "lead_time": label.seconds,
        "prediction": {},
        "result_count": len(results),
        "task": task,
    }
    if label.judged_at is not None:
        found["created_at"] = found["updated_at"] = _time(label.judged_at)
    return found


def _results(image: Image, label: Label) -> list[dict[str, Any]]:
    results = [_result(label, CLASS, "choices", {"choices": [label.class_name, *label.also]})]
    if label.region is not None and image.width and image.height:
        x, y, width, height = label.region
        box = {
            "x": 100 * x / image.width,
            "y": 100 * y / image.height,
            "width": 100 * width / image.width,
            "height": 100 * height / image.height,
            "rotation": 0,
            "rectanglelabels": [label.class_name],
        }
        size = {"original_width": image.width, "original_height": image.height, "image_rotation": 0}
        results.append({**_result(label, BOX, "rectanglelabels", box), **size})
    if label.unsure:
        results.append(_result(label, UNSURE, "choices", {"choices": [UNSURE]}))
    if label.severity is not None:
        results.append(_result(label, SEVERITY, "number", {"number": label.severity}))
    for control, written in ((COMMENT, label.comment), (SHIFT, label.shift)):
        if written:
            results.append(_result(label, control, "textarea", {"text": [written]}))
    results.append(_result(label, OCCASION, "number", {"number": label.occasion}))
    return results


def _result(label: Label, control: str, kind: str, value: dict[str, Any]) -> dict[str, Any]:
    digest = hashlib.sha256(f"{label.id}/{control}".encode()).hexdigest()[:10]
    return {"id": digest, "from_name": control, "to_name": "image", "type": kind, "origin": "manual", "value": value}


def _time(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
