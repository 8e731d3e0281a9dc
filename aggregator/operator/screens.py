"""What the commands print: rich tables for people. It decides nothing and asks nothing.

What others wrote is shown through `visible`: it must not draw on the screen on which words are compared.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from aggregator.operator.answers import Account, RoundDocument
from aggregator.operator.charter_draft import Cost
from aggregator.operator.overview import BudgetView, Overview
from privacy.dp.renyi import OrderChoice
from privacy.errors import ChoraleError, LedgerBroken
from privacy.protocol.messages import Campaign, Charter, Enrolment
from privacy.protocol.printable import visible
from privacy.protocol.words import words

errors = Console(stderr=True)
# A hash or a link that is copied from the screen must be one line: the terminal wraps it, and it is none of ours.
screen = Console(soft_wrap=True)


def show_error(error: ChoraleError) -> None:
    """On stderr: what was expected, what came, what to do."""
    errors.print(Text(f"refused: {error.code.replace('-', ' ')}", style="bold red"))
    grid = Table.grid(padding=(0, 2))
    number = getattr(error, "number", None)
    rows = [] if number is None else [("check", str(number))]
    if isinstance(error, LedgerBroken):
        rows.append(("line", str(error.line)))
    for name, text in [*rows, ("expected", error.expected), ("came", error.came), ("do", error.remedy)]:
        grid.add_row(Text(name, style="bold"), Text(visible(text)))
    errors.print(grid)


def facts(rows: Sequence[tuple[str, str]]) -> Text:
    """Name and value, one a line that is never broken: a hash or a link in it can be copied."""
    width = max((len(name) for name, _ in rows), default=0)
    lines = [Text.assemble((name.ljust(width), "bold"), "  ", visible(value)) for name, value in rows]
    return Text("\n").join(lines)


def moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def invitation_screen(made: Mapping[str, Any]) -> Text:
    rows = [("service", made["url"]), ("token", made["token"]), ("valid until", moment(made["expires"]))]
    return facts([("partner", made["partner"]), *rows])


def enrolment_screen(enrolment: Enrolment) -> Text:
    caps = enrolment.caps
    return facts(
        [
            ("partner", f"{enrolment.partner} ({enrolment.name})"),
            ("words", words(enrolment.digest)),
            ("caps", f"epsilon {caps.epsilon_in_sum} in the sum, {caps.epsilon_alone} alone, delta {caps.delta}"),
        ]
    )


def charter_screen(charter: Charter, costs: Sequence[Cost], chosen: OrderChoice | None) -> Group:
    """chosen: how the filter's order was found, where the draft left that to the command."""
    table = Table("row", "noise z", "times", "epsilon in the sum", "epsilon alone", title="What the table costs")
    for cost in costs:
        multiplier = "" if cost.noise_multiplier is None else f"{cost.noise_multiplier:.4f}"
        times = "" if cost.fits is None else str(cost.fits)
        figures = (f"{cost.epsilon_in_sum:.3f}", f"{cost.epsilon_alone:.3f}")
        table.add_row(escape(cost.name), multiplier, times, *figures)
    parts: list[RenderableType] = [
        facts(
            [
                ("charter", charter.digest),
                ("words", words(charter.digest)),
                ("roster", ", ".join(charter.partners)),
                ("n_min, colluders", f"{charter.n_min}, {charter.colluders}"),
            ]
        ),
        table,
    ]
    if costs:
        parts.append(Text(f"at delta {costs[0].delta}; partners compare the words outside this service"))
    if charter.filter_order is not None:
        order = charter.filter_order
        parts.append(Text(f"a Renyi filter of order {order} refuses what would pass a cap; counts are ceilings"))
    if chosen is not None:
        parts.append(Text(_why_this_order(chosen)))
    if any(row.event.kind == "none" for row in charter.table):
        parts.append(Text("rows of kind none: encrypted, and no differential privacy", style="bold red"))
    return Group(*parts)


def campaign_screen(campaign: Campaign) -> Text:
    rule = campaign.update_rule.model_dump(mode="json")
    return facts(
        [
            ("campaign", f"{campaign.name} ({campaign.digest})"),
            ("words", words(campaign.digest)),
            ("parameters", f"{campaign.length:,} in {len(campaign.parameters)} tensors"),
            ("update rule", ", ".join(f"{name} {value}" for name, value in rule.items())),
            ("clip, denominator", f"{campaign.clip}, {campaign.denominator}"),
            ("genesis", campaign.genesis),
        ]
    )


def round_screen(document: RoundDocument) -> Group:
    plan = document.plan.body
    seal = document.seal
    rows = [
        ("round", f"{document.number}, attempt {document.attempt}: {document.state}"),
        ("R", document.round),
        ("event", f"{plan.event.kind}, z {plan.event.noise_multiplier}, sampling rate {plan.event.sampling_rate}"),
        ("lanes", f"{plan.layout.length:,} values in {plan.layout.lane_width} bits, shift {plan.layout.shift}"),
        ("starts from", plan.base_state),
        ("deadlines", " / ".join(moment(t) for t in plan.deadlines.model_dump().values())),
        ("seconds", ", ".join(f"{state} {seconds:.1f}" for state, seconds in document.seconds.items())),
        ("cohort", document.cohort or "none yet"),
        ("seal", "none yet" if seal is None else f"{seal.digest}, sum of {len(seal.body.contributors)}"),
    ]
    if document.probes:
        found = ", ".join(
            f"{partner} {said.deviations:+.1f} (all sums {said.total_deviations:+.1f})"
            for partner, said in sorted(document.probes.items())
        )
        rows.append(("noise, sigma", found))
    if document.close is not None:
        rows.append(("closed", f"{document.close.body.cause}: {document.close.body.reason}"))
    table = Table("partner", "joined", "uploaded", "in the sum", "opened", "confirmed", "")
    sealed = () if seal is None else seal.body.partners
    for partner in sorted({*document.joined, *document.uploaded, *document.openings, *document.confirmations}):
        remarks = [f"check {r.body.check}: {r.body.reason}" for r in document.refusals if r.body.partner == partner]
        remarks += ["votes void"] if partner in document.voids else []
        marks = [
            _mark(partner in group) for group in (document.joined, document.uploaded, sealed, document.openings)
        ]
        table.add_row(
            partner, *marks, document.confirmations.get(partner, "")[:16], Text(visible("; ".join(remarks)), "red")
        )
    return Group(facts(rows), table)


def status_screen(view: Overview) -> Group:
    parts: list[RenderableType] = [facts([("service", f"{view.service}, version {view.version}")])]
    if view.charter is None:
        parts.append(Text("no charter yet"))
    else:
        charter = view.charter
        standing = "in force" if charter.in_force else f"waits for {', '.join(charter.missing)}"
        title = ("consortium", f"{charter.consortium}, epoch {charter.epoch}, {standing}")
        parts.append(facts([title, ("charter", charter.charter), ("words", charter.words)]))
    if view.enrolments:
        names = ", ".join(f"{name} ({state})" for name, state in view.enrolments.items())
        parts.append(facts([("enrolled", names)]))
    if view.campaigns:
        table = Table("campaign", "hash", "confirmed up to", "attempts by state", title="Campaigns")
        for campaign in view.campaigns:
            states = ", ".join(f"{state} {count}" for state, count in campaign.rounds.items())
            name = campaign.name + ("" if campaign.in_force else " (not countersigned)")
            table.add_row(Text(name), campaign.campaign[:16], str(campaign.last_confirmed), states or "none")
        parts.append(table)
    if view.budgets:
        parts.append(_budget_table(view.budgets))
    return Group(*parts)


def accounts_screen(accounts: Sequence[Account]) -> Table:
    table = Table("account", "role", "scope", "state", "signs in by", box=None)
    for account in accounts:
        way = "password" if account.way == "password" else account.email or account.subject or ""
        table.add_row(*(Text(cell) for cell in (account.name, account.role, account.scope, account.state, way)))
    return table


def _budget_table(budgets: Sequence[BudgetView]) -> Table:
    table = Table(
        "partner", "epsilon in the sum / cap", "alone / cap", "delta", "events left", title="Budgets spent"
    )
    for budget in budgets:
        left = ", ".join(f"{name} {count}" for name, count in budget.left.items())
        table.add_row(
            budget.partner,
            _spent(budget.epsilon_in_sum, budget.cap_in_sum),
            _spent(budget.epsilon_alone, budget.cap_alone),
            f"{budget.delta:g}",
            Text(left),
        )
    return table


def _spent(epsilon: float | None, cap: float) -> Text:
    return Text("infinite", "bold red") if epsilon is None else Text(f"{epsilon:.2f} / {cap:g}")


def _why_this_order(chosen: OrderChoice) -> str:
    beside = "".join(f", {share:.1%} at order {order}" for order, share in chosen.beside)
    return (
        f"order {chosen.order} was chosen because it leaves the most: the caps hold {chosen.share:.1%} of the"
        f" table's events{beside}; the charter fixes it, whatever happens"
    )


def _mark(done: bool) -> str:
    return "yes" if done else ""
