"""Private parameters on the partner's own disk, in step with the shared state (protocol 6.3).

Rules:
1. What a private part becomes is written down before its attempt is uploaded (*pending*), and counts only once that
   attempt is confirmed: then it belongs to the shared state that came of it.
2. When a partner restarts, shared and private parameters are overwritten together, from what belongs together.
   For a shared state that has no private part (rounds this partner missed), the latest earlier one stands.
3. Two generations are kept, like the shared states. Nothing here ever leaves the machine.
Files are encodings of ModelState with a salt of zeros: nothing needs to be hidden from their owner.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from client_sdk.durable import make_folder, write_durably
from client_sdk.model_state import SALT_BYTES, ModelState
from client_sdk.update_rules import check_state, initial_state, update
from privacy.errors import MalformedMessage
from privacy.protocol.messages import UpdateRule

_KEPT = 2


class PrivateHeads:
    """The private part of one campaign's model.

    initial: float64[d], the parameters the model came with, used until there is something on disk.
    """

    def __init__(self, folder: Path, campaign: str, rule: UpdateRule, initial: NDArray[np.float64]) -> None:
        self._folder = make_folder(folder / "private" / campaign) if initial.size else None
        self._rule = rule
        self._initial = initial
        self._current = self._state(0, initial)

    @property
    def values(self) -> NDArray[np.float64]:
        return self._current.parameters

    def follow(self, shared: ModelState) -> None:
        """Go to what belongs to this shared state (rule 2). Raises MalformedMessage on files of another model."""
        if self._folder is None:
            return
        exact = self._folder / _name(shared)
        earlier = [path for path in self._generations() if _round(path) <= shared.round]
        path = exact if exact.exists() else (earlier[-1] if earlier else None)
        self._current = self._state(0, self._initial) if path is None else self._read(path)

    def prepare_gradient(self, attempt: str, gradient: NDArray[np.float64]) -> None:
        """Rule 1 for a *distributed* round. gradient: float64[d], noised mean, for the campaign's update rule."""
        parameters, optimiser = update(self._rule, self._current.parameters, self._current.optimiser, gradient)
        self._write_pending(attempt, ModelState(self._current.round + 1, parameters, optimiser, bytes(SALT_BYTES)))

    def prepare_values(self, attempt: str, values: NDArray[np.float64]) -> None:
        """Rule 1 for a round of steps at home: float64[d], what they led to."""
        self._write_pending(
            attempt, ModelState(self._current.round + 1, values, self._current.optimiser, bytes(SALT_BYTES))
        )

    def settle(self, attempt: str, confirmed: ModelState | None) -> None:
        """The attempt ended: with the shared state that came of it, or with None, and then nothing has happened."""
        if self._folder is None:
            return
        pending = self._folder / f"{attempt}.pending"
        if confirmed is not None and pending.exists():
            write_durably(self._folder / _name(confirmed), pending.read_bytes())
            for old in self._generations()[:-_KEPT]:
                old.unlink()
        pending.unlink(missing_ok=True)

    def recover(self, ended: Mapping[str, str | None], shared: ModelState) -> None:
        """After a crash: settle what was pending. ended: the state after each attempt that ended, by R."""
        for pending in [] if self._folder is None else sorted(self._folder.glob("*.pending")):
            attempt = pending.stem
            if attempt in ended:
                self.settle(attempt, shared if ended[attempt] == shared.digest else None)

    def _state(self, number: int, values: NDArray[np.float64]) -> ModelState:
        # A model without private parameters still needs one number to be a state; nobody reads it.
        held = values if values.size else np.zeros(1)
        return ModelState(number, held, initial_state(self._rule, held.size), bytes(SALT_BYTES))

    def _write_pending(self, attempt: str, state: ModelState) -> None:
        if self._folder is not None:
            write_durably(self._folder / f"{attempt}.pending", state.to_bytes())

    def _read(self, path: Path) -> ModelState:
        state = ModelState.from_bytes(path.read_bytes())
        if state.parameters.size != self._initial.size:
            raise MalformedMessage(
                f"{self._initial.size} private parameters in {path}",
                f"{state.parameters.size}",
                "use the model of before, or move the file away to start the private part anew",
            )
        check_state(self._rule, state.optimiser, self._initial.size)
        return state

    def _generations(self) -> list[Path]:
        """Oldest first: names start with the round number."""
        return sorted(self._folder.glob("*.state")) if self._folder is not None else []


def _name(shared: ModelState) -> str:
    return f"{shared.round:016d}-{shared.digest}.state"


def _round(path: Path) -> int:
    return int(path.name.split("-")[0])
