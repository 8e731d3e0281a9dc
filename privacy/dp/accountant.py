"""What events cost: epsilon from privacy loss distributions (PLD), by Google's dp_accounting.

Rules:
1. Neighbours differ by one record added or removed (protocol 6.1). An event is `steps` Poisson-sampled
   Gaussians; sampling rate 1 is the plain Gaussian. The mechanism of protocol 6.2 is exactly that one.
2. Every estimate is pessimistic ("connect the dots", arXiv 2207.04380): the epsilon given is never below
   the true one.
3. It fails closed: an exception of the library, NaN, a negative or infinite number, or a delta that
   floating-point convolution cannot resolve is `AccountingFailed`. Only kind *none* costs infinity.
4. The sampler's tables and the lane's clamp are not perfect Gaussians: 2^-10 of every delta is set aside for
   them, and noise_error.py refuses a vector so long that this share does not hold them (protocol 6.2).
Nothing here decides whether a cost may be paid: that is budget.py.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, TypeVar

from privacy.dp.events import Guarantee, PrivacyEvent
from privacy.errors import AccountingFailed, UnsafeParameters

if TYPE_CHECKING:
    from dp_accounting.pld import privacy_loss_distribution as pld

Rows = Sequence[tuple[PrivacyEvent, int]]

SMALLEST_DELTA = 1e-10
"""Below this the rounding errors of the library's FFTs (about 1e-15 each) are no longer negligible."""

IMPLEMENTATION_SHARE = 2.0**-10

_FINEST_INTERVAL = 5e-4
_MIXTURE_INTERVAL = 2e-3
"""A mixture's loss is inverted by root-finding, point by point: a coarser grid keeps it at a second."""
_POINTS = 1 << 16
_BLOCK = 64
"""A ledger grows round by round: multiples of so many rounds, and powers of two below, are kept composed."""

_NO_EPSILON = "do not go on with these parameters: no epsilon can be stated for them"

_T = TypeVar("_T")
_Single = tuple[float, float, int]
"""(noise multiplier, sampling rate, copies of one person's record): one Gaussian."""


def epsilon(rows: Rows, delta: float, guarantee: Guarantee, honest: int) -> float:
    """Epsilon at `delta` of all rows (event, count) together, for one record.

    honest: h = n_min - c. Returns math.inf if an event of kind *none* is counted. Raises AccountingFailed.
    """
    return epsilon_for_copies(rows, delta, guarantee, honest, copies=1)


def epsilon_for_copies(rows: Rows, delta: float, guarantee: Guarantee, honest: int, copies: int) -> float:
    """Epsilon for a unit held by `copies` participants (protocol 6.1), each sampling it independently.

    The sum moves by 0..copies clips with probabilities Binomial(copies, gamma): a mixture of Gaussians
    (dp_accounting's MixtureOfGaussiansDpEvent; arXiv 2401.10294). `copies` times epsilon would be false.
    """
    if copies < 1:
        raise UnsafeParameters(
            "at least one copy", str(copies), "give the number of participants that hold the unit"
        )
    if _unprotected(rows):
        return math.inf
    return _epsilon(_gaussians(rows, guarantee, honest, copies), delta)


def privacy_profile(rows: Rows, guarantee: Guarantee, honest: int) -> Callable[[float], float]:
    """The smallest delta at any real epsilon, for the worse of adding and removing a record; composed once.

    Rule 4's share is not included. What comes back raises AccountingFailed, as this does.
    """
    if _unprotected(rows):
        return lambda _: 1.0
    gaussians = _gaussians(rows, guarantee, honest, 1)
    if not gaussians:
        return lambda at: max(0.0, -math.expm1(at))
    composed = _guarded(lambda: _composed(gaussians))
    return lambda at: min(1.0, _fail_closed(lambda: composed.get_delta_for_epsilon(at)))


def delta_at(rows: Rows, target_epsilon: float, guarantee: Guarantee, honest: int) -> float:
    """The smallest delta the rows hold at `target_epsilon`: one point of their privacy profile."""
    return privacy_profile(rows, guarantee, honest)(target_epsilon)


def even_odds(rows: Rows, guarantee: Guarantee, honest: int) -> float:
    """The best chance to guess, from even odds, whether a record took part: (1 + delta(0)) / 2."""
    return (1.0 + delta_at(rows, 0.0, guarantee, honest)) / 2.0


def rounds_left(
    rows: Rows, event: PrivacyEvent, cap: float, delta: float, guarantee: Guarantee, honest: int
) -> int:
    """How many more times `event` could follow `rows` with epsilon no larger than `cap`; at most 2^20.

    This reads the cost "as if the number of rounds had been fixed"; what may happen is what the table has
    left.
    """

    def fits(more: int) -> bool:
        return epsilon((*rows, (event, more)), delta, guarantee, honest) <= cap

    if not fits(1):
        return 0
    low, high = 1, 2
    while high <= 1 << 20 and fits(high):
        low, high = high, 2 * high
    if low == 1 << 20:
        return low
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


def calibrate_noise(
    target_epsilon: float,
    delta: float,
    sampling_rate: float,
    count: int,
    *,
    guarantee: Guarantee = Guarantee.IN_SUM,
    honest: int = 1,
) -> float:
    """The smallest noise multiplier z, a multiple of 1e-4, at which `count` events cost at most the target.

    For *alone* z is still the sum's multiplier: each update then has z / sqrt(honest).
    """
    if not (math.isfinite(target_epsilon) and target_epsilon > 0 and count >= 1):
        raise UnsafeParameters(
            "a finite positive epsilon and at least one event",
            f"epsilon {target_epsilon}, count {count}",
            "give both",
        )
    if not 0 < sampling_rate <= 1:
        raise UnsafeParameters("a sampling rate in (0, 1]", str(sampling_rate), "give the chance of each record")

    def cost(tenthousandths: int) -> float:
        event = PrivacyEvent(
            kind="distributed", noise_multiplier=tenthousandths / 10_000, sampling_rate=sampling_rate, steps=1
        )
        return epsilon(((event, count),), delta, guarantee, honest)

    high = 10_000
    at_high = cost(high)
    while at_high > target_epsilon:
        high *= 2
        if high > 10_000 * 1_000_000:
            raise AccountingFailed("a noise multiplier that reaches the target", "none below 10^6", "raise epsilon")
        at_high = cost(high)
    low = high // 2
    at_low = cost(low)
    while at_low <= target_epsilon:
        low, high, at_high = low // 2, low, at_low
        if low == 0:
            return high / 10_000
        at_low = cost(low)
    # The bracket alone decides (low costs too much, high does not); where to look in it next is only a guess, and
    # each third guess is its middle, so that it shrinks whatever the curve is like.
    tried = 0
    while high - low > 1:
        tried += 1
        guess = (low + high) // 2 if tried % 3 == 0 else _between(low, at_low, high, at_high, target_epsilon)
        at_guess = cost(guess)
        if at_guess <= target_epsilon:
            high, at_high = guess, at_guess
        else:
            low, at_low = guess, at_guess
    return high / 10_000


def _between(low: int, at_low: float, high: int, at_high: float, target: float) -> int:
    """Where epsilon, nearly a power of the noise between two ends, would meet the target; strictly between them.

    A step towards the far end when it lands beside one: an end that is nearly right is then passed, not approached.
    """
    if at_high <= 0 or at_low <= at_high:
        return (low + high) // 2
    part = math.log(at_low / target) / math.log(at_low / at_high)
    guess = round(low * (high / low) ** min(1.0, max(0.0, part)))
    margin = max(1, (high - low) // 64)
    return min(max(guess, low + margin), high - margin) if high - low > 2 * margin else (low + high) // 2


def _unprotected(rows: Rows) -> bool:
    return any(event.kind == "none" and count > 0 for event, count in rows)


def _gaussians(rows: Rows, guarantee: Guarantee, honest: int, copies: int) -> tuple[tuple[_Single, int], ...]:
    """Equal Gaussians merged and sorted, so that the order of rows moves no digit of the result."""
    merged: dict[_Single, int] = {}
    for event, count in rows:
        if count < 0:
            raise AccountingFailed("counts of at least 0", str(count), "the ledger or table is wrong: do not go on")
        if count == 0:
            continue
        single = (event.noise_multiplier_for(guarantee, honest), event.sampling_rate, copies)
        merged[single] = merged.get(single, 0) + count * event.steps
    return tuple(sorted(merged.items()))


@lru_cache(maxsize=4096)
def _epsilon(gaussians: tuple[tuple[_Single, int], ...], delta: float) -> float:
    if not SMALLEST_DELTA <= delta < 1:
        raise AccountingFailed(
            f"a delta from {SMALLEST_DELTA} to below 1",
            str(delta),
            "choose delta at most 1 / (10 x number of records)",
        )
    if not gaussians:
        return 0.0
    usable = delta * (1 - IMPLEMENTATION_SHARE)
    return _fail_closed(lambda: _composed(gaussians).get_epsilon_for_delta(usable))


def _guarded(compute: Callable[[], _T]) -> _T:
    try:
        return compute()
    except Exception as error:  # whatever the library raises, there is no number to rely on
        raise AccountingFailed(
            "a number from the accountant", f"{type(error).__name__}: {error}", _NO_EPSILON
        ) from error


def _fail_closed(compute: Callable[[], float]) -> float:
    found = _guarded(lambda: float(compute()))
    if not (math.isfinite(found) and found >= 0):
        raise AccountingFailed("a finite number of at least 0 from the accountant", str(found), _NO_EPSILON)
    return found


@lru_cache(maxsize=64)
def _composed(gaussians: tuple[tuple[_Single, int], ...]) -> pld.PrivacyLossDistribution:
    interval = max(_interval(multiplier, copies) for (multiplier, _, copies), _ in gaussians)
    total = None
    for single, count in gaussians:
        part = _repeated(single, interval, count)
        total = part if total is None else total.compose(part)
    return total


@lru_cache(maxsize=32)
def _repeated(single: _Single, interval: float, count: int) -> pld.PrivacyLossDistribution:
    """One round more costs a convolution, and the figure depends on the count alone, not on the way there.

    The count's blocks are composed from the largest on, so that what comes before the last is found composed.
    """
    last = _last_block(count)
    part = _self_composed(single, interval, last)
    return part if last == count else _repeated(single, interval, count - last).compose(part)


def _last_block(count: int) -> int:
    """Its multiple of _BLOCK, if it is one, else the lowest power of two in it."""
    rest = count % _BLOCK
    return rest & -rest if rest else count


@lru_cache(maxsize=256)
def _self_composed(single: _Single, interval: float, count: int) -> pld.PrivacyLossDistribution:
    part = _single_pld(single, interval)
    return part if count == 1 else part.self_compose(count)


def _interval(multiplier: float, copies: int) -> float:
    """Width of the loss grid: fine, but with at most about 2^16 points for one Gaussian's loss.

    That loss has a range of mu^2 / 2 + 10 mu, mu = copies / multiplier: tiny noise cannot exhaust the memory.
    Widths are powers of two apart, so that rows of like noise share one grid.
    """
    mu = copies / multiplier
    width = _FINEST_INTERVAL if copies == 1 else _MIXTURE_INTERVAL
    while (mu * mu / 2 + 10 * mu) / width > _POINTS:
        width *= 2
    return width


@lru_cache(maxsize=64)
def _single_pld(single: _Single, interval: float) -> pld.PrivacyLossDistribution:
    # Imported at the first question: it takes a second, and most commands ask none.
    from dp_accounting.pld import privacy_loss_distribution as pld

    multiplier, rate, copies = single
    if copies == 1:
        return pld.from_gaussian_mechanism(multiplier, sampling_prob=rate, value_discretization_interval=interval)
    if rate == 1.0:
        return pld.from_gaussian_mechanism(multiplier / copies, value_discretization_interval=interval)
    shifts = range(copies + 1)
    chances = [math.comb(copies, j) * rate**j * (1 - rate) ** (copies - j) for j in shifts]
    return pld.from_mixture_gaussian_mechanism(
        multiplier, [float(j) for j in shifts], chances, value_discretization_interval=interval
    )
