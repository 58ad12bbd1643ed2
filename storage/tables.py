"""The tables, for SQLite and PostgreSQL alike."""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    DateTime,
    Dialect,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    false,
    text,
)

from storage.records import ImageClass, LimitSample

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


class NaiveDateTime(ValueError):
    """A time without a zone was about to be stored."""


class UtcDateTime(TypeDecorator[datetime]):
    """Aware times in, aware UTC out; SQLite drops the zone, so it is put back here."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Refuse naive times; everything else is stored in UTC."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise NaiveDateTime(f"{value.isoformat()} has no time zone: pass an aware time")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Give the zone back."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class JsonTuple(TypeDecorator[tuple[Any, ...]]):
    """A JSON array that reads back as a tuple, so that records stay hashable and equal."""

    impl = JSON(none_as_null=True)
    cache_ok = True

    def process_bind_param(self, value: tuple[Any, ...] | None, dialect: Dialect) -> list[Any] | None:
        """JSON knows lists only."""
        return None if value is None else list(value)

    def process_result_value(self, value: list[Any] | None, dialect: Dialect) -> tuple[Any, ...] | None:
        """A tuple again."""
        return None if value is None else tuple(value)


class JsonClasses(TypeDecorator[tuple[ImageClass, ...]]):
    """The classes of a label book."""

    impl = JSON
    cache_ok = True

    def process_bind_param(self, value: tuple[ImageClass, ...] | None, dialect: Dialect) -> list[dict[str, Any]]:
        """One object a class."""
        return [asdict(c) for c in value or ()]

    def process_result_value(self, value: list[dict[str, Any]] | None, dialect: Dialect) -> tuple[ImageClass, ...]:
        """Records again; a row that was written before a field existed has the field's default."""
        return tuple(_image_class(c) for c in value or ())


def _image_class(entry: dict[str, Any]) -> ImageClass:
    samples = {side: tuple(LimitSample(**s) for s in entry.get(side, ())) for side in ("accept", "reject")}
    return ImageClass(**{**entry, **samples})


images = Table(
    "images",
    metadata,
    Column("product", String, primary_key=True),
    Column("sha256", String(64), primary_key=True),
    Column("name", String, nullable=False),
    Column("media_type", String, nullable=False),
    Column("byte_size", Integer, nullable=False),
    Column("width", Integer, nullable=False),
    Column("height", Integer, nullable=False),
    Column("part_group", String, nullable=False),
    Column("lot", String),
    Column("source", String, nullable=False),
    Column("captured_at", UtcDateTime),
    Column("added_at", UtcDateTime, nullable=False),
)

label_books = Table(
    "label_books",
    metadata,
    Column("product", String, primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("classes", JsonClasses, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    # These defaults, and those of labels.shift, tasks.reason, recipes.lamps, views.lamp and alarms, are for rows of
    # before the columns.
    Column("author", String, nullable=False, server_default=text("''")),
    Column("note", Text, nullable=False, server_default=text("''")),
)

labels = Table(
    "labels",
    metadata,
    Column("id", String, primary_key=True),
    Column("product", String, nullable=False),
    Column("image_sha256", String(64), nullable=False),
    Column("inspector", String, nullable=False),
    Column("class_name", String, nullable=False),
    Column("also", JsonTuple, nullable=False),
    Column("severity", Integer),
    Column("unsure", Boolean, nullable=False),
    Column("region", JsonTuple),
    Column("comment", Text, nullable=False),
    Column("seconds", Float),
    Column("occasion", Integer, nullable=False),
    Column("book_version", Integer, nullable=False),
    Column("source", String, nullable=False),
    Column("judged_at", UtcDateTime),
    Column("stored_at", UtcDateTime, nullable=False),
    Column("shift", String, nullable=False, server_default=text("''")),
    Index(None, "product", "image_sha256"),
    # All that a worklist asks of an inspector's labels: read from the index alone, ten times as fast.
    Index(None, "product", "inspector", "image_sha256", "judged_at", "stored_at"),
)

withdrawals = Table(
    "withdrawals",
    metadata,
    Column("label_id", ForeignKey("labels.id"), primary_key=True),
    # The label's: what is withdrawn is little, and is found without going through all labels.
    Column("product", String, nullable=False),
    Column("image_sha256", String(64), nullable=False),
    Column("withdrawn_by", String, nullable=False),
    Column("reason", Text, nullable=False),
    Column("withdrawn_at", UtcDateTime, nullable=False),
    Index(None, "product", "image_sha256"),
)

adjudications = Table(
    "adjudications",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=True),
    Column("id", String, nullable=False, unique=True),
    Column("product", String, nullable=False),
    Column("image_sha256", String(64), nullable=False),
    Column("class_name", String),
    Column("reason", Text, nullable=False),
    Column("adjudicator", String, nullable=False),
    Column("book_version", Integer, nullable=False),
    Column("decided_at", UtcDateTime, nullable=False),
    Column("stored_at", UtcDateTime, nullable=False),
    Index(None, "product", "image_sha256"),
)

tasks = Table(
    "tasks",
    metadata,
    Column("id", String, primary_key=True),
    Column("product", String, nullable=False),
    Column("image_sha256", String(64), nullable=False),
    Column("inspector", String, nullable=False),
    Column("kind", String, nullable=False),
    Column("book_version", Integer, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime),
    Column("label_id", String, index=True),
    Column("reason", String, nullable=False, server_default=text("''")),
    Index(None, "product", "image_sha256"),
    Index(None, "product", "inspector"),
    Index(None, "product", "expires_at"),
)

consensus_runs = Table(
    "consensus_runs",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("product", String, nullable=False, index=True),
    Column("method", String, nullable=False),
    Column("reason", Text, nullable=False),
    Column("book_version", Integer, nullable=False),
    Column("image_count", Integer, nullable=False),
    Column("label_count", Integer, nullable=False),
    Column("settled_at", UtcDateTime, nullable=False),
)

consensus = Table(
    "consensus",
    metadata,
    Column("run_id", ForeignKey("consensus_runs.id"), primary_key=True),
    Column("image_sha256", String(64), primary_key=True),
    Column("probability", JSON, nullable=False),
    Column("effective_votes", Float, nullable=False),
)

datasets = Table(
    "datasets",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("product", String, nullable=False, index=True),
    Column("consensus_run", ForeignKey("consensus_runs.id"), nullable=False),
    Column("book_version", Integer, nullable=False),
    Column("image_count", Integer, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
)

dataset_items = Table(
    "dataset_items",
    metadata,
    Column("dataset_id", ForeignKey("datasets.id"), primary_key=True),
    Column("image_sha256", String(64), primary_key=True),
    Column("name", String, nullable=False),
    Column("part_group", String, nullable=False),
    Column("split", String, nullable=False),
    Column("probability", JSON, nullable=False),
)

models = Table(
    "models",
    metadata,
    Column("id", String, primary_key=True),
    Column("product", String, nullable=False, index=True),
    Column("sha256", String(64), nullable=False),
    Column("dataset_id", ForeignKey("datasets.id"), nullable=False),
    Column("card", JSON, nullable=False),
    Column("gates", JsonTuple, nullable=False),
    Column("challenge", JsonTuple, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
)

opinions = Table(
    "opinions",
    metadata,
    Column("model_id", ForeignKey("models.id"), primary_key=True),
    Column("image_sha256", String(64), primary_key=True),
    Column("probability", JSON, nullable=False),
)

promotions = Table(
    "promotions",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=True),
    Column("product", String, nullable=False, index=True),
    Column("model_id", ForeignKey("models.id"), nullable=False),
    Column("kind", String, nullable=False),
    Column("reason", Text, nullable=False),
    Column("promoted_by", String, nullable=False),
    Column("promoted_at", UtcDateTime, nullable=False),
)

recipes = Table(
    "recipes",
    metadata,
    Column("product", String, primary_key=True),
    Column("station", String, primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("operating_point", String, nullable=False),
    Column("fail_safe", String, nullable=False),
    Column("class_disposition", JSON, nullable=False),
    Column("deadline_ms", Float),
    Column("on_optics_alarm", String, nullable=False),
    Column("keep_ok_share", Float, nullable=False),
    Column("created_by", String, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("expected_views", JsonTuple, nullable=False),
    Column("challenge_every_h", Float),
    Column("lamps", JSON, nullable=False, server_default=text("'{}'")),
)

inspections = Table(
    "inspections",
    metadata,
    Column("result_id", String, primary_key=True),
    Column("station", String, nullable=False),
    Column("trigger_epoch", String, nullable=False),
    Column("trigger_id", String, nullable=False),
    Column("product", String, nullable=False),
    Column("part_id", String, index=True),
    Column("lot", String),
    Column("mode", String, nullable=False),
    Column("evaluation", String, nullable=False),
    Column("disposition", String, nullable=False),
    Column("result_code", Integer, nullable=False),
    Column("reasons", JsonTuple, nullable=False),
    Column("deadline_met", Boolean, nullable=False),
    Column("recipe_version", Integer, nullable=False),
    Column("model_id", String),
    Column("model_sha256", String(64)),
    Column("drift_state", String, nullable=False),
    Column("keep_probability", Float, nullable=False),
    Column("supersedes", String, index=True),
    Column("answer", Text, nullable=False),
    Column("captured_at", UtcDateTime),
    Column("received_at", UtcDateTime, nullable=False, index=True),
    # The default is for rows of before the column: SQLite could only drop it by copying the whole table.
    Column("is_partial", Boolean, nullable=False, server_default=false()),
    Index(None, "station", "received_at"),
    Index(None, "station", "trigger_id"),
)

views = Table(
    "views",
    metadata,
    Column("result_id", ForeignKey("inspections.result_id"), primary_key=True),
    Column("view_id", String, primary_key=True),
    Column("camera", String, nullable=False),
    Column("image_sha256", String(64), nullable=False, index=True),
    Column("media_type", String, nullable=False),
    Column("image_kept", Boolean, nullable=False),
    Column("width", Integer),
    Column("height", Integer),
    Column("class_name", String),
    Column("p_defect", Float),
    Column("novelty", Float),
    Column("signals", JSON, nullable=False),
    Column("lamp", String, nullable=False, server_default=text("''")),
)

# No foreign key: the records of several machines arrive in any order.
outcomes = Table(
    "outcomes",
    metadata,
    Column("id", String, primary_key=True),
    Column("result_id", String, nullable=False, index=True),
    Column("disposition", String, nullable=False),
    Column("class_name", String),
    Column("comment", Text, nullable=False),
    Column("decided_by", String, nullable=False),
    Column("decided_at", UtcDateTime, nullable=False),
)

challenges = Table(
    "challenges",
    metadata,
    Column("id", String, primary_key=True),
    Column("station", String, nullable=False),
    Column("product", String, nullable=False),
    Column("result_id", String, nullable=False),
    Column("expected", String, nullable=False),
    Column("expected_class", String),
    Column("evaluation", String, nullable=False),
    Column("class_name", String),
    Column("passed", Boolean, nullable=False),
    Column("reason", Text, nullable=False),
    Column("challenged_at", UtcDateTime, nullable=False),
    Index(None, "station", "challenged_at"),
)

leases = Table(
    "leases",
    metadata,
    Column("station", String, primary_key=True),
    Column("owner", String, nullable=False),
    Column("address", String, nullable=False),
    Column("token", Integer, nullable=False),
    Column("beat", Integer, nullable=False),
)

alarms = Table(
    "alarms",
    metadata,
    Column("id", String, primary_key=True),
    Column("station", String, nullable=False),
    Column("camera", String, nullable=False),
    Column("product", String, nullable=False),
    Column("cause", String, nullable=False),
    Column("chart", String, nullable=False),
    Column("ratio", Float, nullable=False),
    Column("images_since_onset", Integer, nullable=False),
    Column("result_id", String, nullable=False),
    Column("raised_at", UtcDateTime, nullable=False, index=True),
    Column("side", String),
    Column("x", Float),
    Column("y", Float),
    Column("motion", JSON(none_as_null=True)),
    Column("size", Float),
    Column("heat_map", Text, nullable=False, server_default=text("''")),
    Column("before_sha256", String(64)),
    Column("after_sha256", String(64)),
    Column("baseline_version", Integer, nullable=False, server_default=text("0")),
    Column("lamp", String, nullable=False, server_default=text("''")),
    Index(None, "station", "camera", "raised_at"),
)

# No foreign key: the records of several machines arrive in any order.
alarm_changes = Table(
    "alarm_changes",
    metadata,
    Column("alarm_id", String, primary_key=True),
    Column("kind", String, primary_key=True),
    Column("changed_at", UtcDateTime, nullable=False),
    Column("cause", String, nullable=False),
    Column("side", String),
    Column("x", Float),
    Column("y", Float),
    Column("motion", JSON(none_as_null=True)),
    Column("size", Float),
    Column("heat_map", Text, nullable=False),
    Column("reason", String, nullable=False),
    Column("is_glitch", Boolean, nullable=False),
    Column("result_id", String),
    Index(None, "kind", "changed_at"),
)

events = Table(
    "events",
    metadata,
    Column("id", String, primary_key=True),
    Column("kind", String, nullable=False),
    Column("subject", String, nullable=False),
    Column("detail", JSON, nullable=False),
    Column("happened_at", UtcDateTime, nullable=False, index=True),
)

keys = Table(
    "keys",
    metadata,
    Column("id", String, primary_key=True),
    Column("station", String, nullable=False),
    Column("secret_sha256", String(64), nullable=False, unique=True),
    Column("created_at", UtcDateTime, nullable=False),
    Column("revoked_at", UtcDateTime),
)

jobs = Table(
    "jobs",
    metadata,
    Column("id", String, primary_key=True),
    Column("kind", String, nullable=False),
    Column("arguments", JSON, nullable=False),
    Column("state", String, nullable=False, index=True),
    Column("result", JSON, nullable=False),
    Column("queued_at", UtcDateTime, nullable=False),
    Column("started_at", UtcDateTime),
    Column("finished_at", UtcDateTime),
)
