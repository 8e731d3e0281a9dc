"""What happened in a period: the ledger's entries, whom they concern, and alarms with who acknowledged them.

Rules:
1. Every entry between the period's two cuts is listed, under whatever charter; each names the epoch of its own.
2. Who took part under an earlier charter and is not on the roster any more stands apart, with a lifetime too.
3. That an alarm was raised stands on no ledger: it is the reporter's word. Who acknowledged it, when and why is
   the ledger's. An alarm is of a period if it was raised before its end, and not acknowledged before its start.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from privacy.ledger.entry import CHARGES, LedgerEntry
from privacy.protocol.messages import Charter
from privacy.protocol.round_state import RoundState
from privacy.report.budget_report import (
    Acknowledgement,
    EntryCost,
    FormerParticipant,
    Outcome,
    RaisedAlarm,
    ReportedAlarm,
    ReportedEntry,
)
from privacy.report.lifetime import Lifetimes, charter_of

Outcomes = Mapping[str, RoundState]
"""What became of each attempt, by its plan's digest."""

_OUTCOMES: dict[RoundState, Outcome] = {
    RoundState.CONFIRMED: "confirmed",
    RoundState.VOID: "void",
    RoundState.CLOSED: "closed",
}


@dataclass(frozen=True)
class Happened:
    """The chain up to the period's end, and how many of its entries lie before the period.

    end: of the period, in seconds; None where that is when the report is made.
    charters: every one that an entry is under, by digest. costs: of its charges, by index.
    """

    entries: Sequence[LedgerEntry]
    before: int
    end: int | None
    charters: Mapping[str, Charter]
    outcomes: Outcomes
    costs: Mapping[int, EntryCost]

    def listed(self) -> dict[str | None, list[ReportedEntry]]:
        """Rule 1: by participant, and what concerns none. Raises LedgerBroken where a charter is missing."""
        found: dict[str | None, list[ReportedEntry]] = {}
        for entry in self.entries[self.before :]:
            epoch = charter_of(self.charters, entry.charter, entry.index).epoch
            found.setdefault(entry.participant, []).append(reported_entry(entry, self.outcomes, epoch, self.costs))
        return found

    def former(
        self, charter: Charter, lifetimes: Lifetimes, listed: Mapping[str | None, Iterable[ReportedEntry]]
    ) -> tuple[FormerParticipant, ...]:
        """Rule 2, by id; each by the name of the newest charter that an entry of it is under."""
        under: dict[str, Charter] = {}
        for entry in self.entries:
            if entry.participant is not None and entry.participant not in charter.partners:
                under[entry.participant] = charter_of(self.charters, entry.charter, entry.index)
        return tuple(
            FormerParticipant(
                partner=partner,
                name=newest.entry(partner).name,
                lifetime=lifetimes.of(partner, self.charters),
                entries=tuple(listed.get(partner, ())),
            )
            for partner, newest in sorted(under.items())
        )

    def alarms(self, raised: Iterable[RaisedAlarm]) -> tuple[ReportedAlarm, ...]:
        """Rule 3: the oldest first."""
        acknowledged = {
            entry.action.alarm: entry
            for entry in self.entries
            if entry.action is not None and entry.action.alarm is not None
        }
        found = []
        for alarm in raised:
            entry = acknowledged.get(alarm.id)
            if (self.end is None or alarm.at < self.end) and (entry is None or entry.index > self.before):
                found.append(
                    ReportedAlarm(
                        id=alarm.id,
                        kind=alarm.kind,
                        participant=alarm.participant,
                        at=alarm.at,
                        detail=alarm.detail,
                        acknowledged=None if entry is None else _acknowledgement(entry),
                    )
                )
        return tuple(sorted(found, key=lambda alarm: (alarm.at, alarm.id)))


def reported_entry(
    entry: LedgerEntry, outcomes: Outcomes, epoch: int, costs: Mapping[int, EntryCost] | None = None
) -> ReportedEntry:
    change = entry.budget
    return ReportedEntry(
        index=entry.index,
        at=entry.at,
        epoch=epoch,
        kind=entry.kind,
        plan=change.plan if change else None,
        round=change.round if change else None,
        attempt=change.attempt if change else None,
        row=change.row if change else None,
        event=change.event if change else None,
        outcome=_outcome(outcomes.get(change.plan)) if change and entry.kind in CHARGES else None,
        cost=(costs or {}).get(entry.index),
        action=entry.action,
        reason=entry.reason,
    )


def charges(entries: Iterable[ReportedEntry]) -> int:
    """How many of these charged something."""
    return sum(entry.kind in CHARGES for entry in entries)


def _outcome(state: RoundState | None) -> Outcome:
    if state is None:
        return "unknown"
    return _OUTCOMES.get(state, "running")


def _acknowledgement(entry: LedgerEntry) -> Acknowledgement | None:
    action = entry.action
    if action is None:
        return None
    return Acknowledgement(
        entry=entry.index, at=entry.at, officer=action.officer, role=action.role, reason=entry.reason
    )
