"""When each signed statement came: empty for those that came before this was kept."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_TABLES = ("acceptances", "joins", "uploads", "openings", "refusals", "confirmations", "voids")


def upgrade() -> None:
    for table in _TABLES:
        op.add_column(table, sa.Column("received", sa.BigInteger(), nullable=True))
    op.add_column("uploads", sa.Column("receipted", sa.BigInteger(), nullable=True))


def downgrade() -> None:
    op.drop_column("uploads", "receipted")
    for table in _TABLES:
        op.drop_column(table, "received")
