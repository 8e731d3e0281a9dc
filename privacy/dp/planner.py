"""The narrowest lane that holds a mechanism's noise and signal (protocol 5.2 and 6.2).

It proposes; MechanismPlan and the parameter set check. Epsilon is not its business: see accountant.calibrate_noise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from privacy.dp.mechanism import CLAMP_SIGMAS, FINE_BITS, LARGEST_SHIFT, SIGNAL_SIGMAS, fine_clip
from privacy.errors import UnsafeParameters

LANE_WIDTHS = (12, 16, 24)
# Wide enough that clamping X is rare: a batch's coordinate sums seldom pass 64 times their own noise.
ROOMY_SIGMAS = 64


@dataclass(frozen=True)
class LanePlan:
    """width: w bits. shift: k. lane_offset: o. bound: B, in units of 2^k on the fine grid.

    records_to_bound: how many records of full clip, all along one coordinate, fill B there.
    binding: what kept the shift from being smaller; *lane*, or *fine grid* where it is 0 already.
    """

    width: int
    shift: int
    lane_offset: int
    bound: int
    records_to_bound: float
    binding: Literal["lane", "fine grid"]


def lane_offset(width: int, contributors: int) -> int:
    """o = floor((2^w - 1) / (2 n_max)): a lane's values are within +-o, so n_max of them cannot carry."""
    return ((1 << width) - 1) // (2 * contributors)


def plan_lanes(noise_multiplier: float, honest: int, contributors: int) -> LanePlan:
    """The narrowest width that fits, with the shift that serves it best. contributors: n_max, the roster's size.

    A larger shift clamps the signal less and rounds it more coarsely, which adds 1 / (12 sigma_i^2) to the noise's
    variance: half a percent at the coarsest. So: the least shift whose clamp is ROOMY_SIGMAS wide, and where no
    shift of this width is so roomy, the largest.
    Raises UnsafeParameters if not even 24 bits hold noise 4 units wide and its margins.
    """
    for width in LANE_WIDTHS:
        offset = lane_offset(width, contributors)
        if offset < (SIGNAL_SIGMAS + CLAMP_SIGMAS) << (FINE_BITS - LARGEST_SHIFT):
            continue
        roomy = (k for k in range(LARGEST_SHIFT) if offset >= (ROOMY_SIGMAS + CLAMP_SIGMAS) << (FINE_BITS - k))
        shift = next(roomy, LARGEST_SHIFT)
        bound = offset - (CLAMP_SIGMAS << (FINE_BITS - shift))
        return LanePlan(
            width=width,
            shift=shift,
            lane_offset=offset,
            bound=bound,
            records_to_bound=(bound << shift) / fine_clip(noise_multiplier, honest),
            binding="lane" if shift else "fine grid",
        )
    raise UnsafeParameters(
        f"a lane offset of at least {(SIGNAL_SIGMAS + CLAMP_SIGMAS) << (FINE_BITS - LARGEST_SHIFT)}",
        f"{lane_offset(LANE_WIDTHS[-1], contributors)} in {LANE_WIDTHS[-1]} bits for {contributors} participants",
        "split the consortium",
    )
