"""Taking a plan: a round attempt begins (protocol 4).

Rules:
1. A plan is the operator's, keeps to the charter in force and to a countersigned campaign (check_plan).
2. It starts from the genesis or from a state that a quorum confirmed in a training round of this campaign.
3. One attempt of a campaign is open at a time, and attempt numbers of a round only grow.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from aggregator.rounds.records import LIFECYCLE, campaign_row, campaign_topic, charter_in_force
from aggregator.storage.database import announce
from aggregator.storage.service import Service, stored
from aggregator.storage.tables import AttemptRow, StageRow
from privacy.errors import Conflict, DeadlinePassed, NotFound, TooLarge, WrongState
from privacy.he.lanes import LaneLayout
from privacy.he.parameters import POLYNOMIAL_BYTES
from privacy.protocol.messages import Campaign, Charter, Plan, Signed
from privacy.protocol.plan_checks import check_plan
from privacy.protocol.round_state import RoundState

_OPEN = (RoundState.JOINING, RoundState.UPLOADING, RoundState.SUMMING, RoundState.OPENING)


def admit(service: Service, signed: Signed[Plan]) -> str:
    """Open the attempt that this plan describes; gives R."""
    round_digest = signed.digest
    body = signed.body
    with service.database.write() as session:
        if session.get(AttemptRow, round_digest) is not None:
            return round_digest
        _, charter = charter_in_force(session)
        campaign = campaign_row(session, body.campaign)
        if not campaign.in_force:
            raise WrongState(
                "a campaign signed by lead and operator", "one by the lead alone", "countersign it first"
            )
        genesis = stored(Campaign, campaign.message).body
        plan = check_plan(signed, charter, genesis, service.verifier)
        _check_size(service, plan, charter)
        now = service.now()
        if plan.deadlines.join <= now:
            raise DeadlinePassed("a join deadline to come", f"{plan.deadlines.join}, now {now}", "sign a new plan")
        _check_place(session, plan)
        _check_base_state(session, plan, genesis.genesis)
        begin(session, signed, service.settings.shard_bytes, service.clock.now(), kept=True)
        announce(session, campaign_topic(plan.campaign), LIFECYCLE)
    return round_digest


def begin(session: Session, signed: Signed[Plan], shard_bytes: int, entered: float, *, kept: bool) -> None:
    """The rows of an attempt that waits for joins. kept: whether uploads and sums will lie on this disk."""
    plan = signed.body
    last = session.scalar(select(func.max(AttemptRow.sequence)).where(AttemptRow.campaign == plan.campaign))
    session.add(
        AttemptRow(
            round=signed.digest,
            campaign=plan.campaign,
            charter=plan.charter,
            sequence=(last or 0) + 1,
            number=plan.round,
            attempt=plan.attempt,
            state=RoundState.JOINING.value,
            version=1,
            shard_bytes=shard_bytes,
            plan=signed.canonical_bytes,
            join_deadline=plan.deadlines.join,
            upload_deadline=plan.deadlines.upload,
            open_deadline=plan.deadlines.open,
            uploads_kept=kept,
            sums_kept=kept,
        )
    )
    session.flush()
    session.add(StageRow(round=signed.digest, state=RoundState.JOINING.value, entered=entered))


@dataclass(frozen=True)
class ListedAttempt:
    round: str
    number: int
    attempt: int
    state: str


def listed(session: Session, campaign: str, after: int) -> list[ListedAttempt]:
    """The campaign's attempts in the order posted, those after the `after`-th, without the messages they carry."""
    rows = session.execute(
        select(AttemptRow.round, AttemptRow.number, AttemptRow.attempt, AttemptRow.state)
        .where(AttemptRow.campaign == campaign, AttemptRow.sequence > after)
        .order_by(AttemptRow.sequence)
    )
    return [ListedAttempt(row.round, row.number, row.attempt, row.state) for row in rows]


def upload_words(plan: Plan, charter: Charter) -> int:
    """Coefficients, so 8-byte words, of one upload of this plan."""
    lanes = LaneLayout(plan.layout.lane_width, charter.n_max)
    return lanes.polynomials(plan.layout.length) * (POLYNOMIAL_BYTES // 8)


def _check_size(service: Service, plan: Plan, charter: Charter) -> None:
    shards = -(-8 * upload_words(plan, charter) // service.settings.shard_bytes)
    if shards > service.settings.max_shards:
        raise TooLarge(
            f"a vector of at most {service.settings.max_shards} shards",
            f"{shards}",
            "raise shard_bytes or max_shards",
        )


def _check_place(session: Session, plan: Plan) -> None:
    of_campaign = select(AttemptRow).where(AttemptRow.campaign == plan.campaign)
    still_open = session.scalars(of_campaign.where(AttemptRow.state.in_([s.value for s in _OPEN])).limit(1)).first()
    if still_open is not None:
        raise WrongState(
            "no open attempt in this campaign",
            f"round {still_open.number} attempt {still_open.attempt} is {still_open.state}",
            "wait until it ends, or abort it",
        )
    last = session.scalar(
        select(func.max(AttemptRow.attempt)).where(
            AttemptRow.campaign == plan.campaign, AttemptRow.number == plan.round
        )
    )
    if last is not None and plan.attempt <= last:
        raise Conflict(
            f"an attempt of round {plan.round} above {last}",
            str(plan.attempt),
            "attempt numbers never repeat: count on",
        )


def _check_base_state(session: Session, plan: Plan, genesis: str) -> None:
    if plan.base_state == genesis:
        return
    rows = session.scalars(
        select(AttemptRow).where(
            AttemptRow.campaign == plan.campaign, AttemptRow.confirmed_state == plan.base_state
        )
    )
    if not any(stored(Plan, row.plan).body.kind == "training" for row in rows):
        raise NotFound(
            "the genesis, or a state that a quorum confirmed in this campaign",
            plan.base_state[:16],
            "start from the last confirmed state",
        )
