"""The count that each confirmation countersigned beside it: the newest is found without reading all."""

from __future__ import annotations

import json

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("confirmations") as table:
        table.add_column(sa.Column("countersigned", sa.BigInteger(), nullable=False, server_default="0"))
        table.create_index("ix_confirmations_countersigned", ["partner", "countersigned"])
    connection = op.get_bind()
    rows = connection.execute(sa.text("SELECT round, partner, message FROM confirmations")).all()
    for digest, partner, message in rows:
        connection.execute(
            sa.text("UPDATE confirmations SET countersigned = :count WHERE round = :round AND partner = :partner"),
            {
                "count": json.loads(bytes(message))["body"]["checkpoint"]["count"],
                "round": digest,
                "partner": partner,
            },
        )


def downgrade() -> None:
    with op.batch_alter_table("confirmations") as table:
        table.drop_index("ix_confirmations_countersigned")
        table.drop_column("countersigned")
