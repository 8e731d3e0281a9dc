"""From a verified ledger and a charter to the figures of a report.

Rules (protocol 6.1, 6.4):
1. Entries come verified; this counts and asks the accountant, it verifies nothing.
2. A period cuts the chain (period.py): figures (participant_figures.py) are of what lies before its end, entries
   (happened.py) of what lies in it. Figures are of one charter, but for lifetimes; entries are of every one.
It reads no clock: `as_of` is passed in.
"""

from __future__ import annotations

from collections.abc import Iterable

from privacy.dp.events import PrivacyEvent
from privacy.ledger.chain import EMPTY
from privacy.ledger.entry import LedgerEntry
from privacy.protocol.messages import ChainHead, Charter
from privacy.protocol.words import words
from privacy.report.budget_report import (
    BudgetReport,
    FormerParticipant,
    ParticipantBudget,
    RaisedAlarm,
    ReportedAlarm,
    ReportedEntry,
    Source,
)
from privacy.report.entry_costs import entry_costs
from privacy.report.happened import Happened, Outcomes
from privacy.report.in_effect import in_effect
from privacy.report.lifetime import Lifetimes
from privacy.report.participant_figures import participant_budget
from privacy.report.period import Period, cut, reaches
from privacy.report.tally import Tally


def build_report(
    charter: Charter,
    entries: Iterable[LedgerEntry],
    as_of: int,
    *,
    source: Source,
    outcomes: Outcomes | None = None,
    present_event: PrivacyEvent | None = None,
    participants: Iterable[str] | None = None,
    period: Period | None = None,
    earlier: Iterable[Charter] = (),
    alarms: Iterable[RaisedAlarm] | None = None,
) -> BudgetReport:
    """The report of a whole chain, given from its first entry on and verified.

    outcomes: by plan digest, as far as the caller knows them. present_event: what the present plan costs; without
    it each participant's last event stands for it. participants: roster partners to report on; all by default,
    and only then actions that concern no one of them. period: all until now by default. earlier: the other charters
    that entries are under. alarms: every one there is; None where the caller keeps none. Raises AccountingFailed,
    LedgerBroken (a charter is missing), MalformedMessage (a participant who is not on the roster).
    """
    kept = list(entries)
    covered = period or Period(start=None, end=as_of + 1)
    before, until = cut(kept, covered, as_of)
    tally = Tally(charter.digest, kept[:before])
    at_start = tally.snapshot()
    for entry in kept[before:until]:
        tally.add(entry)
    known = outcomes or {}
    bound = in_effect(charter, kept[:until])
    lifetimes = Lifetimes(kept[:until])
    charters = {one.digest: one for one in (*earlier, charter)}
    about = None if participants is None else tuple(participants)
    costs = entry_costs(kept[:until], before, charters, about)
    end = None if reaches(covered, as_of) else covered.end
    happened = Happened(kept[:until], before, end, charters, known, costs)
    listed = happened.listed()
    return framed(
        charter,
        tally,
        as_of,
        source,
        participants=tuple(
            participant_budget(
                charter,
                partner,
                tally.participant(partner),
                known,
                present_event,
                listed.get(partner, ()),
                bound=bound.get(partner),
                curve=True,
                before=at_start.participant(partner),
            ).model_copy(update={"lifetime": lifetimes.of(partner, charters)})
            for partner in (charter.partners if about is None else about)
        ),
        former=happened.former(charter, lifetimes, listed) if about is None else (),
        actions=tuple(listed.get(None, ())) if about is None else (),
        alarms=None if alarms is None else happened.alarms(alarms),
        period=covered,
        opening=at_start.head,
    )


def framed(
    charter: Charter,
    tally: Tally,
    as_of: int,
    source: Source,
    participants: tuple[ParticipantBudget, ...],
    *,
    former: tuple[FormerParticipant, ...] = (),
    actions: tuple[ReportedEntry, ...] = (),
    alarms: tuple[ReportedAlarm, ...] | None = None,
    period: Period | None = None,
    opening: ChainHead = EMPTY,
) -> BudgetReport:
    """A report around figures that were made already."""
    return BudgetReport(
        consortium=charter.consortium,
        epoch=charter.epoch,
        charter=tally.charter,
        words=words(tally.charter),
        as_of=as_of,
        source=source,
        period=period or Period(start=None, end=as_of + 1),
        opening=opening,
        ledger=tally.head,
        roster_size=charter.n_max,
        n_min=charter.n_min,
        colluders=charter.colluders,
        honest=charter.honest,
        filter_order=charter.filter_order,
        privacy_unit=charter.privacy_unit,
        participants=participants,
        former=former,
        actions=actions,
        alarms=alarms,
    )
