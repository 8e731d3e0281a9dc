"""Joining an attempt, and publishing its cohort (protocol 4.1).

Rules:
1. A join and the reservation of its event are one transaction: no room, no join.
2. When the whole roster, but for who is suspended, has joined, or at the join deadline with n_min, J is signed and
   published; in the same transaction every member is charged and every other reservation lapses.
3. An attempt that closes before that gives its reservations back; nothing charged is ever given back.
"""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from aggregator.rounds import alarming
from aggregator.rounds.records import (
    changed,
    charter_of,
    find,
    move,
    plan_of,
    require_roster,
    state_of,
)
from aggregator.storage import ledger, oversight
from aggregator.storage.service import Service
from aggregator.storage.tables import AttemptRow, JoinRow
from privacy.errors import Conflict, DeadlinePassed
from privacy.protocol.cohort_checks import check_join
from privacy.protocol.identifiers import SERVER
from privacy.protocol.messages import Charter, Close, Cohort, CohortMember, Join, Signed
from privacy.protocol.round_state import RoundState, check_cohort_size, require
from privacy.protocol.signing import sign


def join(service: Service, round_digest: str, partner: str, signed: Signed[Join]) -> None:
    """Take a partner's join. Raises BudgetExhausted; Conflict for a second, different join."""
    with service.database.read() as session:
        charter = charter_of(session, find(session, round_digest).charter)
    require_roster(charter, partner)
    check_join(signed, round_digest, charter, partner, service.verifier)
    digest = signed.digest
    with service.database.write() as session:
        attempt = find(session, round_digest, lock=True)
        before = session.get(JoinRow, (round_digest, partner))
        if before is not None:
            if before.digest != digest:
                raise Conflict(
                    f"the join that {partner} sent first", "another", "go on with the round key of the first join"
                )
            return
        require(state_of(attempt), RoundState.JOINING)
        now = service.now()
        if now > attempt.join_deadline:
            raise DeadlinePassed(f"a join until {attempt.join_deadline}", f"one at {now}", "join the next attempt")
        oversight.require_not_suspended(session, partner)
        ledger.reserve(session, charter, plan_of(attempt), round_digest, partner, now)
        alarming.ledgers_compared(session, attempt, partner, signed.body, now)
        session.add(
            JoinRow(
                round=round_digest, partner=partner, digest=digest, message=signed.canonical_bytes, received=now
            )
        )
        changed(session, attempt)


def joins_of(session: Session, round_digest: str) -> list[JoinRow]:
    return list(session.scalars(select(JoinRow).where(JoinRow.round == round_digest).order_by(JoinRow.partner)))


def settle_joining(service: Service, round_digest: str) -> None:
    """Publish the cohort if it is time, or close the attempt if too few came; otherwise nothing."""
    with service.database.write() as session:
        attempt = find(session, round_digest, lock=True)
        if state_of(attempt) is not RoundState.JOINING:
            return
        charter = charter_of(session, attempt.charter)
        joins = joins_of(session, round_digest)
        awaited = set(charter.partners) - oversight.suspended(session)
        if not awaited <= {row.partner for row in joins} and service.now() <= attempt.join_deadline:
            return
        if len(joins) < charter.n_min:
            close(
                service,
                session,
                attempt,
                "too-few-joined",
                f"{len(joins)} joined, of the {charter.n_min} that the charter asks for",
            )
            return
        _publish_cohort(service, session, attempt, charter, joins)


def close(service: Service, session: Session, attempt: AttemptRow, cause: str, reason: str) -> None:
    """End an attempt without a sum, signed; reservations lapse where no cohort was published."""
    body = Close(charter=attempt.charter, plan=attempt.round, cause=cause, reason=reason)  # type: ignore[arg-type]
    if attempt.cohort is None:
        charter = charter_of(session, attempt.charter)
        ledger.settle(session, charter, plan_of(attempt), attempt.round, frozenset(), service.now())
    alarming.attempt_closed(session, attempt, cause, service.now())
    attempt.close = sign(body, SERVER, service.keys.server).canonical_bytes
    move(session, attempt, RoundState.CLOSED, service.clock.now())


def _publish_cohort(
    service: Service, session: Session, attempt: AttemptRow, charter: Charter, joins: list[JoinRow]
) -> None:
    check_cohort_size(len(joins), charter.n_min, charter.colluders)
    cohort = Cohort(
        charter=attempt.charter,
        plan=attempt.round,
        members=tuple(CohortMember(partner=row.partner, join=row.digest) for row in joins),
    )
    ledger.settle(session, charter, plan_of(attempt), attempt.round, frozenset(cohort.partners), service.now())
    signed = sign(cohort, SERVER, service.keys.server)
    attempt.cohort = signed.canonical_bytes
    attempt.cohort_digest = signed.digest
    move(session, attempt, RoundState.UPLOADING, service.clock.now())
