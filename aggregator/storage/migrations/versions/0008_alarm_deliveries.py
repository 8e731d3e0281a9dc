"""How far the notices of alarms have come."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "alarm_deliveries",
        sa.Column("alarm", sa.String(length=64), nullable=False),
        sa.Column("address", sa.String(length=64), nullable=False),
        sa.Column("tries", sa.BigInteger(), nullable=False),
        sa.Column("due", sa.Double(), nullable=False),
        sa.Column("delivered_at", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(["alarm"], ["alarms.id"], name=op.f("fk_alarm_deliveries_alarm")),
        sa.PrimaryKeyConstraint("alarm", "address", name=op.f("pk_alarm_deliveries")),
    )


def downgrade() -> None:
    op.drop_table("alarm_deliveries")
