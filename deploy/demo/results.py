"""What the demo measured, as one value: scores of every method, both epsilons, bytes, seconds, and the gates.

Rules:
1. A gate compares means over the six partners; a failed one makes the demo exit non-zero.
2. Nothing is taken on trust: the six ledgers, the six states and every round's outcome are read from the partners'
   own folders by the partners' own commands.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from deploy.demo.consortium import PARTNERS, Consortium, each_of
from deploy.demo.settings import DemoSettings
from deploy.demo.task import Scores

BETTER_THAN_FOREST = 0.04
PHASES = ("join", "train", "encrypt", "upload", "seal", "open", "decode", "apply", "confirm")


@dataclass(frozen=True)
class Spent:
    """One partner's epsilons by its own ledger, its caps, and whether the service's ledger says the same."""

    alone: float
    in_sum: float
    cap_alone: float
    cap_in_sum: float
    agrees: bool


@dataclass(frozen=True)
class RoundCosts:
    """Means over partners and rounds; bytes a parameter are the shards' alone, bytes a round are everything."""

    seconds: Mapping[str, float]
    bulk_up_per_parameter: float
    bulk_down_per_parameter: float
    bytes_up: float
    bytes_down: float
    worst_probe: float
    round_seconds_median: float


@dataclass(frozen=True)
class Gate:
    what: str
    passed: bool


def spent_by(consortium: Consortium) -> dict[str, Spent]:
    def spent(partner: str) -> Spent:
        told = json.loads(consortium.partner(partner, "budget", "--json"))
        own = {budget["guarantee"]: budget for budget in told["own"]["guarantees"]}
        return Spent(
            alone=own["alone"]["epsilon"],
            in_sum=own["in_sum"]["epsilon"],
            cap_alone=own["alone"]["cap"],
            cap_in_sum=own["in_sum"]["cap"],
            agrees=told["compared"] and told["difference"] is None,
        )

    return each_of(PARTNERS, spent)


def states_of(consortium: Consortium) -> dict[str, list[str]]:
    """The state after each confirmed attempt, by partner, from the partners' journals."""

    def states(partner: str) -> list[str]:
        told = json.loads(consortium.partner(partner, "status", "--json"))
        return [attempt["state"] for attempt in told["attempts"] if attempt["ending"] == "confirmed"]

    return each_of(PARTNERS, states)


def lines_of(consortium: Consortium, partner: str) -> list[dict[str, Any]]:
    """What a partner's training script wrote down of each round."""
    return [json.loads(line) for line in consortium.record(partner).read_text(encoding="utf-8").splitlines()]


def round_costs(consortium: Consortium, parameters: int) -> RoundCosts:
    lines = [line for partner in PARTNERS for line in lines_of(consortium, partner)]
    phases = {phase for line in lines for phase in line["seconds"]}
    ordered = [phase for phase in PHASES if phase in phases] + sorted(phases - set(PHASES))

    def mean(key: str) -> float:
        return float(np.mean([line[key] for line in lines]))

    return RoundCosts(
        seconds={p: float(np.mean([line["seconds"].get(p, 0.0) for line in lines])) for p in ordered},
        bulk_up_per_parameter=mean("bulk_up") / parameters,
        bulk_down_per_parameter=mean("bulk_down") / parameters,
        bytes_up=mean("bytes_up"),
        bytes_down=mean("bytes_down"),
        round_seconds_median=float(np.median([line["wall"] for line in lines])),
        worst_probe=max((abs(line["probe_z_total"] or 0.0) for line in lines), default=0.0),
    )


def accuracy_gates(scores: Mapping[str, Scores]) -> list[Gate]:
    federated, forest = scores["federated"], scores["alone_forest"]
    margin = federated.mean_everyone - forest.mean_everyone
    own = federated.mean_own - forest.mean_own
    return [
        Gate(f"federated beats own forests on everyone's test compounds by {margin:+.3f} (at least +0.040)",
             margin >= BETTER_THAN_FOREST),
        Gate(f"federated against own forests on their own test compounds: {own:+.3f} (at least 0)", own >= 0.0),
    ]  # fmt: skip


def protocol_gates(
    consortium: Consortium, spent: Mapping[str, Spent], states: Mapping[str, list[str]]
) -> list[Gate]:
    rounds = consortium.terms.rounds
    return [
        Gate(f"all six hold the same {rounds} states, hash by hash", hashes_agree(states, rounds)),
        Gate("every signature, root and fingerprint verified by every partner; nobody accused",
             all(unblemished(lines_of(consortium, partner), rounds) for partner in PARTNERS)),
        Gate("no budget overspent, and both ledgers of every partner agree",
             all(s.in_sum <= s.cap_in_sum and s.alone <= s.cap_alone and s.agrees for s in spent.values())),
    ]  # fmt: skip


def hashes_agree(states: Mapping[str, list[str]], rounds: int) -> bool:
    return len({tuple(held) for held in states.values()}) == 1 and len(states[PARTNERS[0]]) == rounds


def unblemished(lines: list[dict[str, Any]], rounds: int) -> bool:
    """Whether a partner saw each round once, confirmed, and raised neither accusation nor alarm in any."""
    seen = [line["round"] for line in lines] == list(range(1, rounds + 1))
    return seen and all(
        line["ended"] == "confirmed" and not line["accused"] and not line["alarms"] for line in lines
    )


def summary(
    settings: DemoSettings,
    rounds: int,
    parameters: int,
    scores: Mapping[str, Scores],
    spent: Mapping[str, Spent],
    states: Mapping[str, list[str]],
    costs: RoundCosts,
) -> dict[str, Any]:
    """out/demo/summary.json: figures by stable names. Epsilons are the largest of the six partners'."""
    return {
        "partners": len(PARTNERS),
        "rounds": rounds,
        "parameters": parameters,
        "delta": settings.delta,
        "epsilon_in_sum": max(each.in_sum for each in spent.values()),
        "epsilon_alone": max(each.alone for each in spent.values()),
        "roc_auc": {
            "own": {name: each.mean_own for name, each in scores.items()},
            "everyone": {name: each.mean_everyone for name, each in scores.items()},
        },
        "upload_bytes_per_parameter": costs.bulk_up_per_parameter,
        "download_bytes_per_parameter": costs.bulk_down_per_parameter,
        "upload_bytes_per_round": costs.bytes_up,
        "download_bytes_per_round": costs.bytes_down,
        "round_seconds_median": costs.round_seconds_median,
        "seconds_by_phase": dict(costs.seconds),
        "model_hashes_agree": hashes_agree(states, rounds),
    }
