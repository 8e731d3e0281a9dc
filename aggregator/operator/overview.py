"""Everything `status` shows, gathered once: charter, roster, campaigns, rounds by state, budgets.

Epsilons are what the charges in the service's ledger cost, "as if the number of rounds had been fixed"
(protocol 6.4); the guarantee is the cap. They are the service's word: each partner's own ledger is the other.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from aggregator.operator.answers import Participant, RoundSummary
from aggregator.operator.session import OperatorSession
from aggregator.operator.trusted import enrolment_of, signed_charter
from privacy.dp.accountant import epsilon
from privacy.dp.events import Guarantee
from privacy.protocol.messages import Charter
from privacy.protocol.round_state import RoundState
from privacy.protocol.words import words


@dataclass(frozen=True)
class CharterView:
    charter: str
    words: str
    consortium: str
    epoch: int
    in_force: bool
    accepted: tuple[str, ...]
    missing: tuple[str, ...]


@dataclass(frozen=True)
class CampaignView:
    campaign: str
    name: str
    in_force: bool
    rounds: dict[str, int]
    last_confirmed: int


@dataclass(frozen=True)
class BudgetView:
    """Epsilons at the partner's own delta; None where an event of kind none was charged: no epsilon holds."""

    partner: str
    charged: dict[str, int]
    reserved: dict[str, int]
    left: dict[str, int]
    delta: float
    epsilon_in_sum: float | None
    cap_in_sum: float
    epsilon_alone: float | None
    cap_alone: float


@dataclass(frozen=True)
class Overview:
    service: str
    version: str
    charter: CharterView | None
    enrolments: Mapping[str, str]
    campaigns: tuple[CampaignView, ...]
    budgets: tuple[BudgetView, ...]


def overview(session: OperatorSession) -> Overview:
    about = session.client.about()
    record = session.charter_record()
    charter = None if record is None else signed_charter(record, session.key.public)
    view = None
    if record is not None and charter is not None:
        accepted = tuple(sorted(record.acceptances))
        view = CharterView(
            charter=charter.digest,
            words=words(charter.digest),
            consortium=charter.consortium,
            epoch=charter.epoch,
            in_force=record.in_force,
            accepted=accepted,
            missing=tuple(name for name in charter.partners if name not in accepted),
        )
    enrolments = {enrolment_of(record).partner: record.state for record in session.client.enrolments()}
    # The service tells budgets under the charter in force, and there is none before that.
    in_force = record is not None and record.in_force
    budgets = budget_views(charter, session.client.budgets()) if charter is not None and in_force else ()
    return Overview(session.folder.settings.url, about.version, view, enrolments, _campaigns(session), budgets)


def budget_views(charter: Charter, participants: Sequence[Participant]) -> tuple[BudgetView, ...]:
    """One a partner of the charter, in the service's order."""
    return tuple(
        _budget(charter, participant) for participant in participants if participant.partner in charter.partners
    )


def _budget(charter: Charter, participant: Participant) -> BudgetView:
    caps = charter.entry(participant.partner).caps
    events = {row.name: row.event for row in charter.table}
    spent = [(events[row.name], row.charged) for row in participant.rows if row.name in events]

    def cost(guarantee: Guarantee) -> float | None:
        found = epsilon(spent, caps.delta, guarantee, charter.honest)
        return found if math.isfinite(found) else None

    return BudgetView(
        partner=participant.partner,
        charged={row.name: row.charged for row in participant.rows},
        reserved={row.name: row.reserved for row in participant.rows},
        left={row.name: row.left for row in participant.rows},
        delta=caps.delta,
        epsilon_in_sum=cost(Guarantee.IN_SUM),
        cap_in_sum=caps.epsilon_in_sum,
        epsilon_alone=cost(Guarantee.ALONE),
        cap_alone=caps.epsilon_alone,
    )


def _campaigns(session: OperatorSession) -> tuple[CampaignView, ...]:
    views = []
    for summary in session.client.campaigns():
        attempts = session.client.rounds(summary.campaign)
        views.append(
            CampaignView(
                campaign=summary.campaign,
                name=summary.name,
                in_force=summary.in_force,
                rounds=dict(Counter(str(attempt.state) for attempt in attempts)),
                last_confirmed=_last_trained(session, attempts),
            )
        )
    return tuple(views)


def _last_trained(session: OperatorSession, attempts: Sequence[RoundSummary]) -> int:
    """The number of the last round that moved the model; a statistics round goes by that of the next one."""
    confirmed = [attempt for attempt in attempts if attempt.state is RoundState.CONFIRMED]
    newest = sorted(confirmed, key=lambda attempt: (attempt.number, attempt.attempt), reverse=True)
    trained = (one.number for one in newest if session.client.round(one.round).plan.body.kind == "training")
    return next(trained, 0)
