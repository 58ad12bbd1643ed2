"""The model card: the `loupe` metadata of a model file, which is everything a server must know beside the graph."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from models.preprocess import Geometry

METADATA_KEY = "loupe"
CAPABILITIES = ("defect_map", "novelty", "embedding")

T = TypeVar("T")


class ModelFileError(ValueError):
    """A model file, or the card inside it, does not keep the contract."""

    def __init__(self, what: str, remedy: str) -> None:
        self.what = what
        self.remedy = remedy
        super().__init__(f"{what}; {remedy}")


@dataclass(frozen=True, slots=True)
class ClassInfo:
    """One class of the model: its name, its number in the label book, and whether a part of this class is good."""

    name: str
    number: int
    ok: bool


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """Two thresholds on a part's p_defect and what they promise.

    A part passes below pass_below and is rejected from reject_from on; between them it is rechecked. wanted_escape:
    the fraction of defective parts that may pass. escape_bound: the one-sided 95 % upper bound on that fraction, from
    defect_parts parts that were not trained on. overkill_expected: the fraction of the ok_parts good parts that do
    not pass.
    """

    pass_below: float
    reject_from: float
    wanted_escape: float
    escape_bound: float
    overkill_expected: float
    defect_parts: int
    ok_parts: int

    def __post_init__(self) -> None:
        """Refuse thresholds that contradict each other."""
        if not 0.0 <= self.pass_below <= self.reject_from:
            raise ValueError(
                f"thresholds pass {self.pass_below} and reject {self.reject_from}: 0 <= pass <= reject is needed"
            )

    @property
    def keeps_promise(self) -> bool:
        """Whether the data support the wanted escape rate."""
        return self.escape_bound <= self.wanted_escape

    def to_json(self) -> dict[str, Any]:
        """The fields; the thresholds are called `pass` and `reject`."""
        fields = asdict(self)
        return {"pass": fields.pop("pass_below"), "reject": fields.pop("reject_from"), **fields}

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> "OperatingPoint":
        """The reverse of to_json; KeyError, TypeError or ValueError where the fields do not fit."""
        return cls(
            pass_below=float(fields["pass"]),
            reject_from=float(fields["reject"]),
            wanted_escape=float(fields["wanted_escape"]),
            escape_bound=float(fields["escape_bound"]),
            overkill_expected=float(fields["overkill_expected"]),
            defect_parts=int(fields["defect_parts"]),
            ok_parts=int(fields["ok_parts"]),
        )


@dataclass(frozen=True, slots=True)
class ModelCard:
    """What a model file says about itself; the order of classes is that of the columns of class_probability."""

    classes: tuple[ClassInfo, ...]
    geometry: Geometry
    operating_points: Mapping[str, OperatingPoint] = field(default_factory=dict)
    capabilities: tuple[str, ...] = ()
    dataset: str = ""
    label_book_version: int = 0
    training: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)
    robustness: Mapping[str, Any] = field(default_factory=dict)
    software: Mapping[str, str] = field(default_factory=dict)
    ok_columns: tuple[int, ...] = field(init=False, repr=False, compare=False)
    """Which columns of class_probability belong to good classes; kept, as every part asks for them."""

    def __post_init__(self) -> None:
        """Refuse a card that cannot decide anything."""
        object.__setattr__(self, "ok_columns", tuple(n for n, info in enumerate(self.classes) if info.ok))
        names = [info.name for info in self.classes]
        if len(names) < 2 or len(set(names)) != len(names):
            raise ModelFileError(
                f"the model card's classes are {names}", "at least two classes with different names are needed"
            )
        if not any(info.ok for info in self.classes):
            raise ModelFileError(
                "the model card has no ok class", "mark the classes of good parts as ok and train again"
            )
        unknown = sorted(set(self.capabilities) - set(CAPABILITIES))
        if unknown:
            raise ModelFileError(
                f"the model card lists unknown capabilities {unknown}", f"known are {', '.join(CAPABILITIES)}"
            )

    def p_defect(self, class_probability: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
        """(…, K) probabilities -> (…,) probability that the part is not good: 1 - the sum over the ok classes."""
        p_ok = np.asarray(class_probability, np.float64)[..., self.ok_columns].sum(axis=-1)
        return np.asarray(np.clip(1.0 - p_ok, 0.0, 1.0), np.float64)

    def to_json(self) -> dict[str, Any]:
        """Every field, ready for json.dumps."""
        return {
            "classes": [asdict(info) for info in self.classes],
            "geometry": self.geometry.to_json(),
            "operating_points": {name: point.to_json() for name, point in self.operating_points.items()},
            "capabilities": list(self.capabilities),
            "dataset": self.dataset,
            "label_book_version": self.label_book_version,
            "training": dict(self.training),
            "metrics": dict(self.metrics),
            "robustness": dict(self.robustness),
            "software": dict(self.software),
        }

    @classmethod
    def from_json(cls, text: str | Mapping[str, Any]) -> "ModelCard":
        """The card in a JSON text, or in what such a text decodes to.

        Raises:
            ModelFileError: the text is no JSON object, or a key is missing or has a wrong value; the message names it.
        """
        fields = _parse(text) if isinstance(text, str) else text
        return cls(
            classes=_read(fields, "classes", _classes),
            geometry=_read(fields, "geometry", Geometry.from_json),
            operating_points=_read(fields, "operating_points", _operating_points),
            capabilities=_read(fields, "capabilities", lambda names: tuple(str(name) for name in names)),
            dataset=_read(fields, "dataset", str),
            label_book_version=_read(fields, "label_book_version", int),
            training=_read(fields, "training", _mapping),
            metrics=_read(fields, "metrics", _mapping),
            robustness=_read(fields, "robustness", _mapping),
            software=_read(fields, "software", _mapping),
        )


def _parse(text: str) -> Mapping[str, Any]:
    try:
        fields = json.loads(text)
    except json.JSONDecodeError as error:
        raise ModelFileError(f"the model card is no JSON: {error}", "export the model again") from error
    if not isinstance(fields, dict):
        raise ModelFileError("the model card is no JSON object", "export the model again")
    return fields


def _read(fields: Mapping[str, Any], key: str, convert: Callable[[Any], T]) -> T:
    if key not in fields:
        raise ModelFileError(f"the model card has no {key!r}", "export the model again, or add the key")
    try:
        return convert(fields[key])
    except KeyError as error:
        raise ModelFileError(
            f"the model card's {key!r} has no {error}", "export the model again, or add the key"
        ) from error
    except (TypeError, ValueError, AttributeError, IndexError) as error:
        raise ModelFileError(f"the model card's {key!r} is wrong: {error}", "export the model again") from error


def _classes(items: Any) -> tuple[ClassInfo, ...]:
    return tuple(ClassInfo(str(item["name"]), int(item["number"]), bool(item["ok"])) for item in items)


def _operating_points(items: Any) -> dict[str, OperatingPoint]:
    return {str(name): OperatingPoint.from_json(point) for name, point in items.items()}


def _mapping(items: Any) -> dict[str, Any]:
    return dict(items)
