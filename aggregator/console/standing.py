"""What the console shows, read from the database: figures for those that a session's scope covers.

Rules:
1. A partner's officer sees that partner's budget alone; rounds are known to every partner, and shown to all.
2. The chain is read once: `Standings` keeps a tally, and reads on from where it stopped.
3. It computes for milliseconds to seconds: pages call it from worker threads, never from the event loop.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from aggregator.rounds import charter as charters
from aggregator.rounds.records import plan_of
from aggregator.storage import ledger
from aggregator.storage.service import Service, stored
from aggregator.storage.sessions import Viewer
from aggregator.storage.tables import AttemptRow, CharterRow
from privacy.ledger.entry import LedgerEntry
from privacy.protocol.messages import Charter, Cohort, Seal
from privacy.protocol.round_state import RoundState
from privacy.report.budget_report import BudgetReport, ParticipantBudget
from privacy.report.build import Outcomes, framed, participant_budget
from privacy.report.tally import Tally

RECENT_ROUNDS = 12
_PAGE = 2000


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

    @property
    def explained(self) -> ParticipantBudget | None:
        """Whose epsilon is put into words: the one of which most is spent."""
        return max(self.report.participants, key=_spent, default=None)


class Standings:
    """The tally of the charter in force, kept between requests of one service."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._lock = threading.Lock()
        self._tally = Tally("")

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
            outcomes = _outcomes(session, in_force.digest)
            with self._lock:
                tally = self._up_to_date(session, in_force.digest)
                return _overview(self._service.now(), charter, tally, outcomes, list(attempts), viewer)

    def _up_to_date(self, session: Session, charter: str) -> Tally:
        if self._tally.charter != charter:
            self._tally = Tally(charter)
        while True:
            page = list(ledger.lines(session, self._tally.head.count, _PAGE))
            for line in page:
                self._tally.add(LedgerEntry.model_validate_json(line))
            if len(page) < _PAGE:
                return self._tally


def _overview(
    now: int, charter: Charter, tally: Tally, outcomes: Outcomes, attempts: list[AttemptRow], viewer: Viewer
) -> Overview:
    rounds = tuple(_line(attempt) for attempt in attempts)
    present = plan_of(attempts[0]).event if attempts and attempts[0].charter == tally.charter else None
    shown = [name for name in charter.partners if viewer.may_see(name)]
    budgets = tuple(participant_budget(charter, name, tally.participant(name), outcomes, present) for name in shown)
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
    )


def _outcomes(session: Session, charter: str) -> dict[str, RoundState]:
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
