"""How the demo's results look: tables on the terminal, a picture as SVG, and everything as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from deploy.demo.consortium import PARTNERS
from deploy.demo.results import Gate, RoundCosts, Spent
from deploy.demo.task import Scores

METHODS = {
    "alone_mlp": "alone, neural network",
    "alone_forest": "alone, random forest",
    "federated": "federated, epsilon {spent:.2g}",
    "federated_no_dp": "federated, no privacy",
    "pooled": "all data in one place",
}
TESTS = {"everyone": "everyone's test compounds", "own": "each one's own test compounds"}
WHY_ALONE_IS_LARGER = (
    "Alone is what could be learnt by whoever opened one partner's upload by itself, which carries only part of the"
    " noise; it matters if a quorum of partners broke the protocol together. In the sum is what everyone can learn"
    " from what is really opened, colluders included."
)


def methods(spent: float) -> dict[str, str]:
    """What each method is called; `spent`: epsilon in the sum, which a quick run spends a part of."""
    return {name: label.format(spent=spent) for name, label in METHODS.items()}


def score_table(scores: Mapping[str, Scores], where: str, spent: float) -> Table:
    table = Table(title=f"ROC-AUC on {TESTS[where]}", title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("trained")
    table.add_column("mean", justify="right", style="bold")
    for partner in PARTNERS:
        table.add_column(partner, justify="right")
    for name, label in methods(spent).items():
        each = getattr(scores[name], where)
        style = "green" if name == "federated" else None
        table.add_row(label, f"{sum(each) / len(each):.3f}", *[f"{value:.3f}" for value in each], style=style)
    return table


def spent_table(spent: Mapping[str, Spent], delta: float) -> Table:
    title = f"epsilon, at delta {delta:g}"
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for column in ("", "in the sum", "cap", "alone", "cap"):
        table.add_column(column, justify="left" if not column else "right")
    for partner, of in spent.items():
        table.add_row(partner, f"{of.in_sum:.2f}", f"{of.cap_in_sum:g}", f"{of.alone:.1f}", f"{of.cap_alone:g}")
    return table


def print_results(
    console: Console,
    scores: Mapping[str, Scores],
    spent: Mapping[str, Spent],
    delta: float,
    costs: RoundCosts,
    gates: Sequence[Gate],
) -> None:
    for where in TESTS:
        console.print(score_table(scores, where, max(each.in_sum for each in spent.values())))
    console.print(spent_table(spent, delta))
    console.print(WHY_ALONE_IS_LARGER, style="dim")
    console.print(
        f"\nbytes a parameter: {costs.bulk_up_per_parameter:.2f} up, {costs.bulk_down_per_parameter:.2f} down"
        f" (bulk; a float32 in the clear: 4).  A partner's whole round: {costs.bytes_up / 1e3:.0f} kB up,"
        f" {costs.bytes_down / 1e3:.0f} kB down."
    )
    phases = ", ".join(f"{phase} {seconds:.2f}" for phase, seconds in costs.seconds.items())
    console.print(f"a round takes {costs.round_seconds_median:.1f} s (median)", end="; ")
    console.print(f"seconds a round and partner: {sum(costs.seconds.values()):.2f} ({phases})")
    console.print(
        f"probes: the noise of all sums is within {costs.worst_probe:.1f} standard deviations of what is owed"
    )
    console.print()
    for gate in gates:
        console.print(
            f"[{'green' if gate.passed else 'bold red'}]{'pass' if gate.passed else 'FAIL'}[/] {gate.what}"
        )


def write_json(path: Path, **values: Any) -> None:
    path.write_text(json.dumps(values, indent=1, default=asdict) + "\n", encoding="utf-8")


def picture(scores: Mapping[str, Scores], spent: float) -> str:
    """A dot plot: a row a method, the mean on everyone's test compounds (filled) and on the own (open)."""
    left, right, top, step, width = 190, 30, 44, 34, 680
    low, high = 0.70, 0.88
    height = top + step * len(METHODS) + 56

    def x(value: float) -> float:
        return left + (value - low) / (high - low) * (width - left - right)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img"'
        ' font-family="system-ui, sans-serif" font-size="13">',
        "<title>ROC-AUC of five ways to train, mean over six partners</title>",
        "<style>.t{fill:#1b2733}.m{fill:#5b6b7a}.g{stroke:#d5dce2}.d{fill:#1f6f8b;stroke:#1f6f8b}"
        ".o{fill:#fff;stroke:#1f6f8b}.h{fill:#e8f3f1}"
        "@media(prefers-color-scheme:dark){.t{fill:#e6edf3}.m{fill:#9aa7b4}.g{stroke:#39434d}"
        ".d{fill:#6cc3d5;stroke:#6cc3d5}.o{fill:#12181f;stroke:#6cc3d5}.h{fill:#15302f}}</style>",
        '<text class="t" x="16" y="22" font-weight="600">ROC-AUC, mean over six partners</text>',
    ]
    for tick in range(round(low * 100), round(high * 100) + 1, 3):
        at = x(tick / 100)
        parts.append(f'<line class="g" x1="{at:.1f}" x2="{at:.1f}" y1="{top - 8}" y2="{height - 48}"/>')
        parts.append(f'<text class="m" x="{at:.1f}" y="{height - 32}" text-anchor="middle">{tick / 100:.2f}</text>')
    for row, (name, label) in enumerate(methods(spent).items()):
        y = top + step * row + step // 2 - 6
        if name == "federated":
            parts.append(f'<rect class="h" x="8" y="{y - 15}" width="{width - 16}" height="30" rx="6"/>')
        everyone, own = scores[name].mean_everyone, scores[name].mean_own
        weight = "600" if name == "federated" else "400"
        parts.append(f'<text class="t" x="16" y="{y + 5}" font-weight="{weight}">{escape(label)}</text>')
        parts.append(f'<circle class="o" cx="{x(own):.1f}" cy="{y}" r="6" stroke-width="2"/>')
        parts.append(f'<circle class="d" cx="{x(everyone):.1f}" cy="{y}" r="6"/>')
    y = height - 10
    parts.append(
        f'<circle class="d" cx="{left}" cy="{y - 4}" r="5"/><text class="m" x="{left + 12}" y="{y}">'
        "on everyone&#8217;s test compounds</text>"
    )
    parts.append(
        f'<circle class="o" cx="{left + 230}" cy="{y - 4}" r="5" stroke-width="2"/>'
        f'<text class="m" x="{left + 242}" y="{y}">on its own test compounds</text></svg>'
    )
    return "\n".join(parts) + "\n"  # fmt: skip
