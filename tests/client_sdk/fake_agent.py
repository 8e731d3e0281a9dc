"""An agent without a service: it adds uploads in the clear, and applies the sum as the real one does.

Used by the tests of the loop only; the agent itself has tests of its own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from client_sdk.attempt import Attempt, JoinedAttempt, Outcome, RoundReport
from client_sdk.model_state import ModelState, apply_sum
from privacy.dp.events import PrivacyEvent
from privacy.errors import AttemptOver, UnsafeParameters
from privacy.he.lanes import LaneLayout
from privacy.protocol.messages import Campaign, Charter, Cohort, CohortMember, SignaturePair, Signed
from privacy.randomness import Keystream
from tests.client_sdk.campaigns import DISTRIBUTED, mechanism, plan

PAIR = SignaturePair(ed25519="0" * 128, ml_dsa_65="0" * 6618)


@dataclass
class FakeAgent:
    """`others`: uploads added to ours in each round. `ends`: how attempts end, by number; confirmed by default.

    `missed`: attempts whose cohort comes without this partner.
    """

    charter: Charter
    folder: Path
    rounds: int = 3
    event: PrivacyEvent = DISTRIBUTED
    scale: float | None = None
    others: tuple[NDArray[np.int32], ...] = ()
    ends: dict[int, str] = field(default_factory=dict)
    missed: tuple[int, ...] = ()
    most_records: int = 1000
    calls: list[str] = field(default_factory=list)
    uploads: list[NDArray[np.int32]] = field(default_factory=list)

    def current_state(self, campaign: Campaign) -> ModelState:
        return self.state

    def notice(self, text: str) -> None:
        self.calls.append(text)

    def follow(self, campaign: Campaign, state: ModelState, until: int | None = None) -> Iterator[Attempt]:
        self.state = state
        for number in range(1, self.rounds + 1):
            under = plan(campaign, event=self.event, number=number, base=self.state.digest, scale=self.scale)
            yield Attempt(
                signed_plan=Signed(body=under, signatures={"operator": PAIR}),
                campaign=campaign,
                mechanism=mechanism(campaign, under),
                layout=LaneLayout(under.layout.lane_width, self.charter.n_max),
                state=self.state,
            )

    def join(self, attempt: Attempt) -> JoinedAttempt:
        self.calls.append(f"join {attempt.plan.attempt}")
        if attempt.plan.attempt in self.missed:
            raise AttemptOver("a cohort with p0", "one without", "follow on")
        members = (CohortMember(partner="p0", join="0" * 64),)
        cohort = Cohort(charter=attempt.plan.charter, plan=attempt.round_digest, members=members)
        return JoinedAttempt(attempt, cohort, {}, colluders=1)

    def contribute(self, joined: JoinedAttempt, values: NDArray[np.int32]) -> None:
        self.calls.append(f"contribute {joined.plan.attempt}")
        self.uploads.append(values)

    def finish(self, joined: JoinedAttempt) -> Outcome:
        self.calls.append(f"finish {joined.plan.attempt}")
        ended = self.ends.get(joined.plan.attempt, "confirmed")
        if ended == "confirmed":
            total = np.sum([self.uploads[-1], *self.others], axis=0, dtype=np.int64)
            under = joined.plan
            key = hashlib.sha256(f"S {under.attempt}".encode()).digest()
            fixed = mechanism(joined.attempt.campaign, under)
            self.state = apply_sum(
                joined.attempt.state, joined.attempt.campaign, under, fixed, total, 1 + len(self.others), key
            )
        return Outcome(joined.round_digest, joined.plan, ended, ended, self.state, RoundReport())  # type: ignore[arg-type]

    def check_records(self, records: int) -> None:
        if records > self.most_records:
            raise UnsafeParameters(f"at most {self.most_records} records", str(records), "train on fewer")

    def keystream_for(self, joined: JoinedAttempt, purpose: str) -> Keystream:
        return Keystream(hashlib.sha256(f"{joined.round_digest} {purpose}".encode()).digest())
