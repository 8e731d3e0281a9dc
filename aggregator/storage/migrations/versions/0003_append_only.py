"""The ledger can only grow: by the next index, on either database, and by no other statement than INSERT.

On SQLite, INSERT OR REPLACE deletes without calling the trigger on DELETE; on PostgreSQL, TRUNCATE calls no trigger
on rows, and a session in replica mode calls none that is not ALWAYS enabled. Whoever owns the database can still
drop a trigger: against that stand the countersigned checkpoints.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_NEXT = '(SELECT COALESCE(MAX("index"), 0) + 1 FROM ledger_entries)'
_SQLITE = (
    "CREATE TRIGGER ledger_entries_next BEFORE INSERT ON ledger_entries "
    f'WHEN NEW."index" <> {_NEXT} '
    "BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END",
)
_POSTGRESQL = (
    "CREATE FUNCTION ledger_next() RETURNS trigger AS $$ BEGIN "
    f"IF NEW.\"index\" <> {_NEXT} THEN RAISE EXCEPTION 'the ledger is append-only'; END IF; "
    "RETURN NEW; END $$ LANGUAGE plpgsql",
    "CREATE TRIGGER ledger_entries_next BEFORE INSERT ON ledger_entries "
    "FOR EACH ROW EXECUTE FUNCTION ledger_next()",
    "CREATE TRIGGER ledger_entries_no_truncate BEFORE TRUNCATE ON ledger_entries "
    "FOR EACH STATEMENT EXECUTE FUNCTION ledger_append_only()",
    *(
        f"ALTER TABLE ledger_entries ENABLE ALWAYS TRIGGER ledger_entries_{name}"
        for name in ("append_only", "next", "no_truncate")
    ),
)


def upgrade() -> None:
    connection = op.get_bind()
    for statement in _SQLITE if connection.dialect.name == "sqlite" else _POSTGRESQL:
        op.execute(statement)
    # The row that appenders lock is there before the first of them.
    if connection.execute(sa.text("SELECT COUNT(*) FROM ledger_heads")).scalar_one() == 0:
        row = {"chain": "consortium", "count": 0, "head": "0" * 64}
        heads = sa.table("ledger_heads", sa.column("chain"), sa.column("count"), sa.column("head"))
        op.bulk_insert(heads, [row])


def downgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        op.execute("DROP TRIGGER ledger_entries_next")
        return
    op.execute("DROP TRIGGER ledger_entries_no_truncate ON ledger_entries")
    op.execute("DROP TRIGGER ledger_entries_next ON ledger_entries")
    op.execute("DROP FUNCTION ledger_next()")
    op.execute("ALTER TABLE ledger_entries ENABLE TRIGGER ledger_entries_append_only")
