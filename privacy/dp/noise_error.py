"""What is wrong with real noise, and that its share of delta holds it (protocol 6.2).

Rules:
1. Every draw counts: of each coordinate, each round, and each step at home.
2. In the sum a shared coordinate rests on h honest draws, any of which may err or be clamped to its lane.
3. A private coordinate draws h times for the noise z C in full, and is not clamped. A *local* event draws once a
   step for every coordinate, shared and private, and its noise is not clamped either.
The share itself is set aside by accountant.py.
"""

from __future__ import annotations

import math

from privacy.dp.accountant import IMPLEMENTATION_SHARE, Rows
from privacy.dp.events import Guarantee
from privacy.errors import UnsafeParameters

SAMPLER_ERROR = 2.0**-120
"""Statistical distance of one noise draw from the discrete Gaussian (docs/noise.md)."""
CLAMP_ERROR = 1.53e-23
"""Above P(|D| > 10 sigma), which is 1.524e-23: beyond it an upload may be clamped to its lane."""


def noise_error(rows: Rows, shared: int, private: int, guarantee: Guarantee, honest: int) -> float:
    """Statistical distance of all noise that the rows draw from what it stands for (protocol 6.2).

    shared: coordinates of one upload, probes included; private: of a partner's private part. honest: h.
    """
    upload = SAMPLER_ERROR if guarantee is Guarantee.ALONE else honest * (SAMPLER_ERROR + CLAMP_ERROR)
    total = 0.0
    for event, count in rows:
        if event.kind == "local":
            each = (shared + private) * SAMPLER_ERROR
        elif event.kind == "none":
            each = 0.0
        else:
            each = shared * upload + private * honest * SAMPLER_ERROR
        total += count * event.steps * each
    return total


def implementation_delta(epsilon_value: float, error: float) -> float:
    """What noise at a statistical distance `error` from its ideal adds to delta: (1 + e^epsilon) error.

    Above 1 nothing is proved.
    """
    if error == 0.0:
        return 0.0
    exponent = epsilon_value + math.log(error)
    return math.inf if exponent > 700 else math.exp(exponent) * (1 + math.exp(-epsilon_value))


def check_implementation(
    epsilon_value: float, delta: float, rows: Rows, shared: int, private: int, guarantee: Guarantee, honest: int
) -> None:
    """Refuse what IMPLEMENTATION_SHARE of delta does not hold at this epsilon. Raises UnsafeParameters."""
    added = implementation_delta(epsilon_value, noise_error(rows, shared, private, guarantee, honest))
    if not added <= IMPLEMENTATION_SHARE * delta:
        raise UnsafeParameters(
            f"an implementation error of at most {IMPLEMENTATION_SHARE * delta:.3g} in delta",
            f"{added:.3g} for {shared} shared and {private} private coordinates at epsilon {epsilon_value:.3g}"
            f" ({guarantee.value})",
            "shorten the vector, plan fewer rounds or steps, or lower epsilon",
        )
