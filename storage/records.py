"""The stored records: one frozen dataclass a table, with the table's field names."""

from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Image:
    """One picture known to a product; the bytes lie in the content store under `sha256`."""

    product: str
    sha256: str
    name: str
    media_type: str
    byte_size: int
    width: int
    height: int
    part_group: str
    """Pictures of one part (or one look-alike family) share it; it never crosses a split."""
    lot: str | None
    source: str
    """`import` or `line`."""
    captured_at: datetime | None
    added_at: datetime


@dataclass(frozen=True, slots=True)
class LimitSample:
    """An image that shows where a class begins or ends."""

    image_sha256: str
    caption: str = ""


@dataclass(frozen=True, slots=True)
class ImageClass:
    """One entry of a label book: a number that is never reused, and whether a part of this class is good."""

    name: str
    number: int
    ok: bool
    description: str = ""
    """The definition, in words."""
    severity_rank: int | None = None
    """Of the classes that an image shows, the one with the highest rank is its label; None: not ranked."""
    expected_share: float | None = None
    """Share of this class among the parts, where it is known from elsewhere."""
    retired: bool = False
    """No longer given; what was labelled with it stays."""
    accept: tuple[LimitSample, ...] = ()
    """Images that are just not of this class; of a good class: that are just of it."""
    reject: tuple[LimitSample, ...] = ()
    """Images that are just of this class; of a good class: that are just not of it."""


@dataclass(frozen=True, slots=True)
class LabelBook:
    """Versioned definitions of a product's classes."""

    product: str
    version: int
    classes: tuple[ImageClass, ...]
    created_at: datetime
    author: str = ""
    note: str = ""
    """Why there is this version."""


@dataclass(frozen=True, slots=True)
class Label:
    """One inspector's judgement of one image at one time; append-only."""

    id: str
    """Made by whoever submits (a page's UUID, an import's content hash), so that sending twice stores once."""
    product: str
    image_sha256: str
    inspector: str
    class_name: str
    also: tuple[str, ...]
    severity: int | None
    """How bad, from 0; more is worse."""
    unsure: bool
    region: tuple[float, ...] | None
    """x, y, width, height in pixels of the full image."""
    comment: str
    seconds: float | None
    occasion: int
    book_version: int
    source: str
    judged_at: datetime | None
    stored_at: datetime
    shift: str = ""
    """Empty: unknown."""


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """A label that no longer counts, as it was a mistake or is outdated; the label itself stays. Append-only."""

    label_id: str
    product: str
    image_sha256: str
    withdrawn_by: str
    reason: str
    withdrawn_at: datetime


@dataclass(frozen=True, slots=True)
class Adjudication:
    """A lead's decision about one image; append-only, the highest `seq` of an image holds."""

    id: str
    """Made by whoever submits, so that sending twice stores once."""
    product: str
    image_sha256: str
    class_name: str | None
    """None: the decision before it is taken back."""
    reason: str
    adjudicator: str
    book_version: int
    decided_at: datetime
    stored_at: datetime
    seq: int | None = None


@dataclass(frozen=True, slots=True)
class Task:
    """A judgement that was asked for."""

    id: str
    product: str
    image_sha256: str
    inspector: str
    """Empty: anybody may do it."""
    kind: str
    """first | second_opinion | self_repeat | golden | judge_again | optics; inspectors are never told."""
    book_version: int
    """The label book that the judgement was asked under."""
    created_at: datetime
    expires_at: datetime | None
    """Until then others are asked about other images; None: it waits for this inspector for ever."""
    label_id: str | None = None
    """The label that did it."""
    reason: str = ""
    """Why, where something made it urgent, such as an optics alarm: tasks of different reasons take turns."""


@dataclass(frozen=True, slots=True)
class ConsensusRun:
    """One settling of a product's labels; its id is the hash of the votes it read, so settling twice is one run."""

    id: str
    product: str
    method: str
    reason: str
    book_version: int
    image_count: int
    label_count: int
    settled_at: datetime


@dataclass(frozen=True, slots=True)
class ConsensusRow:
    """The posterior over classes of one image in one run."""

    run_id: str
    image_sha256: str
    probability: dict[str, float]
    effective_votes: float


@dataclass(frozen=True, slots=True)
class Dataset:
    """Immutable, content-addressed snapshot of images, consensus, splits and label-book version."""

    id: str
    product: str
    consensus_run: str
    book_version: int
    image_count: int
    created_at: datetime


@dataclass(frozen=True, slots=True)
class DatasetItem:
    """One image in a dataset."""

    dataset_id: str
    image_sha256: str
    name: str
    part_group: str
    split: str
    """`train` or `test`; a group keeps its split in every later dataset of the product."""
    probability: dict[str, float]


@dataclass(frozen=True, slots=True)
class Model:
    """A trained model version; the file lies in the content store under `sha256`."""

    id: str
    product: str
    sha256: str
    dataset_id: str
    card: dict[str, object]
    """The `loupe` metadata of the model file."""
    gates: tuple[dict[str, object], ...]
    challenge: tuple[dict[str, object], ...]
    """Golden parts with the answer expected: image_sha256, media_type, p_defect."""
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Opinion:
    """A model's probabilities of the classes of an image that it was not trained on: out of fold, or a test part."""

    model_id: str
    image_sha256: str
    probability: dict[str, float]


@dataclass(frozen=True, slots=True)
class Promotion:
    """From this row on, `model_id` decides for `product`; append-only, the highest `seq` holds."""

    product: str
    model_id: str
    kind: str
    """`promote` or `rollback`."""
    reason: str
    promoted_by: str
    promoted_at: datetime
    seq: int | None = None


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a product is inspected at a station (`*`: at every station without a recipe of its own); versioned."""

    product: str
    station: str
    version: int
    operating_point: str
    fail_safe: str
    """Disposition where nothing could be decided: `recheck` or `reject`."""
    class_disposition: dict[str, str]
    """Disposition for a class that is not good, where it is not `reject`."""
    deadline_ms: float | None
    on_optics_alarm: str
    """`not_decidable` (nothing passes while an optics alarm stands), `correct` (nothing whose change of light can't be
    taken out of the image) or `continue`."""
    keep_ok_share: float
    """Share of the good parts whose image is kept; everything else is always kept."""
    created_by: str
    created_at: datetime
    expected_views: tuple[str, ...] = ()
    """Names of the views that make a part; empty: every request is a part of its own."""
    challenge_every_h: float | None = None
    """Hours after which a station without a passed challenge is no longer ready; None: never."""
    lamps: dict[str, str] = field(default_factory=dict)
    """Name of the lighting by view, for the views that have one named."""


@dataclass(frozen=True, slots=True)
class View:
    """One image of an inspected part, as it was judged."""

    result_id: str
    view_id: str
    camera: str
    image_sha256: str
    media_type: str
    image_kept: bool
    width: int | None
    height: int | None
    class_name: str | None
    p_defect: float | None
    novelty: float | None
    signals: dict[str, float]
    lamp: str = ""
    """The lighting it was taken under, as the recipe names it."""


@dataclass(frozen=True, slots=True)
class Inspection:
    """One part presented once at one station, and its verdict."""

    result_id: str
    station: str
    trigger_epoch: str
    trigger_id: str
    product: str
    part_id: str | None
    lot: str | None
    mode: str
    evaluation: str
    disposition: str
    result_code: int
    reasons: tuple[str, ...]
    deadline_met: bool
    recipe_version: int
    model_id: str | None
    model_sha256: str | None
    drift_state: str
    keep_probability: float
    supersedes: str | None
    """The record that this one takes the place of: a verdict that was decided too late to be answered."""
    answer: str
    """The body that was sent, byte for byte (UTF-8 JSON)."""
    captured_at: datetime | None
    received_at: datetime
    is_partial: bool = False
    """A view was missing when it was decided."""
    views: tuple[View, ...] = field(default=())


@dataclass(frozen=True, slots=True)
class Outcome:
    """A person's word on an inspection, such as after a recheck; append-only."""

    id: str
    """Made by whoever submits, so that sending twice stores once."""
    result_id: str
    disposition: str
    class_name: str | None
    """What was found on the part; None where nobody said."""
    comment: str
    decided_by: str
    decided_at: datetime


@dataclass(frozen=True, slots=True)
class Challenge:
    """A part with a known answer sent through the whole system, and whether it was told."""

    id: str
    station: str
    product: str
    result_id: str
    expected: str
    """`ok` or `not_ok`."""
    expected_class: str | None
    evaluation: str
    class_name: str | None
    passed: bool
    reason: str
    challenged_at: datetime


@dataclass(frozen=True, slots=True)
class Lease:
    """The process to which a station belongs; without a time: observers note by their own clock when `beat` moved."""

    station: str
    owner: str
    """Empty: given back, anyone may take it at once."""
    address: str
    """Where the owner takes requests for the station."""
    token: int
    """One more with every change of owner: what an older token wrote late can be told from what holds."""
    beat: int
    """One more with every sign of life of the owner."""


@dataclass(frozen=True, slots=True)
class Alarm:
    """A calibrated decision that a camera no longer sees what is normal, as it was when it was raised; append-only."""

    id: str
    station: str
    camera: str
    """Empty: what all cameras of the station say of the product together."""
    product: str
    cause: str
    """What the image that raised it tells; `AlarmChange` has what the images after it told."""
    chart: str
    ratio: float
    """Chart over its limit when raised."""
    images_since_onset: int
    result_id: str
    """The inspection that raised it; empty where that is not known."""
    raised_at: datetime
    side: str | None = None
    x: float | None = None
    y: float | None = None
    motion: dict[str, float] | None = None
    size: float | None = None
    """Side, place, motion and size: as `monitoring.diagnosis.Diagnosis`."""
    heat_map: str = ""
    """Base64 of 28 x 28 float32, change of the log luminance; empty where nothing has a place."""
    before_sha256: str | None = None
    """PNG in the content store: the last picture that was quiet; None where it was not kept."""
    after_sha256: str | None = None
    """PNG in the content store: the picture that raised it."""
    baseline_version: int = 0
    """Which of the camera's baselines it was judged by, from 1; 0: not known."""
    lamp: str = ""
    """The lighting under which it was raised, as the recipe names it; empty where it names none."""


@dataclass(frozen=True, slots=True)
class AlarmChange:
    """What became of an alarm; append-only, one of each kind."""

    alarm_id: str
    kind: str
    """`diagnosed`: the cause is final. `cleared`: it stands no more. `asked`, `asked_again`: inspectors were asked."""
    changed_at: datetime
    cause: str
    side: str | None = None
    x: float | None = None
    y: float | None = None
    motion: dict[str, float] | None = None
    size: float | None = None
    heat_map: str = ""
    reason: str = ""
    """Why it stands no more: `normal_again`, `intended_change`, `new_model`, or `restart` where it was forgotten."""
    is_glitch: bool = False
    """It stands no more, and did so before its cause was final: a few images."""
    result_id: str | None = None
    """The inspection that brought the change."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to the system: a model loaded or refused, an alarm cleared, a baseline reset."""

    id: str
    kind: str
    subject: str
    detail: dict[str, object]
    happened_at: datetime


@dataclass(frozen=True, slots=True)
class Key:
    """Permission to post for one station; only the SHA-256 of the secret is stored."""

    id: str
    station: str
    secret_sha256: str
    created_at: datetime
    revoked_at: datetime | None


@dataclass(frozen=True, slots=True)
class Job:
    """Work for the worker."""

    id: str
    kind: str
    arguments: dict[str, object]
    state: str
    """queued | running | done | failed"""
    result: dict[str, object]
    queued_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
