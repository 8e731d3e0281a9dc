"""What one participant has signed, as the service keeps it, and what it said of its own ledger beside this one.

Rules:
1. Each is listed with the attempt it is of, when it came, and the digest that its signature is over: with that,
   whoever holds the statement finds the same one. The receipt is the service's signature, given to the participant.
2. A join says how many charges the participant's own chain holds (protocol 4.1). It is set beside those that this
   chain held as it came; which charges they are, a join does not say.
It verifies nothing: each was verified when it came.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from aggregator.storage import ledger
from aggregator.storage.service import stored
from aggregator.storage.tables import (
    AcceptanceRow,
    AttemptRow,
    CharterRow,
    ConfirmationRow,
    JoinRow,
    LedgerEntryRow,
    OpeningRow,
    RefusalRow,
    UploadRow,
    VoidRow,
)
from privacy.ledger.entry import CHARGES
from privacy.protocol.messages import Charter, CharterAcceptance, Join, Receipt

RECENT_ATTEMPTS = 25


@dataclass(frozen=True)
class AttemptName:
    plan: str
    round: int
    attempt: int


@dataclass(frozen=True)
class Statement:
    """of: None for an acceptance, of the charter of `epoch`. at: seconds since 1970; None where it was not kept."""

    kind: str
    of: AttemptName | None
    at: int | None
    digest: str
    epoch: int | None = None
    countersigned: int | None = None


@dataclass(frozen=True)
class ToldAtJoin:
    """own: charges that the participant's chain held, by its word; here: those on this chain as the join came."""

    of: AttemptName
    at: int | None
    own: int
    head: str
    here: int

    @property
    def difference(self) -> int:
        return self.own - self.here


@dataclass(frozen=True)
class LedgersBeside:
    """told: newest first. since: charges here after the newest of them. entries: of the whole chain."""

    told: tuple[ToldAtJoin, ...]
    since: int
    countersigned: Statement | None
    entries: int


def recent_attempts(session: Session) -> dict[str, AttemptName]:
    """By plan, newest first."""
    rows = session.execute(
        select(AttemptRow.round, AttemptRow.number, AttemptRow.attempt)
        .order_by(AttemptRow.join_deadline.desc(), AttemptRow.sequence.desc())
        .limit(RECENT_ATTEMPTS)
    )
    return {plan: AttemptName(plan, number, attempt) for plan, number, attempt in rows}


def signed_statements(session: Session, partner: str) -> tuple[Statement, ...]:
    """Of the recent attempts, newest first, each attempt's in the order of the protocol; then acceptances."""
    recent = recent_attempts(session)
    order = list(recent)
    found = sorted(
        _of_attempts(session, partner, recent), key=lambda one: order.index(one.of.plan if one.of else "")
    )
    return (*found, *_acceptances(session, partner))


def ledgers_beside(session: Session, partner: str) -> LedgersBeside:
    recent = recent_attempts(session)
    moves = session.execute(
        select(LedgerEntryRow.kind, LedgerEntryRow.round)
        .where(LedgerEntryRow.participant == partner, LedgerEntryRow.kind.in_(("reserve", *CHARGES)))
        .order_by(LedgerEntryRow.index)
    )
    here: dict[str, int] = {}
    charged = 0
    for kind, plan in moves:
        charged += kind in CHARGES
        if kind == "reserve" and plan is not None:
            here[plan] = charged
    joins = {
        row.round: row
        for row in session.scalars(select(JoinRow).where(JoinRow.partner == partner, JoinRow.round.in_(recent)))
    }
    told = []
    for plan, name in recent.items():
        if plan in joins and plan in here:
            said = stored(Join, joins[plan].message).body.ledger
            told.append(ToldAtJoin(name, joins[plan].received, said.count, said.head, here[plan]))
    newest = session.scalars(
        select(ConfirmationRow)
        .where(ConfirmationRow.partner == partner)
        .order_by(ConfirmationRow.countersigned.desc(), ConfirmationRow.round)
        .limit(1)
    ).first()
    return LedgersBeside(
        told=tuple(told),
        since=charged - (told[0].here if told else 0),
        countersigned=None if newest is None else _confirmation(newest, _name(session, newest.round)),
        entries=ledger.head(session).count,
    )


def _of_attempts(session: Session, partner: str, recent: dict[str, AttemptName]) -> Iterator[Statement]:
    """In the order of the protocol."""
    for join in session.scalars(select(JoinRow).where(JoinRow.partner == partner, JoinRow.round.in_(recent))):
        yield Statement("join", recent[join.round], join.received, join.digest)
    for upload in session.scalars(
        select(UploadRow).where(UploadRow.partner == partner, UploadRow.round.in_(recent))
    ):
        yield Statement("manifest", recent[upload.round], upload.received, upload.digest)
        if upload.receipt is not None:
            receipt = stored(Receipt, upload.receipt)
            yield Statement("receipt", recent[upload.round], upload.receipted, receipt.digest)
    for refusal in session.scalars(
        select(RefusalRow).where(RefusalRow.partner == partner, RefusalRow.round.in_(recent))
    ):
        yield Statement("refusal", recent[refusal.round], refusal.received, refusal.digest)
    for opening in session.scalars(
        select(OpeningRow).where(OpeningRow.partner == partner, OpeningRow.round.in_(recent))
    ):
        yield Statement("opening", recent[opening.round], opening.received, opening.digest)
    for vote in session.scalars(select(VoidRow).where(VoidRow.partner == partner, VoidRow.round.in_(recent))):
        yield Statement("void", recent[vote.round], vote.received, vote.digest)
    for confirmation in session.scalars(
        select(ConfirmationRow).where(ConfirmationRow.partner == partner, ConfirmationRow.round.in_(recent))
    ):
        yield _confirmation(confirmation, recent[confirmation.round])


def _confirmation(row: ConfirmationRow, name: AttemptName) -> Statement:
    return Statement("confirmation", name, row.received, row.digest, countersigned=row.countersigned)


def _acceptances(session: Session, partner: str) -> Iterator[Statement]:
    rows = session.execute(
        select(AcceptanceRow, CharterRow.message)
        .join(CharterRow, CharterRow.digest == AcceptanceRow.charter)
        .where(AcceptanceRow.partner == partner)
        .order_by(CharterRow.sequence.desc())
        .limit(RECENT_ATTEMPTS)
    )
    for row, charter in rows:
        signed = stored(CharterAcceptance, row.message)
        epoch = stored(Charter, charter).body.epoch
        yield Statement("acceptance", None, row.received, signed.digest, epoch=epoch)


def _name(session: Session, plan: str) -> AttemptName:
    number, attempt = session.execute(
        select(AttemptRow.number, AttemptRow.attempt).where(AttemptRow.round == plan)
    ).one()
    return AttemptName(plan, number, attempt)
