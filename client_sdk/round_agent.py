"""What the loop over rounds needs of an agent: `client_sdk.agent.Agent` has it, and knows no torch."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from client_sdk.attempt import Attempt, JoinedAttempt, Outcome
from client_sdk.model_state import ModelState
from privacy.protocol.messages import Campaign, Charter
from privacy.randomness import Keystream


class RoundAgent(Protocol):
    @property
    def charter(self) -> Charter: ...

    @property
    def folder(self) -> Path: ...

    def follow(self, campaign: Campaign, state: ModelState, until: int | None = None) -> Iterator[Attempt]: ...

    def current_state(self, campaign: Campaign) -> ModelState: ...

    def join(self, attempt: Attempt) -> JoinedAttempt: ...

    def contribute(self, joined: JoinedAttempt, values: NDArray[np.int32]) -> None: ...

    def finish(self, joined: JoinedAttempt) -> Outcome: ...

    def check_records(self, records: int) -> None: ...

    def notice(self, text: str) -> None: ...

    def keystream_for(self, joined: JoinedAttempt, purpose: str) -> Keystream: ...
