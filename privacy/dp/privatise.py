"""From per-record gradients to the integers that are uploaded: the mechanism of protocol 6.2 and 6.3.

Rules:
1. Each record is clipped and rounded on the fine grid by itself; a record whose exact integer norm exceeds
   C_fine, or that holds anything not finite, counts as zero. So adding or removing a record moves the exact
   integer sum by at most C_fine, whatever the model did.
2. Sums of records are exact.
3. Y = clamp(X, +-B 2^k) + D; sent is floor((Y + 2^(k-1)) / 2^k), clamped to +-o. D is integer noise, one draw a
   coordinate, probes included. An empty batch is X = 0: pure noise.
4. Private parameters share each record's clip. Their noise is the sum of h draws, z C in full: they never meet
   the others' noise in a sum.
5. How many records were clipped or zeroed is private data: it stays on the partner's machine.
Accounting is elsewhere; so is sampling the batch (sampling.py).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from privacy.dp.discrete_gaussian import noise_blocks
from privacy.dp.mechanism import MechanismPlan as MechanismPlan
from privacy.dp.sampling import poisson_sample as poisson_sample
from privacy.errors import OutOfRange
from privacy.randomness import Keystream

Gradients = Sequence[NDArray[np.float32]]
"""One tensor a parameter, each [records, ...]: row r of all of them together is record r's gradient."""

_EXACT = 1 << 53


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _add_square_norms(tensor: NDArray[np.float32], squares: NDArray[np.float64]) -> None:
    """Add each row's sum of squares, in eight interleaved partial sums added as ((0+1)+(2+3))+((4+5)+(6+7)).

    The order is fixed, so the bits are the same on every machine, and vector units can keep it.
    """
    width = tensor.shape[1]
    whole = width - width % 8
    partial = np.zeros(8, dtype=np.float64)
    for row in range(tensor.shape[0]):
        partial[:] = 0.0
        for start in range(0, whole, 8):
            for j in range(8):
                value = np.float64(tensor[row, start + j])
                partial[j] += value * value
        for j in range(whole, width):
            value = np.float64(tensor[row, j])
            partial[j - whole] += value * value
        low = (partial[0] + partial[1]) + (partial[2] + partial[3])
        high = (partial[4] + partial[5]) + (partial[6] + partial[7])
        squares[row] += low + high


@njit(cache=True, nogil=True, fastmath={"reassoc"})  # type: ignore[untyped-decorator]
def _add_rounded(
    tensor: NDArray[np.float32],
    scales: NDArray[np.float64],
    sign: float,
    sums: NDArray[np.float64],
    offset: int,
    squares: NDArray[np.float64],
) -> None:
    """Add sign x round(scale x row) of each row to sums[offset:], ties to even; a row of scale 0 is left out.

    Adds each row's sum of squared integers to `squares`. All are integers below 2^53, so the order of additions,
    and float64 itself, change nothing; a sum of squares that passes 2^53 has long passed C_fine^2 < 2^52.
    """
    for row in range(tensor.shape[0]):
        scale = scales[row]
        if scale == 0.0:
            continue
        # Slices, so that no index can wrap around: only then is the loop for the vector units.
        values = tensor[row]
        into = sums[offset : offset + values.size]
        square = 0.0
        for j in range(values.size):
            value = np.rint(np.float64(values[j]) * scale)
            into[j] += sign * value
            square += value * value
        squares[row] += square


class RecordSum:
    """X: the exact sum of clipped, rounded records on the fine grid, of one batch.

    clipped, zeroed: how many records were scaled down, and how many counted as zero (rule 5).
    """

    def __init__(self, plan: MechanismPlan) -> None:
        self._plan = plan
        self._shared = np.zeros(plan.length, dtype=np.float64)
        self._private = np.zeros(plan.private_dimension, dtype=np.float64)
        self._fine_clip = plan.fine_clip
        self._clip_target = plan.clip_target
        self.records = 0
        self.clipped = 0
        self.zeroed = 0

    @property
    def plan(self) -> MechanismPlan:
        return self._plan

    @property
    def shared(self) -> NDArray[np.int64]:
        """int64[d], in fine units."""
        return self._shared[: self._plan.dimension].astype(np.int64)

    @property
    def private(self) -> NDArray[np.int64]:
        """int64[private_dimension], in fine units."""
        return self._private.astype(np.int64)

    def add_records(self, shared: Gradients, private: Gradients = ()) -> None:
        """Add a block of records, given as float32 tensors [records, ...] in the order of the parameters.

        Raises ValueError if shapes or dtypes are not the plan's; OutOfRange after more records than are exact.
        """
        shared_rows, private_rows = _rows(shared), _rows(private)
        rows = {tensor.shape[0] for tensor in (*shared_rows, *private_rows)}
        widths = tuple(sum(tensor.shape[1] for tensor in part) for part in (shared_rows, private_rows))
        if widths != (self._plan.dimension, self._plan.private_dimension) or len(rows) > 1:
            raise ValueError(
                f"gradients have widths {widths} and {rows} records; the plan has"
                f" {(self._plan.dimension, self._plan.private_dimension)}"
            )
        count = rows.pop() if rows else 0
        if (self.records + count) * self._fine_clip >= _EXACT:
            raise OutOfRange(
                "records whose sum is exact in 53 bits",
                f"{self.records + count} records",
                "lower the sampling rate",
            )
        self.records += count
        scales = self._scales(shared_rows, private_rows, count)
        squares = self._accumulate(shared_rows, private_rows, scales, 1.0)
        beyond = squares > float(self._fine_clip**2)
        if beyond.any():
            self._accumulate(shared_rows, private_rows, np.where(beyond, scales, 0.0), -1.0)
            self.zeroed += int(beyond.sum())

    def _scales(
        self, shared: list[NDArray[np.float32]], private: list[NDArray[np.float32]], count: int
    ) -> NDArray[np.float64]:
        """What each record is multiplied by, 0 for one that is not finite: float64[records]."""
        squares = np.zeros(count)
        for tensor in (*shared, *private):
            _add_square_norms(tensor, squares)
        finite = np.isfinite(squares)
        self.zeroed += count - int(finite.sum())
        norms = np.sqrt(np.where(finite, squares, 0.0))
        unclipped = self._fine_clip / self._plan.clip
        beyond = norms * unclipped > self._clip_target
        self.clipped += int(beyond.sum())
        scales = np.full(count, unclipped)
        scales[beyond] = self._clip_target / norms[beyond]
        return np.where(finite, scales, 0.0)

    def _accumulate(
        self,
        shared: list[NDArray[np.float32]],
        private: list[NDArray[np.float32]],
        scales: NDArray[np.float64],
        sign: float,
    ) -> NDArray[np.float64]:
        """Each record's sum of squared integers: float64[records]."""
        squares = np.zeros(scales.size)
        for tensors, sums in ((shared, self._shared), (private, self._private)):
            offset = 0
            for tensor in tensors:
                _add_rounded(tensor, scales, sign, sums, offset, squares)
                offset += tensor.shape[1]
        return squares


@dataclass(frozen=True)
class PrivatisedUpdate:
    """values: int32[d + probes], within +-o: what is packed and encrypted.

    private: float64[private_dimension], the noised sum of private gradients in the gradient's own units; it
    stays at home.
    """

    values: NDArray[np.int32]
    private: NDArray[np.float64]


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _add_noise_and_round(
    sums: NDArray[np.float64],
    noise: NDArray[np.int64],
    shift: int,
    bound: int,
    offset: int,
    out: NDArray[np.int32],
) -> None:
    """Rule 3, for one block; `bound` is B 2^k in fine units. `>>` rounds towards minus infinity."""
    half = (np.int64(1) << shift) >> 1
    for i in range(sums.size):
        clamped = min(max(np.int64(sums[i]), -bound), bound)
        value = (clamped + noise[i] + half) >> shift
        out[i] = np.int32(min(max(value, -offset), offset))


def privatise(record_sum: RecordSum, keystream: Keystream) -> PrivatisedUpdate:
    """Noise, shift and clamp a batch's sum (rules 3 and 4).

    The keystream must be fresh, its seed hedged with R and J: noise used twice is no noise.

    Draws are taken for the shared coordinates, the probes, then h times for the private coordinates.
    """
    plan = record_sum.plan
    sums = record_sum._shared
    values = np.empty(plan.length, dtype=np.int32)
    fine_bound = plan.bound << plan.shift
    for start, noise in noise_blocks(plan.length, keystream):
        block = slice(start, start + noise.size)
        _add_noise_and_round(sums[block], noise, plan.shift, fine_bound, plan.lane_offset, values[block])
    private = record_sum.private
    for _ in range(plan.honest if plan.private_dimension else 0):
        for start, noise in noise_blocks(plan.private_dimension, keystream):
            private[start : start + noise.size] += noise
    return PrivatisedUpdate(values, private.astype(np.float64) * (plan.clip / plan.fine_clip))


def to_mean(sum_values: NDArray[np.int64], plan: MechanismPlan, denominator: float) -> NDArray[np.float64]:
    """The opened sum of d coordinates, in the gradient's own units, over the public denominator: float64[d].

    One product by one factor, ((2^k C) / C_fine) / denominator, so that every partner gets the same bits.
    """
    return sum_values.astype(np.float64) * (plan.unit / denominator)


def private_mean(noised_sum: NDArray[np.float64], denominator: float) -> NDArray[np.float64]:
    """The noised private gradient over a public denominator: float64[private_dimension]."""
    return noised_sum / denominator


def quantise_update(update: NDArray[np.float64], scale: float, bound: int) -> NDArray[np.int32]:
    """clamp(round(update x scale), +-bound) for *local* and *none* rounds (protocol 6.3): int32, as update.

    scale: units per 1.0, public. Ties go to even; NaN counts as 0.
    """
    scaled = np.rint(np.nan_to_num(update, nan=0.0, posinf=np.inf, neginf=-np.inf) * scale)
    return np.clip(scaled, -bound, bound).astype(np.int32)


def dequantise_sum(sum_values: NDArray[np.int64], scale: float, denominator: float) -> NDArray[np.float64]:
    """The mean update of a *local* or *none* round; its denominator is |U|: float64[d]."""
    return sum_values.astype(np.float64) * ((1.0 / scale) / denominator)


def _rows(tensors: Gradients) -> list[NDArray[np.float32]]:
    flat = []
    for tensor in tensors:
        if tensor.dtype != np.float32:
            raise ValueError(f"gradients are float32, not {tensor.dtype}")
        flat.append(np.ascontiguousarray(tensor).reshape(tensor.shape[0], math.prod(tensor.shape[1:])))
    return flat
