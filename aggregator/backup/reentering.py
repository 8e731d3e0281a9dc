"""Attempts, charges and officers' decisions as they were before a service lost its memory, back in its database.

Rules:
1. An attempt is confirmed if a cohort that the service signed and t of its members' confirmations of one seal and
   state are at hand (protocol 4.5). Every other that was open, or was lost, is closed by the server's signature: no
   attempt is opened again, and its number stays used.
2. Spent is what anyone can prove: every member of a signed cohort is charged, and what a partner's own chain holds.
   Reservations of an attempt without a cohort lapse only where the participant's own chain says that it was not
   charged; of a participant whose chain is not at hand they are charged.
3. Bulk is not brought back: whoever had not decoded fetches the state from another partner.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from aggregator.backup.evidence import Evidence, LostAttempt
from aggregator.rounds.admission import begin
from aggregator.rounds.records import cohort_of, plan_of, state_of
from aggregator.settings import Settings
from aggregator.storage import alarms, ledger
from aggregator.storage.service import stored
from aggregator.storage.tables import (
    AlarmRow,
    AttemptRow,
    CampaignRow,
    ConfirmationRow,
    HoldingRow,
    JoinRow,
    StageRow,
    SuspensionRow,
    TightenedCapRow,
    UploadRow,
)
from privacy.dp.budget import HoldingState
from privacy.errors import Conflict, RolledBack
from privacy.ledger.entry import BudgetChange, LedgerEntry
from privacy.protocol.identifiers import SERVER
from privacy.protocol.messages import Charter, Close, Cohort, Confirmation, Plan, Seal, Signed
from privacy.protocol.round_state import RoundState, quorum
from privacy.protocol.signing import SigningKey, sign

REASON = "the service's database was restored from a backup that lacks this"


def follow_action(session: Session, entry: LedgerEntry) -> None:
    """Take up what an officer's action changed, from the entry that says so."""
    action, participant = entry.action, entry.participant
    if action is None:
        return
    if action.what == "acknowledge" and action.alarm is not None:
        if session.get(AlarmRow, action.alarm) is not None:
            alarms.acknowledge(session, action.alarm, action.officer, entry.reason, entry.at)
        return
    assert participant is not None  # every other action is about one, which verification has seen
    row = session.get(SuspensionRow, participant)
    if action.what == "suspend" and row is None:
        session.add(
            SuspensionRow(participant=participant, at=entry.at, officer=action.officer, reason=entry.reason)
        )
    elif action.what == "propose-resume" and row is not None:
        row.proposed_by, row.proposed_at, row.proposed_reason = action.officer, entry.at, entry.reason
    elif action.what == "resume" and row is not None:
        session.delete(row)
    elif action.what == "tighten" and action.caps is not None:
        caps = session.get(TightenedCapRow, (entry.charter, participant))
        if caps is None:
            caps = TightenedCapRow(charter=entry.charter, participant=participant)
            session.add(caps)
        caps.at, caps.officer = entry.at, action.officer
        caps.caps = action.caps.model_dump_json().encode()
        caps.limits = json.dumps({limit.row: limit.count for limit in action.limits}).encode()
    session.flush()


def enter_campaigns(session: Session, evidence: Evidence) -> None:
    """Campaigns that operator and lead had signed; one that was still waiting for the operator is in force now."""
    for digest, signed in evidence.campaigns.items():
        row = session.get(CampaignRow, digest)
        if row is None:
            count = session.scalar(select(func.count()).select_from(CampaignRow)) or 0
            row = CampaignRow(digest=digest, sequence=count + 1, charter=signed.body.charter)
            session.add(row)
        row.message, row.in_force = signed.canonical_bytes, True
        session.flush()


def enter_attempts(
    session: Session,
    evidence: Evidence,
    charters: Mapping[str, Charter],
    settings: Settings,
    key: SigningKey,
    at: int,
) -> tuple[int, int]:
    """Rule 1: how many are confirmed by it, and how many closed."""
    lost = sorted(
        (found for digest, found in evidence.attempts.items() if session.get(AttemptRow, digest) is None),
        key=lambda found: (found.plan.body.campaign, found.plan.body.round, found.plan.body.attempt),
    )
    for found in lost:
        _add(session, found.plan, settings, at)
    ended = Counter[RoundState]()
    for attempt in session.scalars(select(AttemptRow).order_by(AttemptRow.campaign, AttemptRow.sequence)).all():
        known = evidence.attempts.get(attempt.round)
        charter = charters[attempt.charter]
        if state_of(attempt) in (RoundState.CONFIRMED, RoundState.CLOSED):
            if known is not None:
                _keep_confirmations(session, attempt, known)
            continue
        if known is not None:
            _keep_cohort(session, attempt, known)
        if known is not None and _confirm(session, attempt, known, charter):
            ended[RoundState.CONFIRMED] += 1
        elif not state_of(attempt).ended:
            body = Close(charter=attempt.charter, plan=attempt.round, cause="aborted", reason=REASON)
            attempt.close = sign(body, SERVER, key).canonical_bytes
            attempt.state = RoundState.CLOSED.value
            ended[RoundState.CLOSED] += 1
        else:
            continue
        attempt.version += 1
        session.add(StageRow(round=attempt.round, state=attempt.state, entered=float(at)))
        session.flush()
    return ended[RoundState.CONFIRMED], ended[RoundState.CLOSED]


def enter_charges(session: Session, evidence: Evidence, charters: Mapping[str, Charter], at: int) -> int:
    """Rule 2; how many charges were appended as recovered."""
    appended = 0
    for attempt in session.scalars(select(AttemptRow).order_by(AttemptRow.campaign, AttemptRow.sequence)).all():
        if attempt.cohort is None:
            continue
        change, charter = _change(plan_of(attempt)), charters[attempt.charter]
        for name in cohort_of(attempt).partners:
            appended += ledger.recover(session, charter, change, name, at, "a member of a cohort that was signed")
    for name, entries in evidence.own.items():
        for entry in entries:
            if entry.budget is not None and entry.charter in charters:
                reason = "this participant's own chain proves this charge"
                appended += ledger.recover(session, charters[entry.charter], entry.budget, name, at, reason)
    _settle_reservations(session, evidence, charters, at)
    return appended


def _settle_reservations(session: Session, evidence: Evidence, charters: Mapping[str, Charter], at: int) -> None:
    reserved = session.scalars(
        select(HoldingRow.round).where(HoldingRow.state == HoldingState.RESERVED.value).distinct()
    ).all()
    for round_digest in sorted(reserved):
        attempt = session.get(AttemptRow, round_digest)
        if attempt is None:
            raise RolledBack(
                f"the plan of attempt {round_digest[:16]}, which the handed back entries reserve for",
                "none in any file",
                "give the operator's record of plans too (--plans)",
            )
        names = session.scalars(
            select(HoldingRow.participant).where(
                HoldingRow.round == round_digest, HoldingRow.state == HoldingState.RESERVED.value
            )
        ).all()
        # Whoever is in a signed cohort is charged by now: what is left of one is of those who came too late.
        unknown = () if attempt.cohort is not None else set(names) - set(evidence.own)
        ledger.settle(session, charters[attempt.charter], plan_of(attempt), round_digest, frozenset(unknown), at)


def _add(session: Session, signed: Signed[Plan], settings: Settings, at: int) -> None:
    plan = signed.body
    if session.get(CampaignRow, plan.campaign) is None:
        raise RolledBack(
            f"campaign {plan.campaign[:16]} of a plan that was posted",
            "none in this backup or in any file",
            "give the file of a partner that worked for it, or restore a newer backup",
        )
    used = select(AttemptRow.round).where(
        AttemptRow.campaign == plan.campaign, AttemptRow.number == plan.round, AttemptRow.attempt == plan.attempt
    )
    if session.scalars(used).first() is not None:
        raise Conflict(
            f"one plan of round {plan.round}, attempt {plan.attempt}",
            f"two that the operator signed, the second {plan.digest[:16]}",
            "go on with nothing: find out who had the operator's key",
        )
    begin(session, signed, settings.shard_bytes, float(at), kept=False)


def _keep_cohort(session: Session, attempt: AttemptRow, known: LostAttempt) -> None:
    if known.cohort is None:
        return
    if attempt.cohort is not None:
        if attempt.cohort_digest != known.cohort.digest:
            raise Conflict(
                f"the cohort of attempt {attempt.round[:16]} that this backup holds",
                "another that the service signed",
                "go on with nothing: show every partner both, and find out who had the online key",
            )
        return
    for join in known.joins.values():
        row = session.get(JoinRow, (attempt.round, join.body.partner))
        if row is None:
            row = JoinRow(round=attempt.round, partner=join.body.partner)
            session.add(row)
        row.digest, row.message = join.digest, join.canonical_bytes
    attempt.cohort, attempt.cohort_digest = known.cohort.canonical_bytes, known.cohort.digest
    session.flush()


def _confirm(session: Session, attempt: AttemptRow, known: LostAttempt, charter: Charter) -> bool:
    """Whether t members of J signed one state of one seal that is at hand; the attempt is confirmed then."""
    if attempt.cohort is None:
        return False
    members = stored(Cohort, attempt.cohort).body.partners
    seals = dict(known.seals)
    if attempt.seal is not None:
        seals[str(attempt.seal_digest)] = stored(Seal, attempt.seal)
    votes: dict[tuple[str, str], set[str]] = {}
    for signed in known.confirmations:
        if signed.body.partner in members and signed.body.seal in seals:
            votes.setdefault((signed.body.seal, signed.body.state), set()).add(signed.body.partner)
    needed = quorum(len(members), charter.colluders)
    agreed = [vote for vote, names in votes.items() if len(names) >= needed]
    if len(agreed) != 1 or seals[agreed[0][0]].body.cohort != attempt.cohort_digest:
        return False
    seal, state = agreed[0]
    attempt.seal, attempt.seal_digest = seals[seal].canonical_bytes, seal
    attempt.confirmed_state, attempt.state = state, RoundState.CONFIRMED.value
    for name in seals[seal].body.partners:
        upload = session.get(UploadRow, (attempt.round, name))
        if upload is not None:
            upload.in_seal = True
    _keep_confirmations(session, attempt, known)
    return True


def _keep_confirmations(session: Session, attempt: AttemptRow, known: LostAttempt) -> None:
    """Those of the attempt's own seal that countersign the chain as it stands, one of each partner."""
    if attempt.seal is None:
        return
    contributors = stored(Seal, attempt.seal).body.partners
    agreeing = sorted(known.confirmations, key=lambda signed: signed.body.state != attempt.confirmed_state)
    for signed in agreeing:
        body: Confirmation = signed.body
        there = session.get(ConfirmationRow, (attempt.round, body.partner)) is not None
        on_chain = ledger.head_at(session, body.checkpoint.count) == body.checkpoint.head
        if there or not on_chain or body.seal != attempt.seal_digest:
            continue
        session.add(
            ConfirmationRow(
                round=attempt.round,
                partner=body.partner,
                digest=signed.digest,
                state=body.state,
                complete=tuple(item.partner for item in body.fingerprints) == contributors,
                countersigned=body.checkpoint.count,
                message=signed.canonical_bytes,
            )
        )
        session.flush()


def _change(plan: Plan) -> BudgetChange:
    """What a charge for this plan says; row and totals are found where it is written."""
    return BudgetChange(
        plan=plan.digest, round=plan.round, attempt=plan.attempt, event=plan.event, row="", charged=0, reserved=0
    )
