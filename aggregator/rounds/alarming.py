"""What in an attempt's life raises an alarm, and with which figures.

Rules:
1. Each is called in the transaction of what it is about; `checkpoint_differs` has one of its own, since what it is
   about is refused.
2. It judges nothing that another module has not: it compares what two signed statements say.
"""

from __future__ import annotations

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from aggregator.rounds.records import plan_of
from aggregator.storage.alarms import Figure, raise_alarm
from aggregator.storage.service import Service
from aggregator.storage.tables import AttemptRow, ConfirmationRow, HoldingRow
from privacy.dp.budget import HoldingState
from privacy.dp.probes import ProbeStatistic
from privacy.protocol.messages import ChainHead, Confirmation, Join, Refusal


def opening_refused(session: Session, attempt: AttemptRow, body: Refusal, at: int) -> None:
    figures: dict[str, Figure] = {"check": body.check, "reason": body.reason}
    raise_alarm(session, "opening_refused", body.partner, {**_of(attempt), **figures}, at)


def attempt_void(session: Session, attempt: AttemptRow, at: int) -> None:
    raise_alarm(session, "attempt_void", None, _of(attempt), at)


def attempt_closed(session: Session, attempt: AttemptRow, cause: str, at: int) -> None:
    """Only once its cohort is published, so charged: what closes before that costs nobody anything."""
    if attempt.cohort is not None:
        raise_alarm(session, "attempt_closed", None, {**_of(attempt), "cause": cause}, at)


def ledgers_compared(session: Session, attempt: AttemptRow, partner: str, body: Join, at: int) -> None:
    """A join says how many charges the partner's own chain holds (protocol 4.1): this chain should say the same."""
    charged = session.scalar(
        select(func.count())
        .select_from(HoldingRow)
        .where(HoldingRow.participant == partner, HoldingRow.state == HoldingState.CHARGED.value)
    )
    if body.ledger.count != (charged or 0):
        figures = {"own": body.ledger.count, "charged": charged or 0}
        raise_alarm(session, "ledger_difference", partner, {**_of(attempt), **figures}, at)


def checkpoint_differs(service: Service, attempt: AttemptRow, partner: str, seen: ChainHead) -> None:
    figures: dict[str, Figure] = {"count": seen.count, "head": seen.head}
    with service.database.write() as session:
        raise_alarm(session, "checkpoint_differs", partner, {**_of(attempt), **figures}, service.now())


def states_compared(
    session: Session, attempt: AttemptRow, members: tuple[str, ...], confirmed: list[ConfirmationRow], at: int
) -> None:
    """Every partner whose state is not the quorum's is named; where all have confirmed and none is, nobody is."""
    if attempt.confirmed_state is not None:
        for row in confirmed:
            if row.state != attempt.confirmed_state:
                figures = {"state": row.state, "confirmed": attempt.confirmed_state}
                raise_alarm(session, "state_differs", row.partner, {**_of(attempt), **figures}, at)
    elif set(members) <= {row.partner for row in confirmed}:
        raise_alarm(session, "states_disagree", None, _of(attempt), at)


def noise_found(session: Session, attempt: AttemptRow, body: Confirmation, at: int) -> None:
    """Noise missing from a sum concerns everyone in it, whoever found it; who signed what is on its page."""
    if body.probes is None:
        return
    found = ProbeStatistic(body.probes.ratio, plan_of(attempt).layout.probes)
    total = ProbeStatistic(body.probes.total_ratio, body.probes.total_probes)
    for over, statistic in (("sum", found), ("all_sums", total)):
        if statistic.missing:
            figures: dict[str, Figure] = {"over": over, "deviations": round(-statistic.deviations, 1)}
            raise_alarm(session, "probes_low", None, {**_of(attempt), **figures}, at)


def _of(attempt: AttemptRow) -> dict[str, Figure]:
    return {"plan": attempt.round, "round": attempt.number, "attempt": attempt.attempt}
