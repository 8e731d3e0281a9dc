"""Parameter sets of the envelope, and the bounds within which exactness was shown (protocol 5.1).

Rules:
1. q = delta * 2^plain_bits + 1, so that q = 1 mod the plain modulus and the encoding is linear: a sum opens to
   the sum of the messages and the sum of the errors, and to nothing else.
2. A set is named in the charter; its numbers are never taken from the wire.
The compiled kernels of this package are built for `DEFAULT`; a second set needs kernels of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import floor, sqrt
from types import MappingProxyType
from typing import Final

from privacy.errors import UnsafeParameters

SIGMAS_OF_ERROR: Final = 10
"""An honest sum's error leaves this many standard deviations with probability below 2^-75 a coefficient."""


@dataclass(frozen=True, slots=True)
class ParameterSet:
    """Numbers of one BFV ring with one prime (protocol 5.1).

    `sigma`: standard deviation parameter of the discrete Gaussian of keys and errors; `tail_sigmas`: where its
    tails are cut; `share_prime`: the field in which keys are shared; `max_contributors`: the largest sum whose
    error stays within delta / 2.
    """

    name: str
    degree: int
    plain_bits: int
    delta: int
    modulus: int
    sigma: float
    tail_sigmas: int
    share_prime: int
    max_contributors: int

    def __post_init__(self) -> None:
        if self.modulus != self.delta * 2**self.plain_bits + 1:
            raise UnsafeParameters(
                f"a modulus of {self.delta} * 2^{self.plain_bits} + 1", str(self.modulus), "use a named set"
            )
        if self.modulus % (2 * self.degree) != 1:
            raise UnsafeParameters("a modulus of 1 mod 2N", str(self.modulus), "use a named set")
        if self.error_bound(self.max_contributors) >= self.delta / 2:
            raise UnsafeParameters(
                f"errors of {self.max_contributors} contributors below {self.delta / 2}",
                str(self.error_bound(self.max_contributors)),
                "lower max_contributors",
            )
        if 2 * self.key_bound(self.max_contributors) >= self.share_prime:
            raise UnsafeParameters(
                f"summed keys within a field of {self.share_prime}",
                str(self.key_bound(self.max_contributors)),
                "lower max_contributors",
            )

    @property
    def tail(self) -> int:
        """The largest absolute value a key or error coefficient takes."""
        return floor(self.tail_sigmas * self.sigma)

    def check_contributors(self, contributors: int) -> None:
        """Raises UnsafeParameters unless 1 <= contributors <= max_contributors."""
        if not 1 <= contributors <= self.max_contributors:
            raise UnsafeParameters(
                f"1 to {self.max_contributors} contributors",
                str(contributors),
                f"split the consortium, or choose a set other than {self.name}",
            )

    def error_bound(self, contributors: int) -> float:
        """10 sigma sqrt(n) + 1: no coefficient of an honest sum of n errors is larger (protocol 5.1)."""
        return SIGMAS_OF_ERROR * self.sigma * sqrt(contributors) + 1

    def key_bound(self, contributors: int) -> int:
        """(tail + 1) n, that is 77 n: no coefficient of an honest sum of n keys is larger (protocol 4, step 5)."""
        return (self.tail + 1) * contributors


DEFAULT: Final = ParameterSet(
    name="bfv-4096-60",
    degree=4096,
    plain_bits=48,
    delta=4075,
    modulus=1147010530095923201,
    sigma=6.364,
    tail_sigmas=12,
    share_prime=2**31 - 1,
    max_contributors=1000,
)

PARAMETER_SETS: Final[Mapping[str, ParameterSet]] = MappingProxyType({DEFAULT.name: DEFAULT})

WORD_BYTES: Final = 8
POLYNOMIAL_BYTES: Final = DEFAULT.degree * WORD_BYTES
"""One polynomial on the wire: 4096 little-endian 64-bit words."""
