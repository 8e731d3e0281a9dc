"""`budget`: this partner's own ledger, beside what the service says (protocol 6.4)."""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from client_sdk.commands.options import DEFAULT_CONFIG, AsJson, Config, open_partner, open_to_read, out, print_json
from client_sdk.ledger_comparison import AttemptLine, attempt_lines, service_epsilons
from client_sdk.partner import Partner
from client_sdk.policy import Policy
from privacy.errors import ChoraleError, ServiceUnavailable, WrongState
from privacy.protocol.printable import visible
from privacy.protocol.round_state import RoundState
from privacy.report.budget_report import BudgetReport, GuaranteeBudget, Lifetime, ParticipantBudget
from privacy.report.build import build_report
from privacy.report.in_effect import in_effect
from privacy.report.lifetime import lifetime
from privacy.report.participant_figures import participant_budget
from privacy.report.period import Period
from privacy.report.tally import Tally

budget_app = typer.Typer(help="What this partner spent, and what is left.")
_NEWEST = 20
_NAMES = {"in_sum": "in the sum", "alone": "alone"}


@budget_app.callback(invoke_without_command=True)
def budget(
    context: typer.Context,
    config: Config = Path(DEFAULT_CONFIG),
    offline: Annotated[bool, typer.Option(help="Do not ask the service for its ledger.")] = False,
    json: AsJson = False,
) -> None:
    """Both epsilons from this partner's own ledger, its caps, what is left, and where the service differs."""
    if context.invoked_subcommand is not None:
        return
    with open_to_read(config) as partner:
        if partner.is_snapshot and not offline:
            offline = True  # what the service's ledger proves is written down, which is the other process's part
            partner.progress.notice(
                "another process uses this folder: its ledger alone is shown, as with --offline"
            )
        # First the service's: what only its ledger proves is taken over into the own one.
        compared = False
        difference: str | None = None
        away: ServiceUnavailable | None = None
        if not offline:
            try:
                compared, difference = _difference(partner)
            except ServiceUnavailable as error:
                offline, away = True, error
        spent = own_budget(partner)
        life = own_lifetime(partner)
        service = {} if offline else _service_rows(partner)
        left = _left(partner, service)
        theirs = {} if offline else service_epsilons(partner)
        attempts = attempt_lines(partner)
        stop = Policy(partner.settings, partner.journal, partner.own_ledger).stopped()
    if json:
        print_json(
            {
                "own": spent.model_dump(mode="json", exclude={"entries": True}),
                "lifetime": life.model_dump(mode="json"),
                "service": service,
                "service_epsilon": {name: None if math.isinf(value) else value for name, value in theirs.items()},
                "attempts": [{**asdict(line), "differs": line.differs} for line in attempts],
                "compared": compared,
                "difference": difference,
                "stopped": None if stop is None else str(stop),
            }
        )
    else:
        _print_budget(spent, left, service, theirs)
        _print_attempts(attempts, compared=not offline)
        if difference is not None:
            out().print(f"[bold red]the ledgers differ[/]: {escape(visible(str(difference)))}")
        elif compared:
            out().print("Both ledgers hold the same charges.")
        elif not offline:
            out().print("Not compared with the service's yet: not every partner has accepted the charter.")
        _print_lifetime(life)
        if stop is not None:
            out().print(f"[bold red]stopped[/]: {escape(str(stop))}")
    if away is not None:
        # After what the own ledger says: who asked for a comparison must not take its absence for agreement.
        raise away
    if difference is not None:
        raise typer.Exit(1)


@budget_app.command()
def resume(
    reason: Annotated[str, typer.Option(help="Why it is safe to go on; it is written down.")],
    config: Config = Path(DEFAULT_CONFIG),
) -> None:
    """Go on after this machine's own policy stopped it. Nothing that comes from the service can do this."""
    with open_partner(config) as partner:
        Policy(partner.settings, partner.journal, partner.own_ledger).resume(reason, partner.now())
    out().print("Written down. The count of attempts without a result starts anew.")


def own_report(partner: Partner, period: Period | None = None) -> BudgetReport:
    """From this partner's own ledger, under the pinned charter; all of it unless a period is given."""
    return build_report(
        partner.charter,
        partner.own_ledger.entries,
        partner.now(),
        source="partner",
        outcomes=_outcomes(partner),
        participants=[partner.name],
        period=period,
        earlier=[signed.body for signed in partner.charters()],
    )


def own_lifetime(partner: Partner) -> Lifetime:
    """Over every charter that this partner ever pinned."""
    charters = {signed.digest: signed.body for signed in partner.charters()}
    return lifetime(partner.own_ledger.entries, partner.name, charters)


def own_budget(partner: Partner) -> ParticipantBudget:
    """At a glance, from this partner's own ledger: what is spent, and what is left; no curve, no list."""
    charter, entries = partner.charter, list(partner.own_ledger.entries)
    tally = Tally(charter.digest, entries).participant(partner.name)
    bound = in_effect(charter, entries).get(partner.name)
    return participant_budget(charter, partner.name, tally, _outcomes(partner), None, bound=bound)


def _outcomes(partner: Partner) -> dict[str, RoundState]:
    """How each attempt that this partner saw end has ended, by its plan's digest."""
    return {
        record.plan: RoundState(record.ending) for record in partner.journal.records() if record.ending is not None
    }


def _difference(partner: Partner) -> tuple[bool, str | None]:
    """Whether the ledgers were compared, and what differs, if anything. Raises ServiceUnavailable."""
    try:
        partner.ledger_watch.sync(partner.service)
    except ServiceUnavailable:
        raise
    except WrongState as early:
        # Before any charter is in force there is nothing to compare; once this partner was charged, one is.
        charged = bool(partner.own_ledger.entries)
        return charged, str(early) if charged else None
    except ChoraleError as error:
        return True, str(error)
    return True, None


def _service_rows(partner: Partner) -> dict[str, dict[str, int]]:
    """What the service's verified chain holds for this partner, by row of the table."""
    found = partner.journal.query(
        "SELECT row, charged, reserved FROM server_row WHERE charter = ? AND participant = ? ORDER BY row",
        (partner.charter.digest, partner.name),
    )
    return {
        str(row): {"charged": int(str(charged)), "reserved": int(str(reserved))} for row, charged, reserved in found
    }


def _left(partner: Partner, service: dict[str, dict[str, int]]) -> dict[str, int]:
    """How many more events of each row fit: by table and filter, and beside what the service holds reserved."""
    budget = partner.own_ledger.budget(partner.charter)
    return {
        row.name: max(0, budget.remaining(row.name) - service.get(row.name, {}).get("reserved", 0))
        for row in partner.charter.table
    }


def _print_budget(
    spent: ParticipantBudget,
    left: dict[str, int],
    service: dict[str, dict[str, int]],
    their_epsilons: dict[str, float],
) -> None:
    to = out()
    to.print(f"[bold]{escape(spent.name)}[/] ({spent.partner}), at delta {spent.delta:g}, from its own ledger")
    table = Table("guarantee", "epsilon", "by the service's ledger", "cap", "of it without result", "even odds")
    for guarantee in spent.guarantees:
        table.add_row(
            _NAMES[guarantee.guarantee],
            _number(guarantee.epsilon),
            _number(their_epsilons.get(guarantee.guarantee, "")),
            f"{guarantee.cap:g}",
            _number(guarantee.without_result),
            f"{guarantee.even_odds:.0%}",
        )
    to.print(table)
    rows = Table("row", "charged", "of", "left", "service: charged", "reserved")
    for row in spent.rows:
        theirs: dict[str, Any] = service.get(row.name, {})
        rows.add_row(
            escape(row.name),
            str(row.charged),
            str(row.count),
            str(left.get(row.name, "")),
            str(theirs.get("charged", "")),
            str(theirs.get("reserved", "")),
        )
    to.print(rows)


def _print_attempts(attempts: list[AttemptLine], *, compared: bool) -> None:
    """The newest, and every one on which the ledgers differ."""
    table = Table("round", "attempt", "row", "own ledger", "service's ledger", "end", "")
    for place, line in enumerate(attempts):
        differs = compared and line.differs
        if differs or place >= len(attempts) - _NEWEST:
            table.add_row(
                str(line.round),
                str(line.attempt),
                escape(line.row),
                line.own or "-",
                line.service or "-",
                line.end or "under way",
                "[bold red]differs[/]" if differs else "",
            )
    out().print(table)


def _print_lifetime(life: Lifetime) -> None:
    """Only once there is more than one epoch to tell of."""
    if len(life.epochs) < 2:
        return
    table = Table("epoch", "charged", "epsilon in the sum", "alone", "delta", title="Over all charters")
    for line in life.epochs:
        figures = (_number(line.spent.in_sum), _number(line.spent.alone), f"{line.spent.delta:g}")
        table.add_row(str(line.epoch), str(line.charged), *figures)
    for name, spent in (
        ("caps in all, which hold", life.capped),
        ("sums, each as if fixed beforehand", life.summed),
        ("all of it, as if fixed beforehand", life.composed),
    ):
        if spent is not None:
            table.add_row(name, "", _number(spent.in_sum), _number(spent.alone), f"{spent.delta:g}")
    out().print(table)


def _number(epsilon: GuaranteeBudget | float | str) -> str:
    return f"{epsilon:.3f}" if isinstance(epsilon, float) else str(epsilon)
