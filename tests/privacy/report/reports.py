"""Reports for tests of what is made of them: of every kind, small and large, with names that try to be markup."""

from __future__ import annotations

from privacy.dp.budget import Caps
from privacy.dp.events import PrivacyEvent, TableRow
from privacy.protocol.messages import Charter
from privacy.protocol.round_state import RoundState
from privacy.report.budget_report import BudgetReport
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
) -> BudgetReport:
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
    )


def over_two_charters(partners: int = 3, *, other_rule: bool = False, only: bool = False) -> BudgetReport:
    """Four attempts under a first charter, three under the next. other_rule: with another number of honest ones."""
    first, writer = consortium(partners, 4)
    second = first.model_copy(
        update={"epoch": 2, "previous": first.digest, "n_min": 4 if other_rule else first.n_min}
    )
    writer.charter = second.digest
    for number in range(11, 14):
        writer.attempt(number, second.partners, EVENT)
    return build_report(
        second,
        writer.entries,
        writer.entries[-1].at + 60,
        source="service",
        participants=[second.partners[0]] if only else None,
        earlier=[first],
    )
