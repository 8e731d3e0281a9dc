"""The state of a campaign: parameters, optimiser, round number and salt, their encoding and their hash.

Rules (protocol 3, 4.5):
1. The hash is SHA-256 over the whole encoding, which starts with its own name and version: every bit counts.
2. The encoding is canonical: one state has one encoding, and what is read must be written back the same.
3. A training round moves it by `apply_sum`, deterministically; a statistics round leaves it untouched.
4. No NaN or infinity is ever part of a state: their bits differ between machines.

Encoding, little-endian: "chorale/1 state" 0x00 | round u64 | salt 32 bytes | d u64 | d float64 parameters |
number of optimiser entries u8 | each, sorted by name: name length u8, ASCII name, 0 (scalar) or 1 (vector of d)
u8, its float64 values.
The campaign is not part of it: a campaign names its genesis by this hash. It stores and sends nothing.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from client_sdk.update_rules import OptimiserState, Vector, check_state, initial_state, update
from privacy.dp.privatise import MechanismPlan, dequantise_sum, to_mean
from privacy.errors import MalformedMessage, OutOfRange, TooLarge, UnsafeParameters
from privacy.protocol.messages import Campaign, Plan, UpdateRule
from privacy.randomness import RandomSource

SALT_BYTES = 32
MAX_STATE_BYTES = 1 << 34
_MAGIC = b"chorale/1 state\x00"
_HEAD = struct.Struct(f"<{len(_MAGIC)}sQ{SALT_BYTES}sQ")
_MAX_ENTRIES = 16
_REMEDY = "fetch the state again, from another partner"


@dataclass(frozen=True, eq=False)
class ModelState:
    """What all partners hold alike after round `round` (0: the genesis).

    parameters: float64[d], flat, in the campaign's order. salt: 32 bytes, secret to the consortium.
    """

    round: int
    parameters: Vector
    optimiser: OptimiserState
    salt: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if (
            not 0 <= self.round < 2**53
            or len(self.salt) != SALT_BYTES
            or self.parameters.ndim != 1
            or self.parameters.size < 1
        ):
            raise MalformedMessage(
                f"a round from 0, flat parameters and a salt of {SALT_BYTES} bytes",
                f"round {self.round}, shape {self.parameters.shape}, {len(self.salt)} bytes",
                _REMEDY,
            )
        object.__setattr__(self, "parameters", _frozen(self.parameters))
        entries = {name: _frozen(self.optimiser[name]) for name in sorted(self.optimiser)}
        object.__setattr__(self, "optimiser", MappingProxyType(entries))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ModelState) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    @cached_property
    def digest(self) -> str:
        """The model hash: SHA-256 of the encoding, lowercase hex."""
        running = hashlib.sha256()
        for chunk in self.chunks():
            running.update(chunk)
        return running.hexdigest()

    def chunks(self) -> Iterator[bytes | memoryview]:
        """The encoding in parts, so that a large state is hashed or written without a second copy."""
        yield _HEAD.pack(_MAGIC, self.round, self.salt, self.parameters.size)
        yield _raw(self.parameters)
        yield struct.pack("<B", len(self.optimiser))
        for name, array in self.optimiser.items():
            encoded = name.encode("ascii")
            yield struct.pack("<B", len(encoded)) + encoded + struct.pack("<B", array.ndim)
            yield _raw(array)

    def to_bytes(self) -> bytes:
        return b"".join(self.chunks())

    @classmethod
    def from_bytes(cls, raw: bytes, limit: int = MAX_STATE_BYTES) -> ModelState:
        """Read an encoding. Raises TooLarge, MalformedMessage; every length is checked before it is used."""
        if len(raw) > limit:
            raise TooLarge(f"a state of at most {limit} bytes", f"{len(raw)} bytes", _REMEDY)
        reader = _Reader(raw)
        magic, round_number, salt, dimension = _HEAD.unpack(reader.take(_HEAD.size))
        if magic != _MAGIC:
            raise MalformedMessage(f"an encoding that starts with {_MAGIC!r}", repr(magic), _REMEDY)
        parameters = reader.vector(dimension)
        entries: dict[str, Vector] = {}
        for _ in range(reader.byte(_MAX_ENTRIES)):
            name = reader.take(reader.byte(255))
            if not name.isascii() or (entries and name.decode("ascii") <= max(entries)):
                raise MalformedMessage("optimiser entries with ASCII names in order", repr(name), _REMEDY)
            is_vector = reader.byte(1)
            values = reader.vector(dimension if is_vector else 1)
            entries[name.decode("ascii")] = values if is_vector else values.reshape(())
        reader.finish()
        return cls(round_number, parameters, entries, salt)

    def check(self, campaign: Campaign) -> None:
        """Raises MalformedMessage unless this is a state of such a campaign: lengths and optimiser agree."""
        if self.parameters.size != campaign.length:
            raise MalformedMessage(
                f"{campaign.length} parameters for campaign {campaign.name}", str(self.parameters.size), _REMEDY
            )
        check_state(campaign.update_rule, self.optimiser, campaign.length)


def genesis(rule: UpdateRule, parameters: NDArray[np.floating], source: RandomSource) -> ModelState:
    """The state before the first round. parameters: float[d], flat, in the campaign's order."""
    values = np.asarray(parameters, dtype=np.float64)
    return ModelState(0, values, initial_state(rule, values.size), source.bytes(SALT_BYTES))


def mean_update(
    campaign: Campaign,
    plan: Plan,
    mechanism: MechanismPlan | None,
    sum_values: NDArray[np.int64],
    contributors: int,
) -> Vector:
    """The mean gradient, float64[d], that an opened sum stands for.

    mechanism: of a *distributed* plan; the other kinds need none.
    sum_values: int64[layout.length] (probes at the end are not part of it). *distributed*: the sum in units of
    2^shift on the fine grid, over the campaign's denominator (protocol 6.2). *local* and *none*: the sum of model
    deltas in units of 1 / layout.scale, over |U| (6.3); a delta points downhill, so its gradient is its negative.
    """
    if sum_values.dtype != np.int64 or sum_values.shape != (plan.layout.length,) or contributors < 1:
        raise OutOfRange(
            f"int64[{plan.layout.length}] from at least 1 contributor",
            f"{sum_values.dtype}{list(sum_values.shape)} from {contributors}",
            "decode the sum with the plan's layout",
        )
    values = sum_values[: plan.layout.parameters]
    if plan.event.kind == "distributed":
        if mechanism is None:
            raise UnsafeParameters("the mechanism of this plan", "none", "derive it with plan_checks.mechanism")
        return to_mean(values, mechanism, campaign.denominator)
    if plan.event.kind == "statistics" or plan.layout.scale is None:
        raise UnsafeParameters(
            "a training round with a public scale",
            f"{plan.event.kind}, scale {plan.layout.scale}",
            "refuse this plan",
        )
    return -dequantise_sum(values, plan.layout.scale, float(contributors))


def apply_sum(
    state: ModelState,
    campaign: Campaign,
    plan: Plan,
    mechanism: MechanismPlan | None,
    sum_values: NDArray[np.int64],
    contributors: int,
    summed_key: bytes,
) -> ModelState:
    """The state after an opened training round; deterministic to the bit.

    contributors: |U|. summed_key: the encoding of S, from which the salt is renewed as SHA-256(salt, S).
    Raises UnsafeParameters if the model diverges to NaN or infinity. That the plan names this state as its base is
    for the caller to have checked.
    """
    state.check(campaign)
    gradient = mean_update(campaign, plan, mechanism, sum_values, contributors)
    with np.errstate(over="ignore", invalid="ignore"):  # refused below, as one error
        parameters, optimiser = update(campaign.update_rule, state.parameters, state.optimiser, gradient)
    if not all(bool(np.isfinite(array).all()) for array in (parameters, *optimiser.values())):
        raise UnsafeParameters(
            "finite parameters after the update",
            f"NaN or infinity after round {plan.round}",
            "start a campaign with a smaller learning rate",
        )
    salt = hashlib.sha256(state.salt + summed_key).digest()
    return ModelState(plan.round, parameters, optimiser, salt)


class _Reader:
    """Takes an encoding apart, and never past its end."""

    def __init__(self, raw: bytes) -> None:
        self._raw = memoryview(raw)
        self._at = 0

    def take(self, count: int) -> bytes:
        return bytes(self._slice(count))

    def byte(self, most: int) -> int:
        value = self._slice(1)[0]
        if value > most:
            raise MalformedMessage(f"a byte of at most {most} at {self._at - 1}", str(value), _REMEDY)
        return value

    def vector(self, count: int) -> Vector:
        values = np.frombuffer(self._slice(8 * count), dtype="<f8").astype(np.float64)
        if not np.isfinite(values).all():
            raise MalformedMessage("finite numbers", "NaN or infinity", _REMEDY)
        return values

    def finish(self) -> None:
        if self._at != len(self._raw):
            raise MalformedMessage(f"{self._at} bytes", f"{len(self._raw)}", _REMEDY)

    def _slice(self, count: int) -> memoryview:
        if self._at + count > len(self._raw):
            raise MalformedMessage(
                f"at least {self._at + count} bytes", f"{len(self._raw)}: a truncated state", _REMEDY
            )
        self._at += count
        return self._raw[self._at - count : self._at]


def _frozen(array: NDArray[np.floating]) -> Vector:
    """A read-only float64 view or copy; a state that could change under its hash would be worthless."""
    values = np.ascontiguousarray(array, dtype=np.float64).reshape(array.shape)
    if not np.isfinite(values).all():
        raise MalformedMessage("finite numbers in a state", "NaN or infinity", "do not use this state")
    if values.flags.writeable:
        values = values.copy()
        values.flags.writeable = False
    return values


def _raw(array: Vector) -> memoryview:
    return np.ascontiguousarray(array, dtype="<f8").reshape(-1).data.cast("B")
