"""Officers' actions: suspend and resume a participant, tighten its cap, acknowledge an alarm.

Rules:
1. An action has a reason, and is one transaction with the ledger entry that names who did what, in which role. One
   that changes nothing writes nothing: it may be sent twice.
2. A suspension refuses joins from the next one on (rounds/join.py asks); whoever has joined goes on with that
   attempt. With `two_persons_to_resume` the first officer proposes, and another account resumes.
3. A cap can only become tighter: loosening it needs a charter that everyone signs. How far the table comes down is
   privacy.dp.tightening's decision; joins are checked against what it left.
4. Who may act is storage/sessions.py's decision, asked first.
"""

from __future__ import annotations

import json
from typing import Literal

from sqlalchemy.orm import Session

from aggregator.rounds.records import charter_in_force, require_roster
from aggregator.storage import alarms, ledger, oversight
from aggregator.storage.service import Service
from aggregator.storage.sessions import Viewer
from aggregator.storage.tables import SuspensionRow, TightenedCapRow
from privacy.dp.budget import Budget, HoldingState
from privacy.dp.caps import Caps
from privacy.dp.tightening import tighten
from privacy.errors import Conflict, MalformedMessage, NotAllowed, UnsafeParameters
from privacy.ledger.entry import ActionKind, OfficersAction, RowLimit

MAX_REASON = 500
_TRIES = 5

Resumed = Literal["nothing", "proposed", "resumed"]


def suspend(service: Service, viewer: Viewer, participant: str, reason: str) -> bool:
    """Refuse this participant's joins from now on; False where it was suspended before. Raises NotAllowed."""
    viewer.require("suspend", participant)
    reason = checked_reason(reason)
    with service.database.write() as session:
        charter, body = charter_in_force(session)
        require_roster(body, participant)
        if oversight.suspension(session, participant) is not None:
            return False
        now = service.now()
        session.add(SuspensionRow(participant=participant, at=now, officer=viewer.name, reason=reason))
        entry = _record(session, viewer, charter, now, participant, reason, "suspend")
        alarms.raise_alarm(session, "suspended", participant, {"entry": entry, "officer": viewer.name}, now)
        return True


def resume(service: Service, viewer: Viewer, participant: str, reason: str) -> Resumed:
    """Let it join again, or propose so where two persons are asked for. Raises NotAllowed."""
    viewer.require("resume", participant)
    reason = checked_reason(reason)
    with service.database.write() as session:
        charter, body = charter_in_force(session)
        row = oversight.suspension(session, participant)
        if row is None:
            require_roster(body, participant)
            return "nothing"
        now = service.now()
        if service.settings.two_persons_to_resume:
            if row.proposed_by is None:
                row.proposed_by, row.proposed_at, row.proposed_reason = viewer.account, now, reason
                _record(session, viewer, charter, now, participant, reason, "propose-resume")
                return "proposed"
            if row.proposed_by == viewer.account:
                raise NotAllowed(
                    "a second person to resume, with another account",
                    f"{viewer.account}, who proposed it",
                    "have another officer of this scope confirm it",
                )
        _record(session, viewer, charter, now, participant, reason, "resume", second=row.proposed_by)
        session.delete(row)
        return "resumed"


def tighten_caps(
    service: Service, viewer: Viewer, participant: str, epsilon_in_sum: float, epsilon_alone: float, reason: str
) -> bool:
    """Lower a participant's caps, at the delta they have; False where they are these already.

    Raises NotAllowed; UnsafeParameters for a looser cap, BudgetExhausted for one below what is taken.
    """
    viewer.require("tighten", participant)
    reason = checked_reason(reason)
    for _ in range(_TRIES):
        with service.database.read() as session:
            digest, charter = charter_in_force(session)
            require_roster(charter, participant)
            standing = ledger.budget(session, charter, digest, participant)
            present = oversight.caps(session, digest, participant) or charter.entry(participant).caps
        wanted = Caps(epsilon_alone=epsilon_alone, epsilon_in_sum=epsilon_in_sum, delta=present.delta)
        if wanted == present:
            return False
        _check_tighter(wanted, present)
        # It takes seconds: done before the transaction, which then looks whether anything was taken meanwhile.
        left = tighten(standing, wanted, charter.honest)
        with service.database.write() as session:
            now_digest, _ = charter_in_force(session)
            now_standing = ledger.budget(session, charter, digest, participant)
            now_caps = oversight.caps(session, digest, participant) or charter.entry(participant).caps
            if (now_digest, now_caps) != (digest, present) or _taken(now_standing) != _taken(standing):
                continue
            now = service.now()
            row = session.get(TightenedCapRow, (digest, participant))
            if row is None:
                row = TightenedCapRow(charter=digest, participant=participant)
                session.add(row)
            row.at, row.officer = now, viewer.name
            row.caps, row.limits = wanted.model_dump_json().encode(), json.dumps(left).encode()
            limits = tuple(RowLimit(row=name, count=count) for name, count in left.items())
            _record(session, viewer, digest, now, participant, reason, "tighten", caps=wanted, limits=limits)
            return True
    raise Conflict("a moment without joins", "a budget that moved each time", "tighten the cap once more")


def acknowledge(service: Service, viewer: Viewer, alarm: str, reason: str) -> bool:
    """Note that this person has looked at it; False where somebody had. Raises NotAllowed, NotFound."""
    reason = checked_reason(reason)
    with service.database.write() as session:
        found = alarms.find_alarm(session, alarm)
        viewer.require("acknowledge", found.participant)
        if not alarms.acknowledge(session, alarm, viewer.name, reason, service.now()):
            return False
        charter, _ = charter_in_force(session)
        _record(session, viewer, charter, service.now(), found.participant, reason, "acknowledge", alarm=alarm)
        return True


def checked_reason(text: str) -> str:
    """Raises MalformedMessage unless it says something, in at most MAX_REASON characters."""
    reason = " ".join(text.split())
    if not 3 <= len(reason) <= MAX_REASON or not reason.isprintable():
        raise MalformedMessage(
            f"a reason of 3 to {MAX_REASON} characters", f"one of {len(reason)}", "say why in a sentence"
        )
    return reason


def _check_tighter(wanted: Caps, present: Caps) -> None:
    if wanted.epsilon_in_sum > present.epsilon_in_sum or wanted.epsilon_alone > present.epsilon_alone:
        raise UnsafeParameters(
            f"caps no looser than {present.epsilon_in_sum} in the sum and {present.epsilon_alone} alone",
            f"{wanted.epsilon_in_sum} and {wanted.epsilon_alone}",
            "loosening a cap needs a new charter, signed by everyone",
        )


def _taken(budget: Budget) -> set[tuple[str, int | None]]:
    return {
        (attempt, held.row) for attempt, held in budget.holdings.items() if held.state is not HoldingState.LAPSED
    }


def _record(
    session: Session,
    viewer: Viewer,
    charter: str,
    at: int,
    participant: str | None,
    reason: str,
    what: ActionKind,
    *,
    second: str | None = None,
    alarm: str | None = None,
    caps: Caps | None = None,
    limits: tuple[RowLimit, ...] = (),
) -> int:
    if viewer.account is None or viewer.role == "auditor":
        raise NotAllowed("an officer or operator with an account", viewer.role, "sign in with an account")
    action = OfficersAction(
        what=what,
        officer=viewer.account,
        role=viewer.role,
        second=second,
        alarm=alarm,
        caps=caps,
        limits=limits,
    )
    return ledger.record_action(session, charter, at, participant, reason, action)
