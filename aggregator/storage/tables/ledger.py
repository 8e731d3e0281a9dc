"""The chain, and what it says of each participant: its holdings, and what officers laid down for it."""

from __future__ import annotations

from sqlalchemy import ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from aggregator.storage.tables.base import DIGEST, NAME, Table


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
