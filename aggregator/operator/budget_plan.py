"""`budget-plan`: noise, sampling rate and lanes for a target, and which bound decided them. It needs no service.

Rules:
1. Sizes are checked as a charter's would be: cohort, colluders, and the envelope's bound on contributors.
2. It promises nothing: `charter draft` and every partner check what is signed.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Annotated, Any

import typer
from rich.console import Group
from rich.table import Table
from rich.text import Text

from aggregator.operator.asking import show
from aggregator.operator.screens import facts, screen
from privacy.dp.events import Guarantee
from privacy.dp.mechanism import PROBES
from privacy.dp.planner import Bound, BudgetPlan, BudgetTerms, plan_budget
from privacy.dp.trade_off import attack_power
from privacy.he.lanes import LaneLayout
from privacy.he.parameters import DEFAULT, POLYNOMIAL_BYTES
from privacy.protocol.round_state import check_cohort_size


@dataclass(frozen=True)
class Proposal:
    """A plan, what it costs on the wire, and what it means. even_odds: of the best attacker, in the sum."""

    plan: BudgetPlan
    rounds: int
    bytes_per_parameter: float
    upload_bytes: int
    even_odds: float
    bounds: tuple[Bound, ...]


def budget_plan(
    target_epsilon: Annotated[float, typer.Option(min=0.001, help="The cap in the sum.")],
    rounds: Annotated[int, typer.Option(min=1, max=1_000_000)],
    records: Annotated[int, typer.Option(min=1, help="At the partner with most; delta is 1 / (10 x records).")],
    partners: Annotated[int, typer.Option(min=3, help="On the roster.")] = 10,
    n_min: Annotated[int | None, typer.Option(help="Least contributors; all but one colluder unless told.")] = None,
    colluders: Annotated[int, typer.Option(min=1)] = 1,
    parameters: Annotated[int, typer.Option(min=1, help="Of the shared model.")] = 1_000_000,
    sampling_rate: Annotated[float | None, typer.Option(help="Chosen unless told.")] = None,
    cap_alone: Annotated[float | None, typer.Option(help="The cap for one update alone, if any.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")] = False,
) -> None:
    """Noise, sampling rate and lanes for a target epsilon, and which bound decided them. Needs no service."""
    least = max(colluders + 2, partners - colluders) if n_min is None else n_min
    terms = BudgetTerms(
        target_epsilon=target_epsilon,
        rounds=rounds,
        records=records,
        contributors=partners,
        honest=least - colluders,
        parameters=parameters,
        cap_alone=cap_alone,
        sampling_rate=sampling_rate,
    )
    proposal = propose(terms, least, colluders)
    if as_json:
        show(as_values(proposal), as_json)
    else:
        screen.print(proposal_screen(proposal))


def propose(terms: BudgetTerms, n_min: int, colluders: int) -> Proposal:
    """Raises UnsafeParameters with the bound that cannot be kept, AccountingFailed."""
    check_cohort_size(terms.contributors, n_min, colluders)
    DEFAULT.check_contributors(terms.contributors)
    plan = plan_budget(terms)
    lanes = LaneLayout(plan.lanes.width, terms.contributors)
    power = attack_power(((plan.event, terms.rounds),), Guarantee.IN_SUM, terms.honest)
    largest = Bound("error of the sum", terms.contributors, DEFAULT.max_contributors, False)
    return Proposal(
        plan=plan,
        rounds=terms.rounds,
        bytes_per_parameter=lanes.bytes_per_value,
        upload_bytes=lanes.polynomials(terms.parameters + PROBES) * POLYNOMIAL_BYTES,
        even_odds=power.even_odds,
        bounds=(*plan.bounds, largest),
    )


def as_values(proposal: Proposal) -> dict[str, Any]:
    """For scripts."""
    plan = proposal.plan
    return {
        "noise_multiplier": plan.event.noise_multiplier,
        "sampling_rate": plan.event.sampling_rate,
        "expected_batch": plan.expected_batch,
        "rounds": proposal.rounds,
        "delta": plan.delta,
        "epsilon_in_sum": plan.epsilon_in_sum,
        "epsilon_alone": plan.epsilon_alone,
        "even_odds": proposal.even_odds,
        "lane_width": plan.lanes.width,
        "shift": plan.lanes.shift,
        "records_to_bound": plan.lanes.records_to_bound,
        "bytes_per_parameter": proposal.bytes_per_parameter,
        "upload_bytes": proposal.upload_bytes,
        "binding": list(plan.binding),
        "bounds": [asdict(bound) for bound in proposal.bounds],
    }


def proposal_screen(proposal: Proposal) -> Group:
    plan = proposal.plan
    rows = [
        ("noise multiplier", f"{plan.event.noise_multiplier:.4f}"),
        ("sampling rate", f"{plan.event.sampling_rate:g}: a batch of {plan.expected_batch:,.0f}, on average"),
        ("epsilon in the sum", f"{plan.epsilon_in_sum:.3f} after {proposal.rounds} rounds, delta {plan.delta:.3g}"),
        ("epsilon alone", f"{plan.epsilon_alone:.3f}"),
        ("best attacker", f"right {proposal.even_odds:.1%} of the time from even odds, in the sum"),
        (
            "lanes",
            f"{plan.lanes.width} bits, shift {plan.lanes.shift}: {proposal.bytes_per_parameter:.2f} B/parameter",
        ),
        ("one upload", f"{proposal.upload_bytes:,} bytes"),
    ]
    table = Table("bound", "needs", "of", "", title="What bounds the plan")
    for bound in proposal.bounds:
        table.add_row(bound.name, f"{bound.needs:.4g}", f"{bound.limit:.4g}", "binds" if bound.binds else "")
    snippet = (
        '[[table]]\nname = "training"\nkind = "distributed"\n'
        f"noise_multiplier = {plan.event.noise_multiplier}\nsampling_rate = {plan.event.sampling_rate}\n"
        f"count = {proposal.rounds}"
    )
    return Group(facts(rows), table, Text("The row for a charter's draft:"), Text(snippet, "dim"))
