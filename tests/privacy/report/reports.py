"""Reports for tests of what is made of them: of every kind, small and large, with names that try to be markup."""

from __future__ import annotations

from privacy.dp.caps import Caps
from privacy.dp.events import PrivacyEvent, TableRow
from privacy.ledger.entry import RowLimit
from privacy.protocol.messages import Charter
from privacy.protocol.round_state import RoundState
from privacy.report.budget_report import BudgetReport, RaisedAlarm
from privacy.report.build import build_report
from privacy.report.period import Period
from tests.privacy.ledger.chains import NOTHING, ChainWriter, charter, plan_digest

EVENT = PrivacyEvent(kind="distributed", noise_multiplier=1.0, sampling_rate=0.02, steps=1)
NAMES = (
    "하나제약",
    '=HYPERLINK("x")',
    "#evil[x] *bold* $a$ <b>",
    "Elm & Söhne",
    "\u202e漢字 \U0001f600\t\u0007",
    "@SUM(1)",
)
REASON = '=suspended #read("x") after \r\nan alarm'


def consortium(
    partners: int = 3,
    rounds: int = 2,
    *,
    cap: float = 8.0,
    unprotected: bool = False,
    room: int = 10,
    quiet: bool = False,
) -> tuple[Charter, ChainWriter]:
    """A charter whose partners bear NAMES in turn, and the service's chain after `rounds` attempts of everyone."""
    table = (TableRow(name="training", event=EVENT, count=rounds + room),)
    if unprotected:
        table = (TableRow(name="open", event=NOTHING, count=2), *table)
    signed = charter(
        tuple(f"partner-{number:03d}" for number in range(partners)),
        table,
        Caps(epsilon_alone=34.0, epsilon_in_sum=cap, delta=1e-5),
    )
    named = tuple(
        entry.model_copy(update={"name": NAMES[place % len(NAMES)]}) for place, entry in enumerate(signed.roster)
    )
    signed = signed.model_copy(update={"consortium": "K-컨소시엄 =1+1", "roster": named})
    writer = ChainWriter(charter=signed.digest)
    writer.action(None, "charter in force")
    for number in range(1, rounds + 1):
        writer.attempt(number, signed.partners, EVENT)
    if unprotected:
        writer.move("reserve", signed.partners[0], rounds + 1, "open", NOTHING)
        writer.move("charge", signed.partners[0], rounds + 1, "open", NOTHING)
    if room:
        writer.move("reserve", signed.partners[0], rounds + 2, event=EVENT)
        writer.move("reserve", signed.partners[0], rounds + 3, event=EVENT)
        writer.move("lapse", signed.partners[0], rounds + 3, event=EVENT)
    if not quiet:
        writer.action(signed.partners[0], REASON)
    return signed, writer


def outcomes(rounds: int) -> dict[str, RoundState]:
    """Every third attempt ended void."""
    states = (RoundState.VOID, RoundState.CONFIRMED, RoundState.CONFIRMED)
    return {plan_digest(number): states[number % 3] for number in range(1, rounds + 1)}


def report(
    partners: int = 3,
    rounds: int = 2,
    *,
    only: bool = False,
    source: str = "service",
    second_half: bool = False,
    actions: int = 0,
    cap: float = 8.0,
    unprotected: bool = False,
    room: int = 10,
    quiet: bool = False,
    alarms: int | None = None,
) -> BudgetReport:
    """alarms: how many were raised; None: the reporter keeps none."""
    signed, writer = consortium(partners, rounds, cap=cap, unprotected=unprotected, room=room, quiet=quiet)
    for number in range(actions):
        writer.action(None, f"action {number}")
    as_of = writer.entries[-1].at + 60
    start = writer.entries[len(writer.entries) // 2].at if second_half else None
    return build_report(
        signed,
        writer.entries,
        as_of,
        source="partner" if source == "partner" else "service",
        outcomes=outcomes(rounds),
        participants=[signed.partners[0]] if only else None,
        period=Period(start=start, end=as_of + 1),
        alarms=None if alarms is None else [alarm(number, as_of - number) for number in range(alarms)],
    )


def alarm(number: int, at: int, participant: str | None = None, **more: str | float) -> RaisedAlarm:
    """Of a kind that concerns an account where no figures are given."""
    detail = more or {"account": '=lee <b>#x"', "day": "2025-10-10", "failures": 7}
    return RaisedAlarm(
        id=plan_digest(number),
        kind="budget_nearly_spent" if more else "locked_out",
        participant=participant,
        at=at,
        detail=detail,
    )


def over_two_charters(*, other_rule: bool = False, only: bool = False, quiet: bool = False) -> BudgetReport:
    """Four attempts of four under a first charter, three of three under the next. The last two of the first lie in
    the period, with all that officers did under the next. other_rule: with another number of honest contributors.
    """
    first, writer = consortium(4, 2, quiet=True)
    if not quiet:
        writer.officer(None, "acknowledge", "seen long ago", alarm=plan_digest(4))
    start = writer.entries[-1].at + 3600
    for number in (6, 7):
        writer.attempt(number, first.partners, EVENT)
    second = first.model_copy(
        update={
            "epoch": 2,
            "previous": first.digest,
            "n_min": 4 if other_rule else first.n_min,
            "roster": first.roster[:3],
        }
    )
    writer.charter = second.digest
    for number in range(11, 14):
        writer.attempt(number, second.partners, EVENT)
    who = second.partners[0]
    alarms = []
    if not quiet:
        at = writer.entries[-1].at
        near = {"charter": second.digest, "guarantee": "in_sum", "percent": 80, "epsilon": 6.4321, "cap": 8.0}
        alarms = [alarm(1, start - 60), alarm(2, at, who, **near), alarm(3, start - 90), alarm(4, start - 120)]
        writer.officer(None, "acknowledge", "a forgotten password", alarm=plan_digest(1))
        writer.officer(who, "acknowledge", REASON, alarm=plan_digest(2), officer="=park")
    writer.officer(who, "suspend", "it asked for it")
    writer.officer(who, "propose-resume", "all is well")
    writer.officer(who, "resume", "all is well", officer="lee", second="kim")
    caps = Caps(epsilon_alone=30.0, epsilon_in_sum=7.5, delta=1e-5)
    writer.officer(who, "tighten", "asked by its board", caps=caps, limits=(RowLimit(row="training", count=6),))
    as_of = writer.entries[-1].at + 60
    return build_report(
        second,
        writer.entries,
        as_of,
        source="service",
        participants=[who] if only else None,
        earlier=[first],
        alarms=alarms,
        period=Period(start=start, end=as_of + 1),
    )
