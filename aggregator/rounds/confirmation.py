"""Confirmations and void votes: how an opened attempt ends (protocol 4.5).

Rules:
1. An attempt is confirmed when t members of J name the same state. Later confirmations are taken as well: what they
   say decides what may be deleted, and who must fetch the state anew.
2. It is void when t members of J say that no decoding works, over t openings or, once the open deadline has passed,
   over those that came. A later valid decoding overrides that until a later attempt's cohort is published.
3. A confirmation countersigns our chain: its checkpoint must lie on it.
4. It says what the probes showed if and only if the plan has probes; whatever it says is kept and shown.
"""

from __future__ import annotations

from collections import Counter

from sqlalchemy import select
from sqlalchemy.orm import Session

from aggregator.rounds import alarming
from aggregator.rounds.opening import openings_of
from aggregator.rounds.records import (
    changed,
    charter_of,
    cohort_of,
    find,
    move,
    plan_of,
    require_member,
    require_roster,
    state_of,
)
from aggregator.storage import ledger
from aggregator.storage.service import Service, stored
from aggregator.storage.tables import AttemptRow, ConfirmationRow, VoidRow
from privacy.errors import Conflict, LedgerBroken, MalformedMessage, WrongState
from privacy.protocol.messages import Charter, Confirmation, Plan, Seal, Signed, VoidVote
from privacy.protocol.round_state import RoundState, check_void_vote, quorum, require


def confirm(service: Service, round_digest: str, partner: str, signed: Signed[Confirmation]) -> None:
    """Take a roster partner's confirmation; the attempt is confirmed once t of J agree."""
    try:
        _confirm(service, round_digest, partner, signed)
    except LedgerBroken:
        with service.database.read() as session:
            attempt = find(session, round_digest)
        alarming.checkpoint_differs(service, attempt, partner, signed.body.checkpoint)
        raise


def _confirm(service: Service, round_digest: str, partner: str, signed: Signed[Confirmation]) -> None:
    with service.database.write() as session:
        attempt = find(session, round_digest, lock=True)
        charter = charter_of(session, attempt.charter)
        require_roster(charter, partner)
        before = session.get(ConfirmationRow, (round_digest, partner))
        if before is not None:
            if before.digest != signed.digest:
                raise Conflict(
                    f"the confirmation that {partner} sent first", "another", "leave it: the first is kept"
                )
            return
        require(state_of(attempt), RoundState.OPENING, RoundState.CONFIRMED, RoundState.VOID)
        body = _check_confirmation(service, session, attempt, charter, partner, signed)
        if state_of(attempt) is RoundState.VOID and _later_cohort(session, attempt):
            raise WrongState(
                "a void attempt after which no cohort was published",
                "one that a later attempt has replaced",
                "return to the state that the later plan names",
            )
        contributors = stored(Seal, attempt.seal or b"").body.partners
        session.add(
            ConfirmationRow(
                round=round_digest,
                partner=partner,
                digest=signed.digest,
                state=body.state,
                complete=tuple(item.partner for item in body.fingerprints) == contributors,
                countersigned=body.checkpoint.count,
                message=signed.canonical_bytes,
                received=service.now(),
            )
        )
        alarming.noise_found(session, attempt, body, service.now())
        changed(session, attempt)
        session.flush()
        _settle(service, session, attempt, charter)
        alarming.states_compared(
            session,
            attempt,
            cohort_of(attempt).partners,
            confirmations_of(session, round_digest),
            service.now(),
        )


def confirmations_of(session: Session, round_digest: str) -> list[ConfirmationRow]:
    return list(
        session.scalars(
            select(ConfirmationRow).where(ConfirmationRow.round == round_digest).order_by(ConfirmationRow.partner)
        )
    )


def vote_void(service: Service, round_digest: str, partner: str, signed: Signed[VoidVote]) -> None:
    """Take a member's vote that no decoding works; the attempt is void once t of J say so."""
    with service.database.write() as session:
        attempt = find(session, round_digest, lock=True)
        charter = charter_of(session, attempt.charter)
        cohort = cohort_of(attempt)
        require_member(cohort, partner)
        before = session.get(VoidRow, (round_digest, partner))
        if before is not None:
            if before.digest != signed.digest:
                raise Conflict(f"the vote that {partner} sent first", "another", "leave it: the first is kept")
            return
        require(state_of(attempt), RoundState.OPENING)
        body = service.verifier.verify(signed, {partner: charter.entry(partner).signing_keys})
        here = (attempt.charter, round_digest, attempt.seal_digest, partner)
        if (body.charter, body.plan, body.seal, body.partner) != here:
            raise Conflict(f"a void vote by {partner} on this seal", "another", "sign it for this attempt's seal")
        needed = quorum(len(cohort.members), charter.colluders)
        known = {row.digest for row in openings_of(session, round_digest)}
        if not set(body.openings) <= known:
            raise MalformedMessage("digests of stored openings", "others", "list the openings that you fetched")
        check_void_vote(len(set(body.openings)), needed, attempt.open_deadline, service.now())
        session.add(
            VoidRow(
                round=round_digest,
                partner=partner,
                digest=signed.digest,
                message=signed.canonical_bytes,
                received=service.now(),
            )
        )
        changed(session, attempt)
        session.flush()
        if len(voids_of(session, round_digest)) >= needed:
            move(session, attempt, RoundState.VOID, service.clock.now())
            alarming.attempt_void(session, attempt, service.now())


def voids_of(session: Session, round_digest: str) -> list[VoidRow]:
    return list(session.scalars(select(VoidRow).where(VoidRow.round == round_digest).order_by(VoidRow.partner)))


def _settle(service: Service, session: Session, attempt: AttemptRow, charter: Charter) -> None:
    if state_of(attempt) is RoundState.CONFIRMED:
        return
    members = cohort_of(attempt).partners
    named = Counter(row.state for row in confirmations_of(session, attempt.round) if row.partner in members)
    state, count = named.most_common(1)[0] if named else ("", 0)
    if count >= quorum(len(members), charter.colluders):
        attempt.confirmed_state = state
        move(session, attempt, RoundState.CONFIRMED, service.clock.now())


def _later_cohort(session: Session, attempt: AttemptRow) -> bool:
    query = select(AttemptRow.round).where(
        AttemptRow.campaign == attempt.campaign,
        AttemptRow.sequence > attempt.sequence,
        AttemptRow.cohort.is_not(None),
    )
    return session.scalars(query.limit(1)).first() is not None


def _check_confirmation(
    service: Service,
    session: Session,
    attempt: AttemptRow,
    charter: Charter,
    partner: str,
    signed: Signed[Confirmation],
) -> Confirmation:
    body = service.verifier.verify(signed, {partner: charter.entry(partner).signing_keys})
    here = (attempt.charter, attempt.round, attempt.seal_digest, partner)
    if (body.charter, body.plan, body.seal, body.partner) != here:
        raise Conflict(
            f"a confirmation by {partner} of this attempt's seal",
            f"one by {body.partner} of seal {body.seal[:16]}",
            "confirm the seal that the round document shows",
        )
    contributors = stored(Seal, attempt.seal or b"").body.partners
    if not {item.partner for item in body.fingerprints} <= set(contributors):
        raise MalformedMessage("fingerprints of contributors", "one of somebody else", "list those of the seal")
    _check_probes(plan_of(attempt), body)
    if ledger.head_at(session, body.checkpoint.count) != body.checkpoint.head:
        raise LedgerBroken(
            body.checkpoint.count,
            "a checkpoint on the consortium's chain",
            f"head {body.checkpoint.head[:16]} at {body.checkpoint.count}",
            "fetch the ledger and verify it; if it differs from what was seen before, raise the alarm",
        )
    return body


def _check_probes(plan: Plan, body: Confirmation) -> None:
    """Rule 4."""
    expected = plan.layout.probes if plan.event.kind in ("distributed", "statistics") else 0
    came = 0 if body.probes is None else body.probes.total_probes
    if (expected == 0) != (body.probes is None) or came < expected:
        raise MalformedMessage(
            f"figures over at least {expected} probes" if expected else "no probe figures: this plan has no probes",
            f"figures over {came}",
            "test the probes of the sum as protocol 6.2 says",
        )
