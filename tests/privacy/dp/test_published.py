"""Epsilons that others published, rebuilt by their method, and the exact cost, which may not be above them.

Abadi et al. 2016 stand in test_accountant.py. Two papers of 2021 begin with Kairouz: of DP-FTRL (arXiv 2103.00039)
two epsilons are rebuilt; of the distributed discrete Gaussian (arXiv 2102.06387), and of Gopi et al. 2021 (arXiv
2106.02848), no table of epsilons is taken over. What stands for those is derived: the concentrated-DP bound that
the one adds up, and the closed form by which the other's own tests check an accountant.
"""

from __future__ import annotations

import math

import mpmath as mp
import pytest
from opacus.accountants.analysis.rdp import compute_rdp

from privacy.dp.accountant import IMPLEMENTATION_SHARE, delta_at, epsilon
from privacy.dp.events import Guarantee, PrivacyEvent

DELTA = 1e-5
TUTORIAL_ORDERS = [1 + x / 10 for x in range(1, 100)] + list(range(12, 64))
MNIST = 60_000
BATCH = 256


@pytest.mark.parametrize(("z", "epochs", "published"), [(1.12, 60, 2.92), (0.6, 30, 9.74), (1.2, 10, 1.20)])
def test_the_tutorial_of_tensorflow_privacy(z: float, epochs: int, published: float) -> None:
    """The table of tutorials/README.md in tensorflow/privacy: MNIST, batches of 256, delta 1e-5.

    Its figures are by Renyi DP, converted as Mironov 2017 (arXiv 1702.07476, proposition 3), at orders that are
    not told: 0.02. It counts shuffled batches as Poisson samples; ours are drawn so (sampling.py).
    """
    rate = BATCH / MNIST
    steps = int(epochs * MNIST / BATCH)
    spent = compute_rdp(q=rate, noise_multiplier=z, steps=steps, orders=TUTORIAL_ORDERS)
    rebuilt = min(r - math.log(DELTA) / (a - 1) for r, a in zip(spent, TUTORIAL_ORDERS, strict=True))
    assert rebuilt == pytest.approx(published, abs=0.02)
    event = PrivacyEvent(kind="distributed", noise_multiplier=z, sampling_rate=rate)
    exact = epsilon([(event, steps)], DELTA, Guarantee.IN_SUM, 3)
    assert 0.6 * published < exact < published


@pytest.mark.parametrize(("z", "published"), [(1.13, 19.74), (8.83, 2.04)])
def test_a_tree_of_sums_is_as_many_plain_gaussians_as_it_has_levels(z: float, published: float) -> None:
    """Kairouz et al. 2021 (DP-FTRL, arXiv 2103.00039): 1,600 rounds of Stack Overflow, delta 1e-6, no restart.

    The figures are those that dp_accounting's own tests quote for that setting (rdp_privacy_accountant_test.py).
    Each round's sum is a leaf; a user who takes part once is in one node of each of log2(1600), rounded up, levels,
    all published with noise z (the paper's appendix D): 11 events of ours with gamma 1. Renyi DP, converted as
    Mironov 2017, proposition 3, gives the quoted figures to their last digit. The tree is no kind of event here: no
    round of ours publishes sums over rounds.
    """
    delta, levels = 1e-6, math.ceil(math.log2(1600))
    orders = TUTORIAL_ORDERS
    rebuilt = min(a * levels / (2 * z * z) - math.log(delta) / (a - 1) for a in orders)
    assert rebuilt == pytest.approx(published, abs=0.005)
    plain = PrivacyEvent(kind="statistics", noise_multiplier=z, sampling_rate=1.0)
    exact = epsilon([(plain, levels)], delta, Guarantee.IN_SUM, 3)
    assert 0.75 * published < exact < published
    mu = mp.sqrt(levels) / mp.mpf(z)
    at = mp.ncdf(mu / 2 - exact / mu) - mp.exp(exact) * mp.ncdf(-mu / 2 - exact / mu)
    assert float(at) == pytest.approx(delta * (1 - IMPLEMENTATION_SHARE), rel=2e-2)


def test_ten_thousand_gaussians_of_noise_100_are_one_of_noise_1() -> None:
    """The check of Gopi et al.'s own package (prv_accountant): delta at epsilon 4 is that of mu = 1."""
    plain = PrivacyEvent(kind="statistics", noise_multiplier=100.0, sampling_rate=1.0)
    exact = mp.ncdf(mp.mpf(-4) + mp.mpf(1) / 2) - mp.exp(4) * mp.ncdf(mp.mpf(-4) - mp.mpf(1) / 2)
    found = delta_at([(plain, 10_000)], 4.0, Guarantee.IN_SUM, 3)
    assert exact <= found <= exact * (1 + 5e-3)


@pytest.mark.parametrize(("z", "rounds"), [(8.0, 10), (20.0, 150)])
def test_whole_batches_cost_less_than_the_concentrated_bound(z: float, rounds: int) -> None:
    """Each round is 1 / (2 z^2)-concentrated DP, and these add (Kairouz et al. 2021, without the rounding).

    Converted by Canonne, Kamath, Steinke 2020 (arXiv 2004.00010, proposition 12) at its best order.
    """
    rho = rounds / (2 * z * z)
    usable = DELTA * (1 - IMPLEMENTATION_SHARE)
    orders = [1.01 + step / 50 for step in range(2000)]
    bound = min(a * rho + math.log1p(-1 / a) - math.log(a * usable) / (a - 1) for a in orders)
    plain = PrivacyEvent(kind="statistics", noise_multiplier=z, sampling_rate=1.0)
    exact = epsilon([(plain, rounds)], DELTA, Guarantee.IN_SUM, 3)
    assert 0.85 * bound < exact < bound


def test_shuffled_batches_are_no_event() -> None:
    """A row says Poisson: no kind, and no field, could claim a shuffled batch's rate."""
    with pytest.raises(ValueError, match="kind"):
        PrivacyEvent(kind="shuffled", noise_multiplier=1.0, sampling_rate=0.1)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="batch_size"):
        PrivacyEvent(kind="distributed", noise_multiplier=1.0, sampling_rate=0.1, batch_size=64)  # type: ignore[call-arg]
