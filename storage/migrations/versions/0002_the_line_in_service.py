"""Several views a part, outcomes, challenges and leases."""

import sqlalchemy as sa
from alembic import op

from storage import tables

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.create_table(
        "outcomes",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("result_id", sa.String(), nullable=False),
        sa.Column("disposition", sa.String(), nullable=False),
        sa.Column("class_name", sa.String(), nullable=True),
        sa.Column("comment", sa.Text(), nullable=False),
        sa.Column("decided_by", sa.String(), nullable=False),
        sa.Column("decided_at", tables.UtcDateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_outcomes")),
    )
    op.create_index(op.f("ix_outcomes_result_id"), "outcomes", ["result_id"], unique=False)
    op.create_table(
        "challenges",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("station", sa.String(), nullable=False),
        sa.Column("product", sa.String(), nullable=False),
        sa.Column("result_id", sa.String(), nullable=False),
        sa.Column("expected", sa.String(), nullable=False),
        sa.Column("expected_class", sa.String(), nullable=True),
        sa.Column("evaluation", sa.String(), nullable=False),
        sa.Column("class_name", sa.String(), nullable=True),
        sa.Column("passed", sa.Boolean(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("challenged_at", tables.UtcDateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_challenges")),
    )
    op.create_index(
        op.f("ix_challenges_station_challenged_at"), "challenges", ["station", "challenged_at"], unique=False
    )
    op.create_table(
        "leases",
        sa.Column("station", sa.String(), nullable=False),
        sa.Column("owner", sa.String(), nullable=False),
        sa.Column("address", sa.String(), nullable=False),
        sa.Column("token", sa.Integer(), nullable=False),
        sa.Column("beat", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("station", name=op.f("pk_leases")),
    )
    # With a constant default neither database rewrites the rows: a plant may have tens of millions.
    op.add_column("inspections", sa.Column("is_partial", sa.Boolean(), server_default=sa.false(), nullable=False))
    op.add_column("recipes", sa.Column("challenge_every_h", sa.Float(), nullable=True))
    op.add_column("recipes", sa.Column("expected_views", tables.JsonTuple(none_as_null=True), nullable=True))
    op.execute("UPDATE recipes SET expected_views = '[]'")
    # SQLite can't make a column mandatory: the few recipes are copied.
    with op.batch_alter_table("recipes") as recipes:
        recipes.alter_column("expected_views", existing_type=sa.JSON(), nullable=False)
