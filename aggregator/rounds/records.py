"""Round attempts as they stand in the database, and the one way to move them.

Rules:
1. A move is legal by round_state, and is one conditional UPDATE: of two that race, one finds the state gone.
2. Every change grows the attempt's version and is announced to whoever waits on the round, and to the lifecycle.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from aggregator.storage.database import announce
from aggregator.storage.service import stored
from aggregator.storage.tables import AttemptRow, CampaignRow, CharterRow, StageRow
from privacy.errors import NotAllowed, NotFound, WrongState
from privacy.protocol.identifiers import OPERATOR
from privacy.protocol.messages import Campaign, Charter, Cohort, Plan
from privacy.protocol.round_state import RoundState, check_move

LIFECYCLE = "lifecycle"
CHARTERS = "charters"
ENROLMENTS = "enrolments"


def round_topic(round_digest: str) -> str:
    return f"round:{round_digest}"


def state_topic(round_digest: str) -> str:
    """For who waits on the attempt's next state alone: what n partners do in one state does not wake n of them."""
    return f"round-state:{round_digest}"


def campaign_topic(campaign: str) -> str:
    return f"campaign:{campaign}"


def find(session: Session, round_digest: str, *, lock: bool = False) -> AttemptRow:
    """The attempt named R; with `lock`, held against other writers until the transaction ends."""
    query = select(AttemptRow).where(AttemptRow.round == round_digest)
    row = session.scalars(query.with_for_update() if lock else query).first()
    if row is None:
        raise _unknown(round_digest)
    return row


def _unknown(round_digest: str) -> NotFound:
    return NotFound("a round attempt of this service", round_digest[:16], "read the campaign's list of rounds")


@dataclass(frozen=True)
class Standing:
    """What tells whether there is news of an attempt, and for whom; read without the messages that it carries."""

    charter: str
    version: int
    state: RoundState


def standing_of(session: Session, round_digest: str) -> Standing:
    row = session.execute(
        select(AttemptRow.charter, AttemptRow.version, AttemptRow.state).where(AttemptRow.round == round_digest)
    ).one_or_none()
    if row is None:
        raise _unknown(round_digest)
    return Standing(row.charter, row.version, RoundState(row.state))


def state_of(attempt: AttemptRow) -> RoundState:
    return RoundState(attempt.state)


def plan_of(attempt: AttemptRow) -> Plan:
    return stored(Plan, attempt.plan).body


def cohort_of(attempt: AttemptRow) -> Cohort:
    """Raises WrongState before the cohort is published."""
    if attempt.cohort is None:
        raise WrongState(
            "an attempt with a published cohort", f"one that is {attempt.state}", "wait for the cohort"
        )
    return stored(Cohort, attempt.cohort).body


def charter_of(session: Session, digest: str) -> Charter:
    row = session.get(CharterRow, digest)
    if row is None:
        raise NotFound("a charter of this service", digest[:16], "fetch the latest charter")
    return stored(Charter, row.message).body


def charter_in_force(session: Session) -> tuple[str, Charter]:
    """(digest, charter) of the newest epoch that everyone signed."""
    row = session.scalars(
        select(CharterRow).where(CharterRow.in_force).order_by(CharterRow.sequence.desc()).limit(1)
    ).first()
    if row is None:
        raise WrongState("a charter that every partner has signed", "none yet", "wait for the acceptances")
    return row.digest, stored(Charter, row.message).body


def campaign_row(session: Session, digest: str) -> CampaignRow:
    row = session.get(CampaignRow, digest)
    if row is None:
        raise NotFound("a campaign of this service", digest[:16], "read the list of campaigns")
    return row


def campaign_of(session: Session, digest: str) -> Campaign:
    return stored(Campaign, campaign_row(session, digest).message).body


def require_roster(charter: Charter, partner: str) -> None:
    if partner not in charter.partners:
        raise NotAllowed("a partner of the charter's roster", partner, "be enrolled, and named in a charter, first")


def require_view(session: Session, charter: str, identity: str) -> None:
    """What happens under a charter is shown to its roster and to the operator."""
    if identity != OPERATOR:
        require_roster(charter_of(session, charter), identity)


def require_member(cohort: Cohort, partner: str) -> None:
    if partner not in cohort.partners:
        raise NotAllowed("a member of this attempt's cohort", partner, "join the next attempt in time")


def changed(session: Session, attempt: AttemptRow) -> None:
    """The round document shows something new. Who waits for a campaign's next plan has no use for it."""
    attempt.version += 1
    announce(session, round_topic(attempt.round), LIFECYCLE)


def move(session: Session, attempt: AttemptRow, target: RoundState, now: float) -> None:
    """One legal move. Raises WrongState where it is none, or another transaction was first."""
    current = state_of(attempt)
    check_move(current, target)
    session.flush()
    moved = session.execute(
        update(AttemptRow)
        .where(AttemptRow.round == attempt.round, AttemptRow.state == current.value)
        .values(state=target.value)
        .returning(AttemptRow.round)
    ).all()
    if not moved:
        raise WrongState(f"an attempt that is {current}", "one that has moved on", "read the round's state again")
    session.refresh(attempt)
    stage = session.get(StageRow, (attempt.round, target.value))
    if stage is None:
        session.add(StageRow(round=attempt.round, state=target.value, entered=now))
    changed(session, attempt)
    announce(session, state_topic(attempt.round))
