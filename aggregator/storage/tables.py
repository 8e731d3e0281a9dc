"""The tables. Rows hold messages as the canonical bytes that came, and columns for what is looked up.

Rules:
1. A message's bytes are never rewritten; columns beside them repeat what they say.
2. `attempts.version` grows with every change that the round document shows.
3. `ledger_entries` is append-only: the migrations' triggers refuse all but the next entry.
4. Tokens are stored as their SHA-256.
5. `received` is when a signed statement came, by our clock; None where it came before that was kept.
Times are seconds since 1970 UTC.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, ForeignKey, Index, LargeBinary, MetaData, String, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

DIGEST = String(64)
NAME = String(64)


class Table(DeclarativeBase):
    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(column_0_label)s",
            "uq": "uq_%(table_name)s_%(column_0_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {int: BigInteger, bytes: LargeBinary}  # noqa: RUF012 - SQLAlchemy reads a plain dict


class InvitationRow(Table):
    """`replaces`: the digest of the enrolment that an answer to it replaces."""

    __tablename__ = "invitations"
    token_digest: Mapped[str] = mapped_column(DIGEST, primary_key=True)
    partner: Mapped[str] = mapped_column(NAME)
    expires: Mapped[float]
    used_at: Mapped[float | None]
    replaces: Mapped[str | None] = mapped_column(DIGEST)


class EnrolmentRow(Table):
    __tablename__ = "enrolments"
    partner: Mapped[str] = mapped_column(NAME, primary_key=True)
    digest: Mapped[str] = mapped_column(DIGEST)
    message: Mapped[bytes]
    signing_keys: Mapped[bytes]
    state: Mapped[str] = mapped_column(String(16))


class FormerEnrolmentRow(Table):
    """What a partner had enrolled before it enrolled anew."""

    __tablename__ = "former_enrolments"
    digest: Mapped[str] = mapped_column(DIGEST, primary_key=True)
    partner: Mapped[str] = mapped_column(NAME)
    message: Mapped[bytes]
    replaced_at: Mapped[float]


class CharterRow(Table):
    __tablename__ = "charters"
    digest: Mapped[str] = mapped_column(DIGEST, primary_key=True)
    sequence: Mapped[int] = mapped_column(unique=True)
    message: Mapped[bytes]
    in_force: Mapped[bool]


class AcceptanceRow(Table):
    __tablename__ = "acceptances"
    charter: Mapped[str] = mapped_column(ForeignKey("charters.digest"), primary_key=True)
    partner: Mapped[str] = mapped_column(NAME, primary_key=True)
    message: Mapped[bytes]
    received: Mapped[int | None]


class CampaignRow(Table):
    __tablename__ = "campaigns"
    digest: Mapped[str] = mapped_column(DIGEST, primary_key=True)
    sequence: Mapped[int] = mapped_column(unique=True)
    charter: Mapped[str] = mapped_column(ForeignKey("charters.digest"))
    message: Mapped[bytes]
    in_force: Mapped[bool]


class StateBoxRow(Table):
    __tablename__ = "state_boxes"
    campaign: Mapped[str] = mapped_column(ForeignKey("campaigns.digest"), primary_key=True)
    state: Mapped[str] = mapped_column(DIGEST, primary_key=True)
    sender: Mapped[str] = mapped_column(NAME, primary_key=True)
    receiver: Mapped[str] = mapped_column(NAME, primary_key=True)
    digest: Mapped[str] = mapped_column(DIGEST)
    message: Mapped[bytes]


class StateRequestRow(Table):
    __tablename__ = "state_requests"
    campaign: Mapped[str] = mapped_column(ForeignKey("campaigns.digest"), primary_key=True)
    state: Mapped[str] = mapped_column(DIGEST, primary_key=True)
    partner: Mapped[str] = mapped_column(NAME, primary_key=True)
    message: Mapped[bytes]


class LeaseRow(Table):
    __tablename__ = "conductor_leases"
    campaign: Mapped[str] = mapped_column(ForeignKey("campaigns.digest"), primary_key=True)
    holder: Mapped[str] = mapped_column(String(80))
    until: Mapped[float]


class AttemptRow(Table):
    __tablename__ = "attempts"
    __table_args__ = (
        UniqueConstraint("campaign", "sequence", name="uq_attempts_sequence"),
        UniqueConstraint("campaign", "number", "attempt", name="uq_attempts_number"),
        Index("ix_attempts_state", "state"),
    )
    round: Mapped[str] = mapped_column(DIGEST, primary_key=True)
    campaign: Mapped[str] = mapped_column(ForeignKey("campaigns.digest"))
    charter: Mapped[str] = mapped_column(ForeignKey("charters.digest"))
    sequence: Mapped[int]
    number: Mapped[int]
    attempt: Mapped[int]
    state: Mapped[str] = mapped_column(String(16))
    version: Mapped[int]
    shard_bytes: Mapped[int]
    plan: Mapped[bytes]
    join_deadline: Mapped[int]
    upload_deadline: Mapped[int]
    open_deadline: Mapped[int]
    cohort_digest: Mapped[str | None] = mapped_column(DIGEST)
    cohort: Mapped[bytes | None]
    seal_digest: Mapped[str | None] = mapped_column(DIGEST)
    seal: Mapped[bytes | None]
    sum_digests: Mapped[bytes | None]
    confirmed_state: Mapped[str | None] = mapped_column(DIGEST)
    close: Mapped[bytes | None]
    abort: Mapped[bytes | None]
    uploads_kept: Mapped[bool]
    sums_kept: Mapped[bool]


class StageRow(Table):
    """When an attempt entered a state."""

    __tablename__ = "stages"
    round: Mapped[str] = mapped_column(ForeignKey("attempts.round"), primary_key=True)
    state: Mapped[str] = mapped_column(String(16), primary_key=True)
    entered: Mapped[float]


class JoinRow(Table):
    __tablename__ = "joins"
    round: Mapped[str] = mapped_column(ForeignKey("attempts.round"), primary_key=True)
    partner: Mapped[str] = mapped_column(NAME, primary_key=True)
    digest: Mapped[str] = mapped_column(DIGEST)
    message: Mapped[bytes]
    received: Mapped[int | None]


class UploadRow(Table):
    __tablename__ = "uploads"
    round: Mapped[str] = mapped_column(ForeignKey("attempts.round"), primary_key=True)
    partner: Mapped[str] = mapped_column(NAME, primary_key=True)
    digest: Mapped[str] = mapped_column(DIGEST)
    manifest: Mapped[bytes]
    words: Mapped[int]
    shard_digests: Mapped[bytes]
    receipt: Mapped[bytes | None]
    in_seal: Mapped[bool]
    received: Mapped[int | None]
    receipted: Mapped[int | None]


class ShardRow(Table):
    """A shard that arrived whole, was checked and lies on disk."""

    __tablename__ = "shards"
    round: Mapped[str] = mapped_column(DIGEST, primary_key=True)
    partner: Mapped[str] = mapped_column(NAME, primary_key=True)
    index: Mapped[int] = mapped_column(primary_key=True)


class OpeningRow(Table):
    __tablename__ = "openings"
    round: Mapped[str] = mapped_column(ForeignKey("attempts.round"), primary_key=True)
    partner: Mapped[str] = mapped_column(NAME, primary_key=True)
    digest: Mapped[str] = mapped_column(DIGEST)
    message: Mapped[bytes]
    received: Mapped[int | None]


class RefusalRow(Table):
    __tablename__ = "refusals"
    round: Mapped[str] = mapped_column(ForeignKey("attempts.round"), primary_key=True)
    partner: Mapped[str] = mapped_column(NAME, primary_key=True)
    digest: Mapped[str] = mapped_column(DIGEST)
    message: Mapped[bytes]
    received: Mapped[int | None]


class ConfirmationRow(Table):
    """`countersigned`: the count of the ledger's entries that this partner vouched for with it."""

    __tablename__ = "confirmations"
    __table_args__ = (Index("ix_confirmations_countersigned", "partner", "countersigned"),)
    round: Mapped[str] = mapped_column(ForeignKey("attempts.round"), primary_key=True)
    partner: Mapped[str] = mapped_column(NAME, primary_key=True)
    digest: Mapped[str] = mapped_column(DIGEST)
    state: Mapped[str] = mapped_column(DIGEST)
    complete: Mapped[bool]
    countersigned: Mapped[int]
    message: Mapped[bytes]
    received: Mapped[int | None]


class VoidRow(Table):
    __tablename__ = "voids"
    round: Mapped[str] = mapped_column(ForeignKey("attempts.round"), primary_key=True)
    partner: Mapped[str] = mapped_column(NAME, primary_key=True)
    digest: Mapped[str] = mapped_column(DIGEST)
    message: Mapped[bytes]
    received: Mapped[int | None]


class HoldingRow(Table):
    """What the ledger says an attempt stands at in a participant's budget; written with each entry."""

    __tablename__ = "holdings"
    participant: Mapped[str] = mapped_column(NAME, primary_key=True)
    round: Mapped[str] = mapped_column(DIGEST, primary_key=True)
    charter: Mapped[str] = mapped_column(ForeignKey("charters.digest"))
    number: Mapped[int]
    attempt: Mapped[int]
    event: Mapped[bytes]
    row: Mapped[str] = mapped_column(NAME)
    state: Mapped[str] = mapped_column(String(16))
    __table_args__ = (Index("ix_holdings_charter", "charter", "participant"),)


class LedgerHeadRow(Table):
    """One row: the chain's count and head, locked by whoever appends."""

    __tablename__ = "ledger_heads"
    chain: Mapped[str] = mapped_column(NAME, primary_key=True)
    count: Mapped[int]
    head: Mapped[str] = mapped_column(DIGEST)


class LedgerEntryRow(Table):
    __tablename__ = "ledger_entries"
    __table_args__ = (Index("ix_ledger_entries_totals", "charter", "participant", "row", "index"),)
    index: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    digest: Mapped[str] = mapped_column(DIGEST)
    at: Mapped[int]
    charter: Mapped[str] = mapped_column(DIGEST)
    kind: Mapped[str] = mapped_column(String(16))
    participant: Mapped[str | None] = mapped_column(NAME)
    round: Mapped[str | None] = mapped_column(DIGEST)
    row: Mapped[str | None] = mapped_column(NAME)
    charged: Mapped[int | None]
    reserved: Mapped[int | None]
    entry: Mapped[bytes]


class ConsoleLinkRow(Table):
    __tablename__ = "console_links"
    token_digest: Mapped[str] = mapped_column(DIGEST, primary_key=True)
    name: Mapped[str] = mapped_column(String(80))
    account: Mapped[str | None] = mapped_column(NAME)
    scope: Mapped[str] = mapped_column(NAME)
    expires: Mapped[float]
    used_at: Mapped[float | None]


class ConsoleSessionRow(Table):
    __tablename__ = "console_sessions"
    __table_args__ = (Index("ix_console_sessions_account", "account"),)
    token_digest: Mapped[str] = mapped_column(DIGEST, primary_key=True)
    name: Mapped[str] = mapped_column(String(80))
    account: Mapped[str | None] = mapped_column(NAME)
    role: Mapped[str] = mapped_column(String(16))
    scope: Mapped[str] = mapped_column(NAME)
    setting_up: Mapped[bool]
    created: Mapped[float]
    seen: Mapped[float]
    expires: Mapped[float]
    revoked_at: Mapped[float | None]


class AccountRow(Table):
    """A person who signs in: by password and second factor, or (email or subject) by the identity provider."""

    __tablename__ = "accounts"
    name: Mapped[str] = mapped_column(NAME, primary_key=True)
    role: Mapped[str] = mapped_column(String(16))
    scope: Mapped[str] = mapped_column(NAME)
    email: Mapped[str | None] = mapped_column(String(254), unique=True)
    subject: Mapped[str | None] = mapped_column(String(255), unique=True)
    password: Mapped[str | None] = mapped_column(String(256))
    factor: Mapped[bytes | None]
    factor_step: Mapped[int]
    next_factor: Mapped[bytes | None]
    created: Mapped[float]
    disabled_at: Mapped[float | None]


class RecoveryCodeRow(Table):
    __tablename__ = "recovery_codes"
    account: Mapped[str] = mapped_column(ForeignKey("accounts.name"), primary_key=True)
    digest: Mapped[str] = mapped_column(DIGEST, primary_key=True)


class KnownBrowserRow(Table):
    """A browser that an account signed in from; see storage/attempts.py."""

    __tablename__ = "known_browsers"
    token_digest: Mapped[str] = mapped_column(DIGEST, primary_key=True)
    account: Mapped[str] = mapped_column(ForeignKey("accounts.name"))
    expires: Mapped[float]
    __table_args__ = (Index("ix_known_browsers_account", "account"),)


class AttemptLimitRow(Table):
    """Failures counted under a digest of whose they are; see storage/attempts.py."""

    __tablename__ = "attempt_limits"
    key: Mapped[str] = mapped_column(DIGEST, primary_key=True)
    failures: Mapped[int]
    last: Mapped[float]
    until: Mapped[float]


class AlarmRow(Table):
    """Something a person must look at; see storage/alarms.py."""

    __tablename__ = "alarms"
    __table_args__ = (Index("ix_alarms_at", "at"),)
    id: Mapped[str] = mapped_column(DIGEST, primary_key=True)
    kind: Mapped[str] = mapped_column(String(32))
    participant: Mapped[str | None] = mapped_column(NAME)
    at: Mapped[int]
    detail: Mapped[bytes]
    acknowledged_at: Mapped[int | None]
    acknowledged_by: Mapped[str | None] = mapped_column(String(80))
    reason: Mapped[str | None] = mapped_column(String(500))


class SuspensionRow(Table):
    """A participant whose joins are refused; the row goes when it is resumed, the ledger keeps both."""

    __tablename__ = "suspensions"
    participant: Mapped[str] = mapped_column(NAME, primary_key=True)
    at: Mapped[int]
    officer: Mapped[str] = mapped_column(String(80))
    reason: Mapped[str] = mapped_column(String(500))
    proposed_by: Mapped[str | None] = mapped_column(String(80))
    proposed_at: Mapped[int | None]
    proposed_reason: Mapped[str | None] = mapped_column(String(500))


class TightenedCapRow(Table):
    """The newest caps that an officer tightened, and the counts they leave of the charter's table, as JSON."""

    __tablename__ = "tightened_caps"
    charter: Mapped[str] = mapped_column(ForeignKey("charters.digest"), primary_key=True)
    participant: Mapped[str] = mapped_column(NAME, primary_key=True)
    at: Mapped[int]
    officer: Mapped[str] = mapped_column(String(80))
    caps: Mapped[bytes]
    limits: Mapped[bytes]


class AlarmDeliveryRow(Table):
    """How far the notice of an alarm has come at one address; see rounds/webhooks.py."""

    __tablename__ = "alarm_deliveries"
    alarm: Mapped[str] = mapped_column(ForeignKey("alarms.id"), primary_key=True)
    address: Mapped[str] = mapped_column(DIGEST, primary_key=True)
    tries: Mapped[int]
    due: Mapped[float]
    delivered_at: Mapped[float | None]
