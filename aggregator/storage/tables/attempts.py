"""Attempts of rounds, and what each partner sent for them."""

from __future__ import annotations

from sqlalchemy import ForeignKey, Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from aggregator.storage.tables.base import DIGEST, NAME, Table


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
