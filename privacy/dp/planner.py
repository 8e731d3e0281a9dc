"""Helps to choose a plan: noise for a target, the narrowest lanes that hold it, and what more rounds would cost.

Rules (protocol 5.2, 6.2, 6.4):
1. It proposes; MechanismPlan, the parameter set and check_charter check. Nothing it says is taken for granted.
2. Delta follows from the records: 1 / (10 x records) (protocol 6.1).
3. Noise is the least that keeps every cap asked for, and the cap that asked for most is said to bind.
4. Where no sampling rate is given it is the least of SAMPLING_RATES at which noise over expected batch is within a
   quarter of what whole batches would have: smaller ones lose more accuracy than the time they save.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from privacy.dp.accountant import (
    IMPLEMENTATION_SHARE,
    calibrate_noise,
    epsilon,
)
from privacy.dp.events import Guarantee, PrivacyEvent
from privacy.dp.mechanism import (
    CLAMP_SIGMAS,
    FINE_BITS,
    LARGEST_SHIFT,
    PROBES,
    SIGNAL_SIGMAS,
    MechanismPlan,
    fine_clip,
)
from privacy.dp.noise_error import implementation_delta, noise_error
from privacy.errors import UnsafeParameters

LANE_WIDTHS = (12, 16, 24)
# Wide enough that clamping X is rare: a batch's coordinate sums seldom pass 64 times their own noise.
ROOMY_SIGMAS = 64

SAMPLING_RATES: Final = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
WORSE_THAN_WHOLE = 1.25

BindingCap = Literal["cap in the sum", "cap alone"]


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


@dataclass(frozen=True)
class PlanPoint:
    """What so many rounds cost, under both guarantees."""

    rounds: int
    epsilon_in_sum: float
    epsilon_alone: float


@dataclass(frozen=True)
class BudgetTerms:
    """What a consortium asks for. records: at the partner that holds most. contributors: n_max, the roster's size.

    target_epsilon: the cap in the sum. cap_alone: None asks for none. sampling_rate: None leaves it to rule 4.
    """

    target_epsilon: float
    rounds: int
    records: int
    contributors: int
    honest: int
    parameters: int
    cap_alone: float | None = None
    sampling_rate: float | None = None


@dataclass(frozen=True)
class Bound:
    """One limit: what the plan needs of it, and what there is. binds: this one decided a number of the plan.

    A *lane* binds where it is less roomy than a finer shift would ask for; what is sound, it has.
    """

    name: str
    needs: float
    limit: float
    binds: bool


@dataclass(frozen=True)
class BudgetPlan:
    """A plan that keeps every bound. expected_batch: records in a batch, on average, at the partner with most."""

    event: PrivacyEvent
    delta: float
    epsilon_in_sum: float
    epsilon_alone: float
    expected_batch: float
    lanes: LanePlan
    bounds: tuple[Bound, ...]

    @property
    def binding(self) -> tuple[str, ...]:
        return tuple(bound.name for bound in self.bounds if bound.binds)


def delta_for(records: int) -> float:
    """1 / (10 x records): a larger one would allow a record to be published outright."""
    if records < 1:
        raise UnsafeParameters("at least one record", str(records), "give the number of records at a partner")
    return 1 / (10 * records)


def plan_curve(
    event: PrivacyEvent, delta: float, honest: int, rounds: int, points: int = 24
) -> tuple[PlanPoint, ...]:
    """Epsilon against rounds 1 to `rounds` of `event`, both guarantees, denser at the start where it grows fastest.

    At most `points` of them. Costs one composition each: call it from a thread. Raises AccountingFailed.
    """
    if rounds < 1 or points < 2:
        raise UnsafeParameters(
            "at least one round and two points", f"{rounds} and {points}", "ask for a curve with both ends"
        )
    marks = {max(1, round(rounds * (step / (points - 1)) ** 1.6)) for step in range(points)}
    return tuple(
        PlanPoint(
            count,
            epsilon(((event, count),), delta, Guarantee.IN_SUM, honest),
            epsilon(((event, count),), delta, Guarantee.ALONE, honest),
        )
        for count in sorted(marks)
    )


def rounds_within(
    event: PrivacyEvent, delta: float, guarantee: Guarantee, honest: int, cap: float, most: int
) -> int:
    """The largest number of rounds of `event`, at most `most`, that costs no more than `cap`: by bisection.

    Epsilon never falls as rounds are added (composition only adds loss). Raises AccountingFailed.
    """
    low, high = 0, most
    while low < high:
        middle = (low + high + 1) // 2
        fits = epsilon(((event, middle),), delta, guarantee, honest) <= cap
        low, high = (middle, high) if fits else (low, middle - 1)
    return low


def plan_budget(terms: BudgetTerms) -> BudgetPlan:
    """The plan for these terms. Raises UnsafeParameters with the bound that cannot be kept; AccountingFailed."""
    delta = delta_for(terms.records)
    rate = _sampling_rate(terms, delta) if terms.sampling_rate is None else terms.sampling_rate
    multiplier, cap = _noise(terms, delta, rate)
    event = PrivacyEvent(kind="distributed", noise_multiplier=multiplier, sampling_rate=rate)
    lanes = plan_lanes(multiplier, terms.honest, terms.contributors)
    MechanismPlan(1.0, multiplier, terms.honest, terms.parameters, lanes.shift, lanes.lane_offset)
    rows = ((event, terms.rounds),)
    in_sum, alone = (
        epsilon(rows, delta, guarantee, terms.honest) for guarantee in (Guarantee.IN_SUM, Guarantee.ALONE)
    )
    return BudgetPlan(
        event=event,
        delta=delta,
        epsilon_in_sum=in_sum,
        epsilon_alone=alone,
        expected_batch=rate * terms.records,
        lanes=lanes,
        bounds=tuple(_bounds(terms, delta, (in_sum, alone), multiplier, lanes, cap)),
    )


def _noise(terms: BudgetTerms, delta: float, rate: float) -> tuple[float, BindingCap]:
    """Rule 3."""
    in_sum = calibrate_noise(terms.target_epsilon, delta, rate, terms.rounds, honest=terms.honest)
    if terms.cap_alone is None:
        return in_sum, "cap in the sum"
    alone = calibrate_noise(
        terms.cap_alone, delta, rate, terms.rounds, guarantee=Guarantee.ALONE, honest=terms.honest
    )
    return (alone, "cap alone") if alone > in_sum else (in_sum, "cap in the sum")


def _sampling_rate(terms: BudgetTerms, delta: float) -> float:
    """Rule 4. Noise over batch falls as the rate grows (De et al. 2022, arXiv 2204.13650, section 4): bisection."""

    def ratio(rate: float) -> float:
        return _noise(terms, delta, rate)[0] / rate

    enough = WORSE_THAN_WHOLE * ratio(1.0)
    low, high = 0, len(SAMPLING_RATES) - 1
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if ratio(SAMPLING_RATES[middle]) <= enough else (middle + 1, high)
    return SAMPLING_RATES[high]


def _bounds(
    terms: BudgetTerms,
    delta: float,
    spent: tuple[float, float],
    multiplier: float,
    lanes: LanePlan,
    cap: BindingCap,
) -> Sequence[Bound]:
    in_sum, alone = spent
    coordinates = terms.parameters + PROBES
    event = PrivacyEvent(kind="distributed", noise_multiplier=multiplier, sampling_rate=1.0)
    rows = ((event, terms.rounds),)
    added = max(
        implementation_delta(cost, noise_error(rows, coordinates, 0, guarantee, terms.honest))
        for cost, guarantee in ((in_sum, Guarantee.IN_SUM), (alone, Guarantee.ALONE))
    )
    share = IMPLEMENTATION_SHARE * delta
    if not added <= share:
        raise UnsafeParameters(
            f"an implementation error of at most {share:.3g} in delta",
            f"{added:.3g} for {coordinates} coordinates over {terms.rounds} rounds",
            "shorten the vector, plan fewer rounds, or lower the caps",
        )
    clip = fine_clip(multiplier, terms.honest)
    bounds = [Bound("cap in the sum", in_sum, terms.target_epsilon, cap == "cap in the sum")]
    if terms.cap_alone is not None:
        bounds.append(Bound("cap alone", alone, terms.cap_alone, cap == "cap alone"))
    sound = (SIGNAL_SIGMAS + CLAMP_SIGMAS) << (FINE_BITS - lanes.shift)
    bounds += [
        Bound("lane", sound, lanes.lane_offset, lanes.binding == "lane"),
        Bound("fine grid", lanes.shift, LARGEST_SHIFT, lanes.binding == "fine grid"),
        Bound("rounding of the vector", terms.parameters / 12, float(clip) ** 2, False),
        Bound("implementation error", added, share, False),
    ]
    return bounds


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
