"""The noise audit over an opened sum: canaries in a statistics round, and what that sum says of epsilon.

Rules:
1. It is a round like any other, of a row of the charter's table of kind *statistics*: charged, encrypted, opened
   by a quorum. What is in it are canaries and nobody's records.
2. The coordinates are dealt out: the partner at place p of the roster has p, p + n, p + 2n, ... for its own
   canaries, so that nobody's coins disturb another's.
3. Coins are on disk before anything is uploaded, and stay at home: after a crash the same coins are held against
   the sum. They tell nothing about any record.
Each partner judges by its own canaries alone; privacy/dp/audit.py says how.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from client_sdk.agent import Agent
from client_sdk.attempt import Attempt, Outcome
from client_sdk.durable import make_folder, write_durably
from client_sdk.rehearsal import STRETCH
from client_sdk.training import Streams, statistics_contribution
from privacy.dp import accountant
from privacy.dp.audit import LONGEST_SUM, NoiseAudit, audit_noise, guess_coins
from privacy.dp.events import Guarantee
from privacy.errors import AttemptOver, UnsafeParameters
from privacy.protocol.messages import Campaign, Plan
from privacy.randomness import RandomSource

_FOLDER: Final = "canaries"
_BLOCK: Final = 64


@dataclass(frozen=True)
class CanarySheet:
    """One partner's canaries of one round. places: int64[m], their coordinates. coins: bool[m]."""

    dimension: int
    places: NDArray[np.int64]
    coins: NDArray[np.bool_]

    @classmethod
    def kept(cls, folder: Path, plan: Plan, place: int, partners: int, source: RandomSource) -> CanarySheet:
        """The sheet of this attempt: drawn and written down, or read again (rule 3)."""
        dimension = plan.layout.parameters
        if not partners <= dimension <= LONGEST_SUM:
            raise UnsafeParameters(
                f"a statistics round of {partners} to {LONGEST_SUM} coordinates",
                str(dimension),
                "plan a shorter vector",
            )
        places = np.arange(place, dimension, partners, dtype=np.int64)
        file = make_folder(folder / _FOLDER) / plan.digest
        if not file.exists():
            write_durably(file, source.bytes((places.size + 7) // 8))
        coins = np.unpackbits(np.frombuffer(file.read_bytes(), dtype=np.uint8))[: places.size].astype(np.bool_)
        return cls(dimension, places, coins)

    def vectors(self, clip: float) -> Iterator[NDArray[np.float32]]:
        """float32[at most 64, d] at a time: each canary that takes part, a thousand times longer than the clip."""
        chosen = self.places[self.coins]
        for start in range(0, chosen.size, _BLOCK):
            block = chosen[start : start + _BLOCK]
            rows = np.zeros((block.size, self.dimension), dtype=np.float32)
            rows[np.arange(block.size), block] = STRETCH * clip
            yield rows

    def judge(self, values: NDArray[np.int64], claimed: float, delta: float) -> NoiseAudit:
        """Hold the opened sum, probes and all, against the claim."""
        return audit_noise(guess_coins(values[self.places], self.coins), claimed, delta)


def audit_next_sum(agent: Agent, campaign: Campaign) -> tuple[Outcome, NoiseAudit]:
    """Put canaries into the next statistics round, see it through, and judge its sum.

    Rounds of training on the way are followed, not joined. A round that ends without a sum is waited past, and so
    is one that a crash cut off after its confirmation: what was confirmed is not decoded again.
    """
    for item in agent.attend(campaign, agent.current_state(campaign), take_part=True):
        outcome = _contribute(agent, item) if isinstance(item, Attempt) else item
        if outcome is None or outcome.values is None or outcome.plan.kind != "statistics":
            continue
        if (agent.folder / _FOLDER / outcome.plan.digest).exists():
            return outcome, _sheet(agent, outcome.plan).judge(outcome.values, *claim(agent, outcome.plan))
    raise AttemptOver("a statistics round with a sum", "the end of following", "run it again")


def claim(agent: Agent, plan: Plan) -> tuple[float, float]:
    """(epsilon, delta) of this one event, in the sum, under the charter."""
    delta = agent.charter.entry(agent.partner.name).caps.delta
    return accountant.epsilon(((plan.event, 1),), delta, Guarantee.IN_SUM, agent.charter.honest), delta


def _contribute(agent: Agent, attempt: Attempt) -> Outcome | None:
    if attempt.plan.kind != "statistics" or attempt.mechanism is None:
        return None
    sheet = _sheet(agent, attempt.plan)
    try:
        joined = agent.join(attempt)
    except AttemptOver:
        return None
    streams = Streams(*(agent.keystream_for(joined, purpose) for purpose in ("sample", "noise", "layers")))
    made = statistics_contribution(sheet.vectors(attempt.campaign.clip), attempt.mechanism, streams)
    agent.contribute(joined, made.values)
    return agent.finish(joined)


def _sheet(agent: Agent, plan: Plan) -> CanarySheet:
    roster = agent.charter.partners
    place = roster.index(agent.partner.name)
    return CanarySheet.kept(agent.folder, plan, place, len(roster), agent.partner.outside.source)
