"""Lanes: how many small integers share one 48-bit coefficient (protocol 5.2).

Rules:
1. A lane of w bits holds value + o in [0, 2 o], o = floor((2^w - 1) / (2 n_max)): n_max honest values add up
   without a carry into the next lane.
2. Value i stands in coefficient i // L at bit w (i mod L), L = floor(48 / w).
3. Padding lanes are 0 (no offset), and stay 0 in the sum.
Works on any range of whole polynomials at a time, so memory does not grow with the vector.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from privacy.errors import OutOfRange, UnsafeParameters
from privacy.he.parameters import DEFAULT, WORD_BYTES

WIDTHS: Final = (12, 16, 24)
_ALL_WELL: Final = -1


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def pack_lanes(values: NDArray[Any], width: int, lanes: int, offset: int, out: NDArray[np.uint64]) -> bool:
    """Fills `out` (uint64, zeros where padding is meant); returns whether a value lies outside +-offset."""
    ceiling = np.uint64(2 * offset)
    outside = np.uint64(0)
    whole = values.size // lanes
    for row in range(whole):
        word = np.uint64(0)
        for lane in range(lanes):
            # A value below -offset wraps round to far above the ceiling, and so does one that overflows.
            held = np.uint64(np.int64(values[row * lanes + lane]) + offset)
            outside |= np.uint64(held > ceiling)
            word |= held << np.uint64(lane * width)
        out[row] = word
    for index in range(whole * lanes, values.size):
        held = np.uint64(np.int64(values[index]) + offset)
        outside |= np.uint64(held > ceiling)
        out[whole] |= held << np.uint64((index - whole * lanes) * width)
    return bool(outside != 0)


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def unpack_lanes(
    coefficients: NDArray[np.uint64], width: int, lanes: int, ceiling: int, shift: int, out: NDArray[np.int64]
) -> int:
    """Fills `out` with lanes less `shift`; returns the first bad coefficient, or -1.

    Bad is a lane above `ceiling`, a padding lane other than 0, or a bit above the last lane.
    """
    mask = np.uint64((1 << width) - 1)
    top = np.uint64(ceiling)
    whole = out.size // lanes
    for row in range(whole):
        word = coefficients[row]
        bad = word >> np.uint64(lanes * width)
        for lane in range(lanes):
            held = (word >> np.uint64(lane * width)) & mask
            bad |= np.uint64(held > top)
            out[row * lanes + lane] = np.int64(held) - shift
        if bad != 0:
            return row
    rest = out.size - whole * lanes
    for row in range(whole, coefficients.size):
        word = coefficients[row]
        if row == whole:
            for lane in range(rest):
                held = word & mask
                word >>= np.uint64(width)
                if held > top:
                    return row
                out[whole * lanes + lane] = np.int64(held) - shift
        if word != 0:
            return row
    return _ALL_WELL


@dataclass(frozen=True, slots=True)
class LaneLayout:
    """Lanes of `width` bits (12, 16 or 24) that hold sums of up to `n_max` values.

    Raises UnsafeParameters for another width, for more contributors than the parameter set allows, and for a
    width that leaves no range at all.
    """

    width: int
    n_max: int

    def __post_init__(self) -> None:
        if self.width not in WIDTHS:
            raise UnsafeParameters(f"a lane width among {WIDTHS}", str(self.width), "choose one of these")
        DEFAULT.check_contributors(self.n_max)
        if self.offset < 1:
            raise UnsafeParameters("a lane offset of at least 1", str(self.offset), "choose wider lanes")

    @property
    def lanes(self) -> int:
        """Values in one coefficient: 4, 3 or 2."""
        return DEFAULT.plain_bits // self.width

    @property
    def offset(self) -> int:
        """o: values lie within [-o, o]."""
        return int((2**self.width - 1) // (2 * self.n_max))

    @property
    def bytes_per_value(self) -> float:
        """2.0, 2.67 or 4.0 bytes on the wire, up and down."""
        return WORD_BYTES / self.lanes

    @property
    def values_per_polynomial(self) -> int:
        return self.lanes * DEFAULT.degree

    def polynomials(self, length: int) -> int:
        """Polynomials that hold `length` values."""
        return -(-length // self.values_per_polynomial)

    def check_values(self, values: NDArray[Any]) -> None:
        """Raises OutOfRange, naming the first value outside [-o, o], and for another dtype or shape."""
        self._check_form(values)
        if values.size and (int(values.min()) < -self.offset or int(values.max()) > self.offset):
            raise self._outside(values)

    def pack(self, values: NDArray[Any]) -> NDArray[np.uint64]:
        """int32[length] or int64[length] within [-o, o] -> uint64[polynomials(length) * 4096], each below 2^48.

        Raises OutOfRange as `check_values` does.
        """
        self._check_form(values)
        out = np.zeros(self.polynomials(values.size) * DEFAULT.degree, dtype=np.uint64)
        if pack_lanes(np.ascontiguousarray(values), self.width, self.lanes, self.offset, out):
            raise self._outside(values)
        return out

    @staticmethod
    def _check_form(values: NDArray[Any]) -> None:
        if values.ndim != 1 or values.dtype not in (np.dtype(np.int32), np.dtype(np.int64)):
            raise OutOfRange(
                "a vector of int32 or int64", f"{values.dtype} of shape {values.shape}", "round and flatten it"
            )

    def _outside(self, values: NDArray[Any]) -> OutOfRange:
        first = int(np.argmax((values > self.offset) | (values < -self.offset)))
        return OutOfRange(
            f"values within +-{self.offset} (lanes of {self.width} bits, {self.n_max} contributors)",
            f"{int(values[first])} at index {first}",
            "clamp the vector, or plan wider lanes",
        )

    def unpack(
        self, coefficients: NDArray[np.uint64], contributors: int, length: int, first_polynomial: int = 0
    ) -> NDArray[np.int64]:
        """uint64[polynomials(length) * 4096] sums of `contributors` packed vectors -> int64[length] sums of values.

        Raises OutOfRange, naming the first coefficient of which a lane lies outside [0, 2 o n] or whose padding is
        not zero; and for another number of coefficients. `first_polynomial` is where this range begins, for the
        error's sake.
        """
        if not 1 <= contributors <= self.n_max:
            raise OutOfRange(f"1 to {self.n_max} contributors", str(contributors), "use the plan's own layout")
        if coefficients.shape != (self.polynomials(length) * DEFAULT.degree,):
            raise OutOfRange(
                f"{self.polynomials(length) * DEFAULT.degree} coefficients for {length} values",
                f"shape {coefficients.shape}",
                "pass whole polynomials of this range",
            )
        out = np.empty(length, dtype=np.int64)
        shift = contributors * self.offset
        bad = unpack_lanes(coefficients, self.width, self.lanes, 2 * shift, shift, out)
        if bad != _ALL_WELL:
            raise OutOfRange(
                f"lanes within [0, {2 * shift}] and padding of 0",
                f"a lane outside in polynomial {first_polynomial + bad // DEFAULT.degree}, "
                f"coefficient {bad % DEFAULT.degree}",
                "refuse this sum: a contributor left its lanes",
            )
        return out
