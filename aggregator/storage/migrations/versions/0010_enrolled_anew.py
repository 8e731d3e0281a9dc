"""Invitations that replace an enrolment, and the enrolments that were replaced."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("invitations", sa.Column("replaces", sa.String(length=64), nullable=True))
    op.create_table(
        "former_enrolments",
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("partner", sa.String(length=64), nullable=False),
        sa.Column("message", sa.LargeBinary(), nullable=False),
        sa.Column("replaced_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_former_enrolments")),
    )


def downgrade() -> None:
    op.drop_table("former_enrolments")
    with op.batch_alter_table("invitations") as table:
        table.drop_column("replaces")
