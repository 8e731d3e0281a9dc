"""The public numbers of the noise mechanism, and the bounds within which it is the Gaussian one (protocol 6.2).

Rules:
1. The fine grid is the one on which a participant's noise is 2^18 wide. On it the clip C becomes
   C_fine = floor(2^18 sqrt(h) / z), so that z is the noise multiplier of h noises added.
2. What is sent is the fine value divided by 2^k and rounded: its noise must stay at least 4 units wide
   (k <= 16), or a sum of roundings is no longer one rounding of one Gaussian to 1e-68.
3. A lane holds +-o. The signal may fill B = o - 10 sigma of it, and B must be at least 32 sigma.
Everything here is fixed by charter, campaign and plan; nothing is secret.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

from privacy.errors import UnsafeParameters

FINE_BITS = 18
LARGEST_SHIFT = 16
CLAMP_SIGMAS = 10
SIGNAL_SIGMAS = 32
PROBES = 1024
CLIP_SLACK = 1 - 2.0**-10
LARGEST_FINE_CLIP = 1 << 26
"""Squares of records' integers are summed in float64: below 2^52 that is exact."""


def fine_clip(noise_multiplier: float, honest: int) -> int:
    """C_fine = floor(2^18 sqrt(h) / z), in exact integer arithmetic: the same on every machine."""
    z = Fraction(noise_multiplier)
    return math.isqrt((honest << (2 * FINE_BITS)) * z.denominator**2 // z.numerator**2)


@dataclass(frozen=True)
class MechanismPlan:
    """What turns one batch's gradients into an upload.

    clip: C, in the gradient's own units. noise_multiplier: z, in the sum. honest: h = n_min - c.
    dimension: shared coordinates d, probes not counted. private_dimension: coordinates of private parameters.
    shift: k. lane_offset: o. probes: coordinates after the d that are zero and noised like the rest.
    Raises UnsafeParameters outside the bounds above.
    """

    clip: float
    noise_multiplier: float
    honest: int
    dimension: int
    shift: int
    lane_offset: int
    probes: int = PROBES
    private_dimension: int = 0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.clip) and self.clip > 0):
            raise _unsafe("a finite positive clip", self.clip, "set the campaign's clip")
        if not (math.isfinite(self.noise_multiplier) and self.noise_multiplier > 0 and self.honest >= 1):
            came = f"z {self.noise_multiplier}, h {self.honest}"
            raise _unsafe("a positive noise multiplier and at least one honest contributor", came, "set both")
        if min(self.dimension, self.probes, self.private_dimension) < 0:
            raise _unsafe("lengths of at least 0", "a negative one", "set the plan's layout")
        if not 0 <= self.shift <= LARGEST_SHIFT:
            raise _unsafe("a shift from 0 to 16: noise at least 4 units wide", self.shift, "choose a finer shift")
        if self.fine_clip >= LARGEST_FINE_CLIP:
            raise _unsafe(
                "a fine clip below 2^26", self.fine_clip, "raise the noise multiplier: this noise hides nothing"
            )
        if not (math.isfinite(self.fine_clip / self.clip) and math.isfinite(self.unit) and self.unit > 0):
            # A scale that is not finite would turn a gradient of zeros into NaN, and one record into any change.
            raise _unsafe("a clip whose grid is within float64", self.clip, "set a clip near the gradients' norms")
        if 12 * self.fine_clip**2 <= self.dimension + self.private_dimension:
            raise _unsafe(
                f"a fine clip above the rounding of {self.dimension + self.private_dimension} coordinates",
                self.fine_clip,
                "lower the noise multiplier or shorten the vector",
            )
        if self.bound < SIGNAL_SIGMAS * self.sigma_units:
            needed = (SIGNAL_SIGMAS + CLAMP_SIGMAS) * self.sigma_units
            raise _unsafe(
                f"a lane offset of at least {needed} for noise {self.sigma_units} units wide",
                self.lane_offset,
                "choose a wider lane or a larger shift",
            )

    @property
    def fine_clip(self) -> int:
        """C_fine: no record moves the fine sum further than this, in Euclidean norm."""
        return fine_clip(self.noise_multiplier, self.honest)

    @property
    def sigma_units(self) -> int:
        """sigma_i = 2^(18 - k): the width of a participant's noise in the units that are sent."""
        return 1 << (FINE_BITS - self.shift)

    @property
    def bound(self) -> int:
        """B: the signal is clamped to +-B units before the noise is added."""
        return self.lane_offset - CLAMP_SIGMAS * self.sigma_units

    @property
    def clip_target(self) -> float:
        """The norm to which a record is clipped before rounding: (1 - 2^-10) sqrt(C_fine^2 - d / 12)."""
        rounding = (self.dimension + self.private_dimension) / 12
        return CLIP_SLACK * math.sqrt(self.fine_clip**2 - rounding)

    @property
    def length(self) -> int:
        """Coordinates of the upload: parameters, then probes."""
        return self.dimension + self.probes

    @property
    def unit(self) -> float:
        """One unit of what is sent, in the gradient's own units."""
        return float(1 << self.shift) * self.clip / self.fine_clip


def _unsafe(expected: str, came: object, remedy: str) -> UnsafeParameters:
    return UnsafeParameters(expected, str(came), remedy)
