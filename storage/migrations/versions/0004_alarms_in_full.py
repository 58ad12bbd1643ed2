"""What an alarm showed, by which lamp, and what became of it; lamps of recipes and images; why a judgement was asked
for."""

from typing import Any

import sqlalchemy as sa
from alembic import op

from storage import tables

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    # With a constant default, or none, neither database rewrites the rows.
    for column in _diagnosis():
        op.add_column("alarms", column)
    op.add_column("alarms", sa.Column("heat_map", sa.Text(), server_default=sa.text("''"), nullable=False))
    op.add_column("alarms", sa.Column("before_sha256", sa.String(length=64), nullable=True))
    op.add_column("alarms", sa.Column("after_sha256", sa.String(length=64), nullable=True))
    op.add_column("alarms", sa.Column("baseline_version", sa.Integer(), server_default=sa.text("0"), nullable=False))
    op.add_column("alarms", sa.Column("lamp", sa.String(), server_default=sa.text("''"), nullable=False))
    op.create_index(
        op.f("ix_alarms_station_camera_raised_at"), "alarms", ["station", "camera", "raised_at"], unique=False
    )
    op.create_table(
        "alarm_changes",
        sa.Column("alarm_id", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("changed_at", tables.UtcDateTime(timezone=True), nullable=False),
        sa.Column("cause", sa.String(), nullable=False),
        *_diagnosis(),
        sa.Column("heat_map", sa.Text(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("is_glitch", sa.Boolean(), nullable=False),
        sa.Column("result_id", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("alarm_id", "kind", name=op.f("pk_alarm_changes")),
    )
    op.create_index(op.f("ix_alarm_changes_kind_changed_at"), "alarm_changes", ["kind", "changed_at"], unique=False)
    op.add_column("views", sa.Column("lamp", sa.String(), server_default=sa.text("''"), nullable=False))
    op.add_column("recipes", sa.Column("lamps", sa.JSON(), server_default=sa.text("'{}'"), nullable=False))
    op.add_column("tasks", sa.Column("reason", sa.String(), server_default=sa.text("''"), nullable=False))


def _diagnosis() -> list[sa.Column[Any]]:
    """A column belongs to one table: each table gets new ones."""
    return [
        sa.Column("side", sa.String(), nullable=True),
        sa.Column("x", sa.Float(), nullable=True),
        sa.Column("y", sa.Float(), nullable=True),
        sa.Column("motion", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("size", sa.Float(), nullable=True),
    ]
