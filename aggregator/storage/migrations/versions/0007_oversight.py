"""Suspensions and tightened caps."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "suspensions",
        sa.Column("participant", sa.String(length=64), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("officer", sa.String(length=80), nullable=False),
        sa.Column("reason", sa.String(length=500), nullable=False),
        sa.Column("proposed_by", sa.String(length=80), nullable=True),
        sa.Column("proposed_at", sa.BigInteger(), nullable=True),
        sa.Column("proposed_reason", sa.String(length=500), nullable=True),
        sa.PrimaryKeyConstraint("participant", name=op.f("pk_suspensions")),
    )
    op.create_table(
        "tightened_caps",
        sa.Column("charter", sa.String(length=64), nullable=False),
        sa.Column("participant", sa.String(length=64), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("officer", sa.String(length=80), nullable=False),
        sa.Column("caps", sa.LargeBinary(), nullable=False),
        sa.Column("limits", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["charter"], ["charters.digest"], name=op.f("fk_tightened_caps_charter")),
        sa.PrimaryKeyConstraint("charter", "participant", name=op.f("pk_tightened_caps")),
    )


def downgrade() -> None:
    op.drop_table("tightened_caps")
    op.drop_table("suspensions")
