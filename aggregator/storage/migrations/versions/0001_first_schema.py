"""The first schema."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# History is appended to, never rewritten; whoever tries is stopped by the database itself.
_SQLITE_TRIGGERS = tuple(
    f"CREATE TRIGGER ledger_entries_no_{verb.lower()} BEFORE {verb} ON ledger_entries "
    "BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END"
    for verb in ("UPDATE", "DELETE")
)
_POSTGRESQL_TRIGGERS = (
    "CREATE FUNCTION ledger_append_only() RETURNS trigger AS $$ "
    "BEGIN RAISE EXCEPTION 'the ledger is append-only'; END $$ LANGUAGE plpgsql",
    "CREATE TRIGGER ledger_entries_append_only BEFORE UPDATE OR DELETE ON ledger_entries "
    "FOR EACH ROW EXECUTE FUNCTION ledger_append_only()",
)


def upgrade() -> None:
    op.create_table(
        "charters",
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("message", sa.LargeBinary(), nullable=False),
        sa.Column("in_force", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_charters")),
        sa.UniqueConstraint("sequence", name=op.f("uq_charters_sequence")),
    )
    op.create_table(
        "enrolments",
        sa.Column("partner", sa.String(length=64), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("message", sa.LargeBinary(), nullable=False),
        sa.Column("signing_keys", sa.LargeBinary(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.PrimaryKeyConstraint("partner", name=op.f("pk_enrolments")),
    )
    op.create_table(
        "invitations",
        sa.Column("token_digest", sa.String(length=64), nullable=False),
        sa.Column("partner", sa.String(length=64), nullable=False),
        sa.Column("expires", sa.Double(), nullable=False),
        sa.Column("used_at", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("token_digest", name=op.f("pk_invitations")),
    )
    op.create_table(
        "ledger_entries",
        sa.Column("index", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("charter", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("participant", sa.String(length=64), nullable=True),
        sa.Column("round", sa.String(length=64), nullable=True),
        sa.Column("row", sa.String(length=64), nullable=True),
        sa.Column("charged", sa.BigInteger(), nullable=True),
        sa.Column("reserved", sa.BigInteger(), nullable=True),
        sa.Column("entry", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("index", name=op.f("pk_ledger_entries")),
    )
    op.create_index(
        "ix_ledger_entries_totals", "ledger_entries", ["charter", "participant", "row", "index"], unique=False
    )
    op.create_table(
        "ledger_heads",
        sa.Column("chain", sa.String(length=64), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.Column("head", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("chain", name=op.f("pk_ledger_heads")),
    )
    op.create_table(
        "officer_links",
        sa.Column("token_digest", sa.String(length=64), nullable=False),
        sa.Column("officer", sa.String(length=80), nullable=False),
        sa.Column("scope", sa.String(length=64), nullable=False),
        sa.Column("expires", sa.Double(), nullable=False),
        sa.Column("used_at", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("token_digest", name=op.f("pk_officer_links")),
    )
    op.create_table(
        "officer_sessions",
        sa.Column("token_digest", sa.String(length=64), nullable=False),
        sa.Column("officer", sa.String(length=80), nullable=False),
        sa.Column("scope", sa.String(length=64), nullable=False),
        sa.Column("created", sa.Double(), nullable=False),
        sa.Column("expires", sa.Double(), nullable=False),
        sa.Column("revoked_at", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("token_digest", name=op.f("pk_officer_sessions")),
    )
    op.create_table(
        "shards",
        sa.Column("round", sa.String(length=64), nullable=False),
        sa.Column("partner", sa.String(length=64), nullable=False),
        sa.Column("index", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("round", "partner", "index", name=op.f("pk_shards")),
    )
    op.create_table(
        "acceptances",
        sa.Column("charter", sa.String(length=64), nullable=False),
        sa.Column("partner", sa.String(length=64), nullable=False),
        sa.Column("message", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["charter"], ["charters.digest"], name=op.f("fk_acceptances_charter")),
        sa.PrimaryKeyConstraint("charter", "partner", name=op.f("pk_acceptances")),
    )
    op.create_table(
        "campaigns",
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("charter", sa.String(length=64), nullable=False),
        sa.Column("message", sa.LargeBinary(), nullable=False),
        sa.Column("in_force", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["charter"], ["charters.digest"], name=op.f("fk_campaigns_charter")),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_campaigns")),
        sa.UniqueConstraint("sequence", name=op.f("uq_campaigns_sequence")),
    )
    op.create_table(
        "holdings",
        sa.Column("participant", sa.String(length=64), nullable=False),
        sa.Column("round", sa.String(length=64), nullable=False),
        sa.Column("charter", sa.String(length=64), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("attempt", sa.BigInteger(), nullable=False),
        sa.Column("event", sa.LargeBinary(), nullable=False),
        sa.Column("row", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.ForeignKeyConstraint(["charter"], ["charters.digest"], name=op.f("fk_holdings_charter")),
        sa.PrimaryKeyConstraint("participant", "round", name=op.f("pk_holdings")),
    )
    op.create_index("ix_holdings_charter", "holdings", ["charter", "participant"], unique=False)
    op.create_table(
        "attempts",
        sa.Column("round", sa.String(length=64), nullable=False),
        sa.Column("campaign", sa.String(length=64), nullable=False),
        sa.Column("charter", sa.String(length=64), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("attempt", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("shard_bytes", sa.BigInteger(), nullable=False),
        sa.Column("plan", sa.LargeBinary(), nullable=False),
        sa.Column("join_deadline", sa.BigInteger(), nullable=False),
        sa.Column("upload_deadline", sa.BigInteger(), nullable=False),
        sa.Column("open_deadline", sa.BigInteger(), nullable=False),
        sa.Column("cohort_digest", sa.String(length=64), nullable=True),
        sa.Column("cohort", sa.LargeBinary(), nullable=True),
        sa.Column("seal_digest", sa.String(length=64), nullable=True),
        sa.Column("seal", sa.LargeBinary(), nullable=True),
        sa.Column("sum_digests", sa.LargeBinary(), nullable=True),
        sa.Column("confirmed_state", sa.String(length=64), nullable=True),
        sa.Column("close", sa.LargeBinary(), nullable=True),
        sa.Column("abort", sa.LargeBinary(), nullable=True),
        sa.Column("uploads_kept", sa.Boolean(), nullable=False),
        sa.Column("sums_kept", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["campaign"], ["campaigns.digest"], name=op.f("fk_attempts_campaign")),
        sa.ForeignKeyConstraint(["charter"], ["charters.digest"], name=op.f("fk_attempts_charter")),
        sa.PrimaryKeyConstraint("round", name=op.f("pk_attempts")),
        sa.UniqueConstraint("campaign", "number", "attempt", name="uq_attempts_number"),
        sa.UniqueConstraint("campaign", "sequence", name="uq_attempts_sequence"),
    )
    op.create_index("ix_attempts_state", "attempts", ["state"], unique=False)
    op.create_table(
        "conductor_leases",
        sa.Column("campaign", sa.String(length=64), nullable=False),
        sa.Column("holder", sa.String(length=80), nullable=False),
        sa.Column("until", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["campaign"], ["campaigns.digest"], name=op.f("fk_conductor_leases_campaign")),
        sa.PrimaryKeyConstraint("campaign", name=op.f("pk_conductor_leases")),
    )
    op.create_table(
        "state_boxes",
        sa.Column("campaign", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=64), nullable=False),
        sa.Column("sender", sa.String(length=64), nullable=False),
        sa.Column("receiver", sa.String(length=64), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("message", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["campaign"], ["campaigns.digest"], name=op.f("fk_state_boxes_campaign")),
        sa.PrimaryKeyConstraint("campaign", "state", "sender", "receiver", name=op.f("pk_state_boxes")),
    )
    op.create_table(
        "state_requests",
        sa.Column("campaign", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=64), nullable=False),
        sa.Column("partner", sa.String(length=64), nullable=False),
        sa.Column("message", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["campaign"], ["campaigns.digest"], name=op.f("fk_state_requests_campaign")),
        sa.PrimaryKeyConstraint("campaign", "state", "partner", name=op.f("pk_state_requests")),
    )
    op.create_table(
        "confirmations",
        sa.Column("round", sa.String(length=64), nullable=False),
        sa.Column("partner", sa.String(length=64), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=64), nullable=False),
        sa.Column("complete", sa.Boolean(), nullable=False),
        sa.Column("message", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["round"], ["attempts.round"], name=op.f("fk_confirmations_round")),
        sa.PrimaryKeyConstraint("round", "partner", name=op.f("pk_confirmations")),
    )
    op.create_table(
        "joins",
        sa.Column("round", sa.String(length=64), nullable=False),
        sa.Column("partner", sa.String(length=64), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("message", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["round"], ["attempts.round"], name=op.f("fk_joins_round")),
        sa.PrimaryKeyConstraint("round", "partner", name=op.f("pk_joins")),
    )
    op.create_table(
        "openings",
        sa.Column("round", sa.String(length=64), nullable=False),
        sa.Column("partner", sa.String(length=64), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("message", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["round"], ["attempts.round"], name=op.f("fk_openings_round")),
        sa.PrimaryKeyConstraint("round", "partner", name=op.f("pk_openings")),
    )
    op.create_table(
        "refusals",
        sa.Column("round", sa.String(length=64), nullable=False),
        sa.Column("partner", sa.String(length=64), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("message", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["round"], ["attempts.round"], name=op.f("fk_refusals_round")),
        sa.PrimaryKeyConstraint("round", "partner", name=op.f("pk_refusals")),
    )
    op.create_table(
        "stages",
        sa.Column("round", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("entered", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["round"], ["attempts.round"], name=op.f("fk_stages_round")),
        sa.PrimaryKeyConstraint("round", "state", name=op.f("pk_stages")),
    )
    op.create_table(
        "uploads",
        sa.Column("round", sa.String(length=64), nullable=False),
        sa.Column("partner", sa.String(length=64), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("manifest", sa.LargeBinary(), nullable=False),
        sa.Column("words", sa.BigInteger(), nullable=False),
        sa.Column("shard_digests", sa.LargeBinary(), nullable=False),
        sa.Column("receipt", sa.LargeBinary(), nullable=True),
        sa.Column("in_seal", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["round"], ["attempts.round"], name=op.f("fk_uploads_round")),
        sa.PrimaryKeyConstraint("round", "partner", name=op.f("pk_uploads")),
    )
    op.create_table(
        "voids",
        sa.Column("round", sa.String(length=64), nullable=False),
        sa.Column("partner", sa.String(length=64), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("message", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["round"], ["attempts.round"], name=op.f("fk_voids_round")),
        sa.PrimaryKeyConstraint("round", "partner", name=op.f("pk_voids")),
    )
    dialect = op.get_bind().dialect.name
    for statement in _SQLITE_TRIGGERS if dialect == "sqlite" else _POSTGRESQL_TRIGGERS:
        op.execute(statement)


def downgrade() -> None:
    op.drop_table("voids")
    op.drop_table("uploads")
    op.drop_table("stages")
    op.drop_table("refusals")
    op.drop_table("openings")
    op.drop_table("joins")
    op.drop_table("confirmations")
    op.drop_table("state_requests")
    op.drop_table("state_boxes")
    op.drop_table("conductor_leases")
    op.drop_index("ix_attempts_state", table_name="attempts")
    op.drop_table("attempts")
    op.drop_index("ix_holdings_charter", table_name="holdings")
    op.drop_table("holdings")
    op.drop_table("campaigns")
    op.drop_table("acceptances")
    op.drop_table("shards")
    op.drop_table("officer_sessions")
    op.drop_table("officer_links")
    op.drop_table("ledger_heads")
    op.drop_index("ix_ledger_entries_totals", table_name="ledger_entries")
    op.drop_table("ledger_entries")
    op.drop_table("invitations")
    op.drop_table("enrolments")
    op.drop_table("charters")
