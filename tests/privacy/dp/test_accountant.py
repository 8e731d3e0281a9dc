"""The accountant against closed forms (mpmath), against Opacus, and against its own refusals."""

from __future__ import annotations

import math
import warnings

import mpmath as mp
import pytest
from opacus.accountants import PRVAccountant, RDPAccountant
from opacus.accountants.analysis.rdp import compute_rdp

from privacy.dp import accountant
from privacy.dp.accountant import (
    IMPLEMENTATION_SHARE,
    calibrate_noise,
    delta_at,
    epsilon,
    epsilon_for_copies,
    even_odds,
    rounds_left,
)
from privacy.dp.events import Guarantee, PrivacyEvent
from privacy.dp.noise_error import (
    CLAMP_ERROR,
    SAMPLER_ERROR,
    check_implementation,
    implementation_delta,
    noise_error,
)
from privacy.errors import AccountingFailed, UnsafeParameters

DELTA = 1e-5
IN_SUM, ALONE = Guarantee.IN_SUM, Guarantee.ALONE


def training(z: float, gamma: float) -> PrivacyEvent:
    return PrivacyEvent(kind="distributed", noise_multiplier=z, sampling_rate=gamma)


def gaussian_delta(mu: mp.mpf, eps: float) -> mp.mpf:
    """Balle and Wang 2018, theorem 8: the exact delta of a Gaussian of sensitivity / sigma = mu."""
    return mp.ncdf(mu / 2 - eps / mu) - mp.exp(eps) * mp.ncdf(-mu / 2 - eps / mu)


def sampled_delta(z: mp.mpf, gamma: mp.mpf, eps: float) -> mp.mpf:
    """One sampled Gaussian, the larger of add and remove: the integral over where the loss passes eps."""
    eps = mp.mpf(eps)
    removal = z**2 * mp.log((mp.exp(eps) - 1 + gamma) / gamma) + mp.mpf(1) / 2
    mixed = (1 - gamma) * mp.ncdf(-removal / z) + gamma * mp.ncdf((1 - removal) / z)
    remove = mixed - mp.exp(eps) * mp.ncdf(-removal / z)
    inside = mp.exp(-eps) - 1 + gamma
    if inside <= 0:
        return remove
    cut = z**2 * mp.log(inside / gamma) + mp.mpf(1) / 2
    add = mp.ncdf(cut / z) - mp.exp(eps) * ((1 - gamma) * mp.ncdf(cut / z) + gamma * mp.ncdf((cut - 1) / z))
    return max(remove, add)


@pytest.mark.parametrize(("z", "count"), [(0.7, 1), (1.0, 1), (4.0, 1), (3.0, 25), (10.0, 400)])
def test_plain_gaussians_cost_what_the_closed_form_says(z: float, count: int) -> None:
    statistics = PrivacyEvent(kind="statistics", noise_multiplier=z, sampling_rate=1.0)
    stated = epsilon([(statistics, count)], DELTA, IN_SUM, 3)
    mu = mp.sqrt(count) / mp.mpf(z)
    assert gaussian_delta(mu, stated) <= DELTA, "the stated epsilon is an upper bound"
    assert gaussian_delta(mu, stated * 0.995) > DELTA, "and a tight one"
    assert even_odds([(statistics, count)], IN_SUM, 3) == pytest.approx(float(mp.ncdf(mu / 2)), abs=1e-4)


@pytest.mark.parametrize(("z", "gamma"), [(0.6, 0.05), (1.0, 0.01), (1.0, 0.5), (2.0, 0.3)])
def test_one_sampled_gaussian_costs_what_the_closed_form_says(z: float, gamma: float) -> None:
    stated = epsilon([(training(z, gamma), 1)], DELTA, IN_SUM, 3)
    assert sampled_delta(mp.mpf(z), mp.mpf(gamma), stated) <= DELTA
    assert sampled_delta(mp.mpf(z), mp.mpf(gamma), stated * 0.99) > DELTA
    at_half = delta_at([(training(z, gamma), 1)], 0.5, IN_SUM, 3)
    assert at_half == pytest.approx(float(sampled_delta(mp.mpf(z), mp.mpf(gamma), 0.5)), rel=2e-3, abs=1e-9)


@pytest.mark.parametrize(("z", "gamma", "rounds"), [(0.8, 0.05, 200), (1.0, 0.01, 1000), (2.0, 0.2, 100)])
def test_opacus_agrees(z: float, gamma: float, rounds: int) -> None:
    ours = epsilon([(training(z, gamma), rounds)], DELTA, IN_SUM, 3)
    prv, rdp = PRVAccountant(), RDPAccountant()
    prv.history = [(z, gamma, rounds)]
    rdp.history = [(z, gamma, rounds)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert ours == pytest.approx(prv.get_epsilon(DELTA), abs=0.02), "PRV: its own error bound is 0.01"
        assert ours < rdp.get_epsilon(DELTA) < 1.35 * ours, "Renyi DP is looser, never tighter"


def test_a_published_cost() -> None:
    """Abadi et al. 2016, section 3.2: q 0.01, sigma 4, 10,000 steps, delta 1e-5 is epsilon 1.26 by moments.

    The paper's own bound is rebuilt from Renyi divergences (its theorem 2); the exact cost must lie below it, and
    near the Gaussian that the central limit theorem of Bu et al. 2019 names, mu = q sqrt(T (e^(1/sigma^2) - 1)).
    """
    orders = [float(order) for order in range(2, 65)]
    moments = compute_rdp(q=0.01, noise_multiplier=4.0, steps=10_000, orders=orders)
    published = min(m + math.log(1 / DELTA) / (a - 1) for m, a in zip(moments, orders, strict=True))
    assert published == pytest.approx(1.26, abs=0.01)
    stated = epsilon([(training(4.0, 0.01), 10_000)], DELTA, IN_SUM, 3)
    assert stated < published
    mu = 0.01 * mp.sqrt(10_000 * (mp.exp(mp.mpf(1) / 16) - 1))
    assert float(gaussian_delta(mu, stated)) == pytest.approx(DELTA, rel=0.2)


def test_alone_is_the_smaller_noise_and_order_changes_nothing() -> None:
    rows = [
        (training(1.0, 0.05), 40),
        (PrivacyEvent(kind="statistics", noise_multiplier=5.0, sampling_rate=1.0), 2),
    ]
    assert epsilon(rows, DELTA, ALONE, 1) == epsilon(rows, DELTA, IN_SUM, 1)
    halved = [(PrivacyEvent(**{**e.model_dump(), "noise_multiplier": e.noise_multiplier / 2}), n) for e, n in rows]
    assert epsilon(rows, DELTA, ALONE, 4) == epsilon(halved, DELTA, IN_SUM, 4)
    assert epsilon(rows, DELTA, IN_SUM, 4) == epsilon(rows[::-1], DELTA, IN_SUM, 4)
    split = [rows[0], rows[1], (rows[0][0], 0)]
    assert epsilon(split, DELTA, IN_SUM, 4) == epsilon(rows, DELTA, IN_SUM, 4)
    local = PrivacyEvent(kind="local", noise_multiplier=1.0, sampling_rate=0.05, steps=20)
    assert epsilon([(local, 2)], DELTA, ALONE, 9) == epsilon([(training(1.0, 0.05), 40)], DELTA, IN_SUM, 9)


@pytest.mark.full
def test_copies_cost_more_than_their_number() -> None:
    rows = [(training(0.9, 0.05), 200)]
    one, two, three = (epsilon_for_copies(rows, DELTA, IN_SUM, 4, k) for k in (1, 2, 3))
    assert one == epsilon(rows, DELTA, IN_SUM, 4)
    assert two > 2 * one
    assert three > 3 * one
    plain = [(PrivacyEvent(kind="statistics", noise_multiplier=4.0, sampling_rate=1.0), 1)]
    doubled = epsilon_for_copies(plain, DELTA, IN_SUM, 4, 2)
    assert gaussian_delta(mp.mpf(1) / 2, doubled) <= DELTA < gaussian_delta(mp.mpf(1) / 2, doubled * 0.99)
    with pytest.raises(UnsafeParameters):
        epsilon_for_copies(rows, DELTA, IN_SUM, 4, 0)


@pytest.mark.full
def test_two_copies_of_a_sampled_record_match_numerical_integration() -> None:
    """One round, two copies: shifts 0, 1, 2 with probabilities Binomial(2, gamma)."""
    z, gamma = mp.mpf(1), mp.mpf("0.1")
    stated = epsilon_for_copies([(training(1.0, 0.1), 1)], 1e-3, IN_SUM, 4, 2)

    def density(x: mp.mpf, shift: int) -> mp.mpf:
        return mp.npdf(x, shift, z)

    def hockey_stick(eps: mp.mpf, removing: bool) -> mp.mpf:
        def integrand(x: mp.mpf) -> mp.mpf:
            with_record = (
                (1 - gamma) ** 2 * density(x, 0)
                + 2 * gamma * (1 - gamma) * density(x, 1)
                + gamma**2 * density(x, 2)
            )
            upper, lower = (with_record, density(x, 0)) if removing else (density(x, 0), with_record)
            return max(mp.mpf(0), upper - mp.exp(eps) * lower)

        return mp.quad(integrand, mp.linspace(-8, 10, 73))

    def worst(eps: float) -> mp.mpf:
        return max(hockey_stick(mp.mpf(eps), removing) for removing in (True, False))

    assert worst(stated) <= 1e-3 < worst(stated * 0.99)


def test_calibration_is_the_least_noise_that_fits() -> None:
    z = calibrate_noise(8.0, DELTA, 0.05, 50)
    assert epsilon([(training(z, 0.05), 50)], DELTA, IN_SUM, 4) <= 8.0
    assert epsilon([(training(z - 1e-4, 0.05), 50)], DELTA, IN_SUM, 4) > 8.0
    alone = calibrate_noise(8.0, DELTA, 0.05, 50, guarantee=ALONE, honest=4)
    assert alone == pytest.approx(2 * z, abs=3e-4)
    with pytest.raises(UnsafeParameters):
        calibrate_noise(math.inf, DELTA, 0.05, 50)


def test_rounds_left_is_the_last_that_fits() -> None:
    event = training(1.0, 0.05)
    spent = [(event, 30)]
    left = rounds_left(spent, event, 4.0, DELTA, IN_SUM, 4)
    assert epsilon([(event, 30 + left)], DELTA, IN_SUM, 4) <= 4.0
    assert epsilon([(event, 31 + left)], DELTA, IN_SUM, 4) > 4.0
    assert rounds_left([(event, 5000)], event, 4.0, DELTA, IN_SUM, 4) == 0


def test_no_noise_costs_infinity_and_nothing_costs_nothing() -> None:
    bare = PrivacyEvent(kind="none", noise_multiplier=0.0, sampling_rate=1.0)
    assert epsilon([(bare, 1)], DELTA, IN_SUM, 4) == math.inf
    assert even_odds([(bare, 1)], IN_SUM, 4) == 1.0
    assert epsilon([(bare, 0)], DELTA, IN_SUM, 4) == 0.0
    assert epsilon([], DELTA, IN_SUM, 4) == 0.0


@pytest.mark.parametrize("delta", [0.0, -1e-5, 1.0, math.nan, math.inf, 1e-14])
def test_a_delta_that_cannot_be_resolved_fails_closed(delta: float) -> None:
    with pytest.raises(AccountingFailed):
        epsilon([(training(1.0, 0.1), 1)], delta, IN_SUM, 4)


@pytest.mark.parametrize("answer", [math.nan, -0.5, math.inf])
def test_nonsense_from_the_library_fails_closed(monkeypatch: pytest.MonkeyPatch, answer: float) -> None:
    class Nonsense:
        def get_epsilon_for_delta(self, delta: float) -> float:
            return answer

        def get_delta_for_epsilon(self, target: float) -> float:
            return answer

    monkeypatch.setattr(accountant, "_composed", lambda gaussians: Nonsense())
    with pytest.raises(AccountingFailed):
        epsilon([(training(1.0, 0.1), 7)], 2e-5, IN_SUM, 4)
    with pytest.raises(AccountingFailed):
        delta_at([(training(1.0, 0.1), 7)], 1.0, IN_SUM, 4)


def test_an_exception_of_the_library_fails_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(gaussians: object) -> None:
        raise OverflowError("math range error")

    monkeypatch.setattr(accountant, "_composed", broken)
    with pytest.raises(AccountingFailed, match="OverflowError"):
        epsilon([(training(1.0, 0.1), 8)], 2e-5, IN_SUM, 4)
    with pytest.raises(AccountingFailed):
        epsilon([(training(1.0, 0.1), -1)], 2e-5, IN_SUM, 4)


def test_tiny_noise_is_still_accounted_in_bounded_memory() -> None:
    """With next to no noise the cost is that of the rounds a record was in: 10 expected of 200, 24 at 1e-5."""
    cost = epsilon([(training(0.5, 0.05), 200)], DELTA, ALONE, 60)
    whole = PrivacyEvent(kind="statistics", noise_multiplier=0.5, sampling_rate=1.0)
    fewer, more = (epsilon([(whole, rounds)], DELTA, ALONE, 60) for rounds in (17, 27))
    assert fewer < cost < more


def test_what_sampler_and_clamp_add_to_delta() -> None:
    mp.mp.dps = 40
    clamp = mp.mpf(CLAMP_ERROR)
    assert 1 < clamp / mp.erfc(10 / mp.sqrt(2)) < 1.01
    expected = (1 + mp.exp(8)) * 64_000_000 * 200 * 9 * (mp.mpf(2) ** -120 + clamp)
    rows = [(PrivacyEvent(kind="distributed", noise_multiplier=1.0, sampling_rate=0.1), 200)]
    d = 64_000_000
    added = implementation_delta(8.0, noise_error(rows, d, 0, IN_SUM, 9))
    assert added == pytest.approx(float(expected), rel=1e-9)
    expected_alone = (1 + mp.exp(mp.mpf("33.8"))) * 64_000_000 * 200 * mp.mpf(2) ** -120
    added = implementation_delta(33.8, noise_error(rows, d, 0, ALONE, 9))
    assert added == pytest.approx(float(expected_alone), rel=1e-9)
    check_implementation(8.0, DELTA, rows, d, 0, IN_SUM, 9)
    check_implementation(33.8, DELTA, rows, d, 0, ALONE, 9)
    assert implementation_delta(1000.0, 1e-30) == math.inf
    assert implementation_delta(1000.0, 0.0) == 0.0
    with pytest.raises(UnsafeParameters, match="64000000 shared and 0 private"):
        check_implementation(60.0, DELTA, rows, d, 0, ALONE, 9)


def test_every_draw_counts() -> None:
    """Against a count by hand: rounds, steps at home, and h draws for each private coordinate."""
    once = PrivacyEvent(kind="distributed", noise_multiplier=1.0, sampling_rate=0.1)
    home = PrivacyEvent(kind="local", noise_multiplier=1.0, sampling_rate=0.1, steps=7)
    bare = PrivacyEvent(kind="none", noise_multiplier=0.0, sampling_rate=1.0)
    draws = 3 * (100 + 9 * 20) + 2 * 7 * (100 + 20)
    assert noise_error([(once, 3), (home, 2), (bare, 5)], 100, 20, ALONE, 9) == draws * SAMPLER_ERROR
    in_sum = 3 * 100 * 9 * (SAMPLER_ERROR + CLAMP_ERROR) + (3 * 9 * 20 + 2 * 7 * 120) * SAMPLER_ERROR
    assert noise_error([(once, 3), (home, 2), (bare, 5)], 100, 20, IN_SUM, 9) == pytest.approx(in_sum, rel=1e-12)


def test_draws_of_60_bits_would_not_do() -> None:
    """At 64 million parameters and epsilon 8 their error alone would pass delta = 1e-5 in 200 rounds."""
    assert (1 + math.exp(8)) * 64_000_000 * 200 * 2.0**-60 > DELTA


def test_the_share_set_aside_is_not_spent_on_the_gaussians() -> None:
    rows = [(training(1.0, 0.05), 100)]
    assert delta_at(rows, epsilon(rows, DELTA, IN_SUM, 4), IN_SUM, 4) <= DELTA * (1 - IMPLEMENTATION_SHARE) * 1.0001


def test_a_figure_is_of_the_count_and_not_of_the_way_there() -> None:
    """Blocks and powers of two, each rounded up, against the library's composition in one step."""
    rows = ((PrivacyEvent(kind="distributed", noise_multiplier=2.0, sampling_rate=0.05, steps=1), 1),)
    ((single, _),) = accountant._gaussians(rows, Guarantee.IN_SUM, 1, 1)
    interval = accountant._interval(single[0], 1)
    for count in (1, 2, 63, 64, 65, 127, 200, 555, 640):
        at_once = accountant._single_pld(single, interval).self_compose(count).get_epsilon_for_delta(1e-5)
        in_blocks = accountant._composed(((single, count),)).get_epsilon_for_delta(1e-5)
        assert in_blocks == pytest.approx(at_once, rel=1e-7)
        for kept in (accountant._self_composed, accountant._repeated, accountant._composed):
            kept.cache_clear()
        assert accountant._composed(((single, count),)).get_epsilon_for_delta(1e-5) == in_blocks
