"""What the agent hands to the loop that trains: an attempt to take part in, what came of it, and what it cost.

Values only: the agent acts on them. A `state` is always the one to go on from, so a loop that takes `attempt.state`
before it trains and `outcome.state` after it stays in step whatever happened in between.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from client_sdk.model_state import ModelState
from privacy.dp.privatise import MechanismPlan
from privacy.he.lanes import LaneLayout
from privacy.protocol.messages import Campaign, Cohort, Join, Plan, Signed
from privacy.protocol.round_state import quorum

Ending = Literal["confirmed", "void", "closed"]


@dataclass(frozen=True)
class RoundReport:
    """What one attempt was for this partner.

    `contributors`: U. `probe_z`: standard deviations by which the probes' variance lies off the noise that |U|
    partners owe (negative: some noise is missing), None where the plan has no probes; `probe_z_total` the same
    over all rounds decoded here. `accused`: partner -> why its opening or fingerprint was set aside; evidence,
    not proof. `seconds`: by phase (join, upload, seal, open, decode, apply, confirm), wall clock. `bytes_up`,
    `bytes_down`: everything over HTTP, headers and bodies; `bulk_up`, `bulk_down`: shards alone.
    """

    contributors: tuple[str, ...] = ()
    probe_z: float | None = None
    probe_z_total: float | None = None
    accused: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    seconds: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    bytes_up: int = 0
    bytes_down: int = 0
    bulk_up: int = 0
    bulk_down: int = 0
    alarms: tuple[str, ...] = ()


@dataclass(frozen=True)
class Outcome:
    """How an attempt ended. `state`: the state to go on from, the new one only if `ended` is "confirmed".

    `values`: the opened sum, int64[layout.length], probes included; None unless confirmed and decoded here.
    `summed_key`: S, 4,096 little-endian signed 32-bit words, which opened it; None where `values` is.
    """

    round_digest: str
    plan: Plan
    ended: Ending
    reason: str
    state: ModelState
    report: RoundReport
    values: NDArray[np.int64] | None = None
    summed_key: bytes | None = field(default=None, repr=False)

    @property
    def confirmed(self) -> bool:
        return self.ended == "confirmed"

    @property
    def void(self) -> bool:
        return self.ended == "void"

    @property
    def closed(self) -> bool:
        return self.ended == "closed"


@dataclass(frozen=True)
class Attempt:
    """An attempt that passed every check before joining. `state`: the state that its plan starts from.

    `before`: outcomes of attempts that were finished or caught up with on the way here (after a restart, or while
    this partner was away), oldest first.
    """

    signed_plan: Signed[Plan]
    campaign: Campaign
    mechanism: MechanismPlan | None
    layout: LaneLayout
    state: ModelState
    before: tuple[Outcome, ...] = ()

    @property
    def plan(self) -> Plan:
        return self.signed_plan.body

    @property
    def round_digest(self) -> str:
        """R, in hex."""
        return self.signed_plan.digest


@dataclass(frozen=True)
class JoinedAttempt:
    """An attempt whose cohort this partner accepted and was charged for: it may be trained for, once."""

    attempt: Attempt
    cohort: Cohort
    joins: Mapping[str, Join]
    colluders: int

    @property
    def plan(self) -> Plan:
        return self.attempt.plan

    @property
    def round_digest(self) -> str:
        return self.attempt.round_digest

    @property
    def cohort_digest(self) -> str:
        """J, in hex."""
        return self.cohort.digest

    @property
    def quorum(self) -> int:
        return quorum(len(self.cohort.members), self.colluders)
