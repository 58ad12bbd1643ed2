"""Shifts, withdrawals, adjudications, tasks, models' opinions, and who changed a label book and why."""

import sqlalchemy as sa
from alembic import op

from storage import tables

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    # With a constant default neither database rewrites the rows.
    op.add_column("labels", sa.Column("shift", sa.String(), server_default=sa.text("''"), nullable=False))
    op.create_index(
        op.f("ix_labels_product_inspector_image_sha256_judged_at_stored_at"),
        "labels",
        ["product", "inspector", "image_sha256", "judged_at", "stored_at"],
        unique=False,
    )
    op.add_column("label_books", sa.Column("author", sa.String(), server_default=sa.text("''"), nullable=False))
    op.add_column("label_books", sa.Column("note", sa.Text(), server_default=sa.text("''"), nullable=False))
    op.create_table(
        "withdrawals",
        sa.Column("label_id", sa.String(), nullable=False),
        sa.Column("product", sa.String(), nullable=False),
        sa.Column("image_sha256", sa.String(length=64), nullable=False),
        sa.Column("withdrawn_by", sa.String(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("withdrawn_at", tables.UtcDateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["label_id"], ["labels.id"], name=op.f("fk_withdrawals_label_id")),
        sa.PrimaryKeyConstraint("label_id", name=op.f("pk_withdrawals")),
    )
    op.create_index(
        op.f("ix_withdrawals_product_image_sha256"), "withdrawals", ["product", "image_sha256"], unique=False
    )
    op.create_table(
        "adjudications",
        sa.Column("seq", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("product", sa.String(), nullable=False),
        sa.Column("image_sha256", sa.String(length=64), nullable=False),
        sa.Column("class_name", sa.String(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("adjudicator", sa.String(), nullable=False),
        sa.Column("book_version", sa.Integer(), nullable=False),
        sa.Column("decided_at", tables.UtcDateTime(timezone=True), nullable=False),
        sa.Column("stored_at", tables.UtcDateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_adjudications")),
        sa.UniqueConstraint("id", name=op.f("uq_adjudications_id")),
    )
    op.create_index(
        op.f("ix_adjudications_product_image_sha256"), "adjudications", ["product", "image_sha256"], unique=False
    )
    op.create_table(
        "tasks",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("product", sa.String(), nullable=False),
        sa.Column("image_sha256", sa.String(length=64), nullable=False),
        sa.Column("inspector", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("book_version", sa.Integer(), nullable=False),
        sa.Column("created_at", tables.UtcDateTime(timezone=True), nullable=False),
        sa.Column("expires_at", tables.UtcDateTime(timezone=True), nullable=True),
        sa.Column("label_id", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tasks")),
    )
    op.create_index(op.f("ix_tasks_label_id"), "tasks", ["label_id"], unique=False)
    op.create_index(op.f("ix_tasks_product_image_sha256"), "tasks", ["product", "image_sha256"], unique=False)
    op.create_index(op.f("ix_tasks_product_inspector"), "tasks", ["product", "inspector"], unique=False)
    op.create_index(op.f("ix_tasks_product_expires_at"), "tasks", ["product", "expires_at"], unique=False)
    op.create_table(
        "opinions",
        sa.Column("model_id", sa.String(), nullable=False),
        sa.Column("image_sha256", sa.String(length=64), nullable=False),
        sa.Column("probability", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["model_id"], ["models.id"], name=op.f("fk_opinions_model_id")),
        sa.PrimaryKeyConstraint("model_id", "image_sha256", name=op.f("pk_opinions")),
    )
