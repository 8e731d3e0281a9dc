"""The one-run lower bound against an oracle of 60 digits, and against what the theorem says in plain cases."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest

from privacy.dp.audit import Guesses, NoiseAudit, audit_noise, epsilon_lower_bound, guess_coins, p_value
from privacy.errors import OutOfRange


def oracle(m: int, r: int, v: int, epsilon: float, delta: float) -> float:
    """beta + 2 m delta alpha of arXiv 2305.08846, theorem 5.2, straight from the definitions."""
    with mpmath.workdps(60):
        success = mpmath.e ** mpmath.mpf(epsilon) / (1 + mpmath.e ** mpmath.mpf(epsilon))

        law = [mpmath.binomial(r, k) * success**k * (1 - success) ** (r - k) for k in range(r + 1)]
        beta = mpmath.fsum(law[v:])
        alpha = max([mpmath.fsum(law[v - i : v]) / i for i in range(1, v + 1)], default=mpmath.mpf(0))
        return float(min(mpmath.mpf(1), beta + 2 * m * mpmath.mpf(delta) * alpha))


@pytest.mark.parametrize(
    ("m", "r", "v"), [(20_000, 400, 317), (20_000, 400, 400), (1000, 20, 20), (100, 100, 61), (50, 1, 1), (9, 8, 0)]
)
@pytest.mark.parametrize("epsilon", [0.0, 0.5, 1.99, 8.0])
@pytest.mark.parametrize("delta", [0.0, 1e-5, 1e-3])
def test_the_p_value_is_the_theorems(m: int, r: int, v: int, epsilon: float, delta: float) -> None:
    assert p_value(Guesses(m, r, v), epsilon, delta) == pytest.approx(oracle(m, r, v, epsilon, delta), rel=1e-10)


def test_without_delta_it_is_a_binomial_tail() -> None:
    """10 of 10 right: e^10eps / (1 + e^eps)^10 = 0.05 gives the bound in closed form (Clopper and Pearson)."""
    chance = 0.05 ** (1 / 10)
    found = epsilon_lower_bound(Guesses(10, 10, 10), 0.0)
    assert found == pytest.approx(np.log(chance / (1 - chance)), abs=1e-5)


def test_a_bound_is_where_the_p_value_crosses() -> None:
    guesses = Guesses(20_000, 400, 360)
    bound = epsilon_lower_bound(guesses, 1e-5)
    assert p_value(guesses, bound, 1e-5) < 0.05 <= p_value(guesses, bound + 1e-5, 1e-5)
    assert epsilon_lower_bound(guesses, 1e-3) < bound  # a larger delta explains more
    assert epsilon_lower_bound(guesses, 1e-5, confidence=0.999) < bound


def test_guessing_by_chance_gives_no_bound() -> None:
    assert epsilon_lower_bound(Guesses(20_000, 400, 200), 1e-5) == 0.0
    assert epsilon_lower_bound(Guesses(20_000, 400, 0), 1e-5) == 0.0
    assert epsilon_lower_bound(Guesses(20_000, 0, 0), 1e-5) == 0.0


def test_a_claim_is_refuted_where_the_bound_is_above_it() -> None:
    audit = audit_noise(Guesses(20_000, 400, 384), 1.99, 1e-5)
    assert audit.refuted
    assert audit.lower_bound > 1.99
    fair = audit_noise(Guesses(20_000, 400, 320), 1.99, 1e-5)
    assert not fair.refuted
    assert 0.5 < fair.lower_bound < 1.99
    assert isinstance(fair, NoiseAudit)


def test_guesses_are_the_extremes_and_the_rest_abstains() -> None:
    coins = np.zeros(1000, dtype=np.bool_)
    coins[500:] = True
    scores = np.arange(1000, dtype=np.int64)
    assert guess_coins(scores, coins) == Guesses(1000, 20, 20)
    assert guess_coins(-scores, coins) == Guesses(1000, 20, 0)
    assert guess_coins(scores, coins, 0.5) == Guesses(1000, 1000, 1000)
    assert guess_coins(scores[:10], coins[:10]) == Guesses(10, 2, 1)


@pytest.mark.parametrize(("scores", "coins"), [(1000, 999), (1, 1), (0, 0)])
def test_scores_without_coins_are_refused(scores: int, coins: int) -> None:
    with pytest.raises(OutOfRange):
        guess_coins(np.zeros(scores, dtype=np.int64), np.zeros(coins, dtype=np.bool_))


def test_counts_and_claims_that_cannot_be_are_refused() -> None:
    with pytest.raises(OutOfRange):
        Guesses(10, 5, 6)
    for epsilon, delta in ((-1.0, 1e-5), (1.0, -0.1), (1.0, 2.0), (float("nan"), 1e-5)):
        with pytest.raises(OutOfRange):
            p_value(Guesses(10, 5, 5), epsilon, delta)
