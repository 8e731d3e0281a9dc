"""What the console shows, read from the database: figures for those that a session's scope covers.

Rules:
1. A partner's officer sees that partner's budget alone; rounds are known to every partner, and shown to all.
2. The chain is read once: `Standings` keeps a tally, and reads on from where it stopped.
3. It computes for milliseconds to seconds: pages call it from worker threads, never from the event loop.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from fastapi import Request
from sqlalchemy import select
from sqlalchemy.orm import Session

from aggregator.rounds import charter as charters
from aggregator.rounds.records import charter_in_force, plan_of
from aggregator.storage import alarms, ledger, oversight
from aggregator.storage.service import Service, stored
from aggregator.storage.sessions import Viewer
from aggregator.storage.tables import AttemptRow, CharterRow
from privacy.dp.events import PrivacyEvent
from privacy.errors import LedgerBroken
from privacy.ledger.chain import ChainVerifier
from privacy.protocol.messages import ChainHead, Charter, Cohort, Seal
from privacy.protocol.round_state import RoundState
from privacy.report.budget_report import BudgetReport, Lifetime, ParticipantBudget
from privacy.report.build import framed
from privacy.report.happened import Outcomes
from privacy.report.in_effect import tightened
from privacy.report.lifetime import Lifetimes
from privacy.report.participant_figures import participant_budget
from privacy.report.tally import Charge, Tally

RECENT_ROUNDS = 12
_PAGE = 2000
_PLANS_LOOKED_AT = 50


@dataclass(frozen=True)
class RoundLine:
    """An attempt in the list of rounds."""

    digest: str
    number: int
    attempt: int
    state: RoundState
    join_deadline: int
    cohort: tuple[str, ...]
    contributors: int | None
    kind: str


@dataclass(frozen=True)
class Pending:
    """No charter is in force: how far the newest draft has come."""

    consortium: str | None
    signed: int
    total: int


@dataclass(frozen=True)
class Overview:
    """report: without curves and entries. states: message ids, by partner."""

    report: BudgetReport
    states: dict[str, str]
    rounds: tuple[RoundLine, ...]
    outside: bool
    waiting: int = 0
    forecasts: Mapping[str, int | None] = field(default_factory=dict)

    @property
    def explained(self) -> ParticipantBudget | None:
        """Whose epsilon is put into words: the one of which most is spent."""
        return max(self.report.participants, key=_spent, default=None)


class Standings:
    """The tally of the charter in force, and of lifetimes, kept between requests of one service."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._lock = threading.Lock()
        self._tally = Tally("")
        self._lifetimes = Lifetimes()
        self._chain = ChainVerifier()

    def overview(self, viewer: Viewer) -> Overview | Pending:
        """What this officer sees. Raises AccountingFailed."""
        with self._service.database.read() as session:
            in_force = session.scalars(
                select(CharterRow).where(CharterRow.in_force).order_by(CharterRow.sequence.desc()).limit(1)
            ).first()
            if in_force is None:
                return _pending(session)
            charter = stored(Charter, in_force.message).body
            attempts = session.scalars(
                select(AttemptRow)
                .order_by(AttemptRow.join_deadline.desc(), AttemptRow.sequence.desc())
                .limit(RECENT_ROUNDS)
            ).all()
            outcomes = outcomes_of(session, in_force.digest)
            with self._lock:
                tally = self._up_to_date(session, in_force.digest)
                effective = {name: in_effect(session, in_force.digest, charter, name) for name in charter.partners}
                stopped = oversight.suspended(session)
                waiting = alarms.count_alarms(
                    session, None if viewer.whole_consortium else viewer.scope, waiting=True
                )
                present = present_event(session, in_force.digest)
                made = _overview(
                    self._service.now(), charter, tally, outcomes, list(attempts), present, viewer, effective
                )
                states = {
                    name: "console.state_suspended" if name in stopped else state
                    for name, state in made.states.items()
                }
                forecasts = {
                    one.partner: forecast(one, tally.participant(one.partner).charges, self._service.now())
                    for one in made.report.participants
                }
                return replace(made, states=states, waiting=waiting, forecasts=forecasts)

    @contextmanager
    def followed(self, session: Session, charter: str) -> Iterator[Tally]:
        """The tally of this charter, up to date, for as long as the caller reads it. Raises LedgerBroken."""
        with self._lock:
            yield self._up_to_date(session, charter)

    def lifetime(self, session: Session, digest: str, partner: str) -> Lifetime:
        """What this participant was charged under every charter. Raises LedgerBroken, AccountingFailed."""
        charters = [stored(Charter, message).body for message in session.scalars(select(CharterRow.message))]
        with self._lock:
            self._up_to_date(session, digest)
            return self._lifetimes.of(partner, {one.digest: one for one in charters})

    def verified(self) -> ChainHead:
        """The head up to which the whole chain has been replayed and holds. Raises LedgerBroken."""
        with self._service.database.read() as session, self._lock:
            tally = self._up_to_date(session, charter_in_force(session)[0])
            if tally.head != ledger.head(session):
                raise LedgerBroken(
                    tally.head.count,
                    "the head kept beside it",
                    tally.head.head[:16],
                    "raise the alarm",
                )
            return tally.head

    def _up_to_date(self, session: Session, charter: str) -> Tally:
        if self._tally.charter != charter:
            self._tally, self._lifetimes, self._chain = Tally(charter), Lifetimes(), ChainVerifier()
        while True:
            page = list(ledger.lines(session, self._tally.head.count, _PAGE))
            for line in page:
                entry = self._chain.add_line(line)
                self._tally.add(entry)
                self._lifetimes.add(entry)
            if len(page) < _PAGE:
                return self._tally


def standings(request: Request, service: Service) -> Standings:
    """One tally a service; two made at once by chance agree, and one of them is kept."""
    state = request.app.state
    if not hasattr(state, "console_standings"):
        state.console_standings = Standings(service)
    kept: Standings = state.console_standings
    return kept


def present_event(session: Session, charter: str) -> PrivacyEvent | None:
    """What the newest plan to train costs, of those under this charter.

    A sum of statistics between rounds says nothing of what is left of them.
    """
    newest = session.scalars(
        select(AttemptRow)
        .where(AttemptRow.charter == charter)
        .order_by(AttemptRow.join_deadline.desc(), AttemptRow.sequence.desc())
        .limit(_PLANS_LOOKED_AT)
    )
    plans = (plan_of(attempt) for attempt in newest)
    return next((plan.event for plan in plans if plan.kind == "training"), None)


def _overview(
    now: int,
    charter: Charter,
    tally: Tally,
    outcomes: Outcomes,
    attempts: list[AttemptRow],
    present: PrivacyEvent | None,
    viewer: Viewer,
    effective: Mapping[str, Charter],
) -> Overview:
    rounds = tuple(_line(attempt) for attempt in attempts)
    shown = [name for name in charter.partners if viewer.may_see(name)]
    budgets = tuple(
        participant_budget(charter, name, tally.participant(name), outcomes, present, bound=effective[name])
        for name in shown
    )
    report = framed(charter, tally, now, "service", budgets)
    return Overview(
        report, {budget.partner: _state(budget, rounds) for budget in budgets}, rounds, outside=not shown
    )


def _state(budget: ParticipantBudget, rounds: tuple[RoundLine, ...]) -> str:
    """The message id that says what a participant is at."""
    present = rounds[0] if rounds and not rounds[0].state.ended else None
    if budget.guarantees[0].epsilon == "infinite":
        return "console.state_unbounded"
    if present is not None and budget.partner in present.cohort:
        return "console.state_training"
    if budget.reserved:
        return "console.state_joined"
    if budget.rounds_left == 0:
        return "console.state_exhausted"
    return "console.state_ready"


def _line(attempt: AttemptRow) -> RoundLine:
    cohort = stored(Cohort, attempt.cohort).body.partners if attempt.cohort else ()
    contributors = len(stored(Seal, attempt.seal).body.contributors) if attempt.seal else None
    return RoundLine(
        digest=attempt.round,
        number=attempt.number,
        attempt=attempt.attempt,
        state=RoundState(attempt.state),
        join_deadline=attempt.join_deadline,
        cohort=cohort,
        contributors=contributors,
        kind=plan_of(attempt).kind,
    )


def outcomes_of(session: Session, charter: str) -> dict[str, RoundState]:
    rows = session.execute(select(AttemptRow.round, AttemptRow.state).where(AttemptRow.charter == charter))
    return {digest: RoundState(state) for digest, state in rows}


def _pending(session: Session) -> Pending:
    newest = charters.latest(session)
    if newest is None:
        return Pending(None, 0, 0)
    draft = stored(Charter, newest.message).body
    return Pending(draft.consortium, len(newest.acceptances), draft.n_max)


def _spent(budget: ParticipantBudget) -> float:
    epsilon = budget.guarantees[0].epsilon
    return float("inf") if epsilon == "infinite" else epsilon


def in_effect(session: Session, digest: str, charter: Charter, partner: str) -> Charter:
    """The charter as it now binds one participant: with the caps and counts that officers tightened."""
    caps = oversight.caps(session, digest, partner)
    if caps is None:
        return charter
    return tightened(charter, partner, caps, oversight.limits(session, digest, partner))


def forecast(budget: ParticipantBudget, charges: list[Charge], now: int) -> int | None:
    """By the pace of charges, or from the first to now where that is slower; it needs two charges."""
    if budget.rounds_left is None or len(charges) < 2:
        return None
    first, last = charges[0].at, charges[-1].at
    pace = max((last - first) / (len(charges) - 1), (now - first) / len(charges))
    due = max(last, now) + pace * budget.rounds_left
    return int(due) if due < 4e9 else None
