"""Alarms: what a person must look at, kept until an officer has, and who did.

Rules:
1. An alarm is a kind of KINDS, whom it concerns, and figures; the words are made from these when it is shown, in
   each language. So a kind lists its figures: those that tell one cause from another, and those that describe it.
2. The same cause raises one alarm, however often and by however many it is seen: its id is the hash of kind,
   participant and the figures that tell causes apart. Who acknowledges it does not make it come again.
3. It is written in the transaction of what it is about. Where that transaction is refused, in one of its own.
4. Nothing here decides who may see or acknowledge one: that is rounds/oversight.py and the console.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from sqlalchemy import ColumnElement, func, or_, select, true, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from aggregator.storage.database import announce
from aggregator.storage.tables import AlarmRow
from privacy.errors import MalformedMessage, NotFound
from privacy.protocol.canonical import canonical

ALARMS = "alarms"
"""The topic announced with each new alarm."""

Figure = str | int | float


@dataclass(frozen=True)
class AlarmKind:
    """cause: the figures that tell one alarm of this kind from another. more: figures that describe it.

    grave: nothing should go on before someone has looked.
    """

    cause: tuple[str, ...]
    more: tuple[str, ...] = ()
    grave: bool = False


_ATTEMPT = ("round", "attempt")

KINDS: Final[Mapping[str, AlarmKind]] = {
    # A partner refused to open; `check` is the number of the opening check (protocol 4.4).
    "opening_refused": AlarmKind(("plan", "check"), (*_ATTEMPT, "reason"), grave=True),
    # t partners say that no decoding works; what was charged stays charged.
    "attempt_void": AlarmKind(("plan",), _ATTEMPT),
    # The attempt closed after its cohort was charged; `cause` is the signed close's.
    "attempt_closed": AlarmKind(("plan",), (*_ATTEMPT, "cause")),
    # The noise of a sum, or of all so far, is less than promised (protocol 6.2); `over` is "sum" or "all_sums",
    # `deviations` how many standard deviations it lies below.
    "probes_low": AlarmKind(("plan", "over"), (*_ATTEMPT, "deviations"), grave=True),
    # A partner's own chain holds another number of charges than this ledger says.
    "ledger_difference": AlarmKind(("own", "charged"), ("plan", *_ATTEMPT), grave=True),
    # A partner countersigned a head that is not on this chain.
    "checkpoint_differs": AlarmKind(("plan", "count"), (*_ATTEMPT, "head"), grave=True),
    # A partner reached another state than the quorum.
    "state_differs": AlarmKind(("plan",), (*_ATTEMPT, "state", "confirmed"), grave=True),
    # All of J confirmed, and no state has a quorum.
    "states_disagree": AlarmKind(("plan",), _ATTEMPT, grave=True),
    # `guarantee` is "in_sum" or "alone"; `percent` the share of the cap that was passed.
    "budget_nearly_spent": AlarmKind(("charter", "guarantee", "percent", "cap"), ("epsilon",)),
    # The share of a row's rounds that is taken, of those that its count or a filter allows; a cap may be far.
    "rounds_nearly_used": AlarmKind(("charter", "row", "percent"), ("rounds", "left")),
    # An officer stopped a participant; `entry` is the ledger entry that says so.
    "suspended": AlarmKind(("entry",), ("officer",)),
    # Somebody tried an account's password or code too often; `day` is UTC, as YYYY-MM-DD.
    "locked_out": AlarmKind(("account", "day"), ("failures",)),
}


@dataclass(frozen=True)
class Alarm:
    """id: hex SHA-256 of the cause. Times in seconds since 1970 UTC."""

    id: str
    kind: str
    participant: str | None
    at: int
    detail: Mapping[str, Figure]
    acknowledged_at: int | None
    acknowledged_by: str | None
    reason: str | None

    @property
    def grave(self) -> bool:
        return KINDS[self.kind].grave


def raise_alarm(
    session: Session, kind: str, participant: str | None, detail: Mapping[str, Figure], at: int
) -> bool:
    """Raise it, in a write transaction; False where this cause was raised before.

    detail: the kind's figures, all of them. Raises MalformedMessage for an unknown kind or other figures.
    """
    described = KINDS.get(kind)
    wanted = () if described is None else (*described.cause, *described.more)
    if described is None or set(detail) != set(wanted):
        raise MalformedMessage(
            f"an alarm of a known kind with its figures {wanted}", f"{kind} with {sorted(detail)}", "add the kind"
        )
    cause = canonical([kind, participant, [detail[name] for name in described.cause]])
    row = AlarmRow(
        id=hashlib.sha256(b"chorale/1 alarm\x00" + cause).hexdigest(),
        kind=kind,
        participant=participant,
        at=at,
        detail=canonical(dict(detail)),
    )
    if session.get(AlarmRow, row.id) is not None:
        return False
    try:
        with session.begin_nested():
            session.add(row)
    except IntegrityError:
        return False  # another transaction raised it between the look and the insert
    announce(session, ALARMS)
    return True


def find_alarm(session: Session, alarm: str) -> Alarm:
    """Raises NotFound."""
    row = session.get(AlarmRow, alarm)
    if row is None:
        raise NotFound("an alarm of this service", alarm[:16], "open the list of alarms")
    return _alarm(row)


def alarms(session: Session, scope: str | None, limit: int, offset: int = 0) -> list[Alarm]:
    """Those not yet acknowledged first, then the newest. scope: a participant, or None for everyone's.

    What concerns no one participant concerns all of them.
    """
    order = (AlarmRow.acknowledged_at.is_not(None), AlarmRow.at.desc(), AlarmRow.id)
    query = select(AlarmRow).where(_within(scope)).order_by(*order).limit(limit).offset(offset)
    return [_alarm(row) for row in session.scalars(query)]


def every_alarm(session: Session, scope: str | None) -> list[Alarm]:
    """All of a scope, whatever became of them, the oldest first; scope as for `alarms`."""
    query = select(AlarmRow).where(_within(scope)).order_by(AlarmRow.at, AlarmRow.id)
    return [_alarm(row) for row in session.scalars(query)]


def count_alarms(session: Session, scope: str | None, *, waiting: bool = False) -> int:
    """How many there are; with `waiting`, how many nobody has acknowledged."""
    query = select(func.count()).select_from(AlarmRow).where(_within(scope))
    return session.scalar(query.where(AlarmRow.acknowledged_at.is_(None)) if waiting else query) or 0


def acknowledge(session: Session, alarm: str, officer: str, reason: str, at: int) -> bool:
    """Note who has looked at it; False where somebody had before."""
    taken = session.execute(
        update(AlarmRow)
        .where(AlarmRow.id == alarm, AlarmRow.acknowledged_at.is_(None))
        .values(acknowledged_at=at, acknowledged_by=officer, reason=reason)
        .returning(AlarmRow.id)
    ).all()
    return bool(taken)


def _within(scope: str | None) -> ColumnElement[bool]:
    return true() if scope is None else or_(AlarmRow.participant == scope, AlarmRow.participant.is_(None))


def _alarm(row: AlarmRow) -> Alarm:
    return Alarm(
        id=row.id,
        kind=row.kind,
        participant=row.participant,
        at=row.at,
        detail=json.loads(row.detail),
        acknowledged_at=row.acknowledged_at,
        acknowledged_by=row.acknowledged_by,
        reason=row.reason,
    )
