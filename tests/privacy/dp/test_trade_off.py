"""The attacker's chances against exact trade-off curves (mpmath), and what every such curve must obey."""

from __future__ import annotations

import math

import mpmath as mp
import pytest

from privacy.dp import accountant
from privacy.dp.accountant import epsilon
from privacy.dp.events import Guarantee, PrivacyEvent
from privacy.dp.trade_off import FALSE_ALARMS, attack_power, detection
from privacy.errors import AccountingFailed, UnsafeParameters

IN_SUM, ALONE = Guarantee.IN_SUM, Guarantee.ALONE


def plain(z: float) -> PrivacyEvent:
    return PrivacyEvent(kind="statistics", noise_multiplier=z, sampling_rate=1.0)


def sampled(z: float, gamma: float) -> PrivacyEvent:
    return PrivacyEvent(kind="distributed", noise_multiplier=z, sampling_rate=gamma)


def upper_quantile(chance: float) -> mp.mpf:
    return mp.sqrt(2) * mp.erfinv(1 - 2 * mp.mpf(chance))


def gaussian_detection(mu: mp.mpf, false_alarm: float) -> float:
    """Dong, Roth, Su 2019, equation 6: G_mu(f) = Phi(Phi^-1(1 - f) - mu) is what is missed."""
    return float(mp.ncdf(mu - upper_quantile(false_alarm)))


@pytest.mark.parametrize(("z", "count"), [(0.7, 1), (2.0, 1), (4.0, 3), (10.0, 400)])
def test_plain_gaussians_follow_their_exact_curve(z: float, count: int) -> None:
    rows = [(plain(z), count)]
    for guarantee, noise in ((IN_SUM, z), (ALONE, z / 2)):
        power = attack_power(rows, guarantee, 4)
        mu = mp.sqrt(count) / mp.mpf(noise)
        assert tuple(rate for rate, _ in power.at) == FALSE_ALARMS
        for rate, detected in power.at:
            exact = gaussian_detection(mu, rate)
            assert exact <= detected <= min(1.0, exact * (1 + 2e-4)), (rate, guarantee)
        exact_odds = float(mp.ncdf(mu / 2))
        assert exact_odds - 1e-12 <= power.even_odds <= exact_odds + 1e-4


@pytest.mark.parametrize(("z", "gamma"), [(0.6, 0.05), (1.0, 0.5), (2.0, 0.3)])
def test_one_sampled_gaussian_follows_the_likelihood_ratio_test(z: float, gamma: float) -> None:
    """Neyman and Pearson: with one output the best test is a threshold; mix = (1 - gamma) N(0) + gamma N(1)."""

    def mixed_below(x: mp.mpf) -> mp.mpf:
        return (1 - gamma) * mp.ncdf(x / z) + gamma * mp.ncdf((x - 1) / z)

    for rate in FALSE_ALARMS:
        cut = z * upper_quantile(rate)
        removing = 1 - mixed_below(cut)
        start = -z * upper_quantile(rate)
        low = mp.findroot(lambda x, rate=rate: mixed_below(x) - rate, start)
        adding = mp.ncdf(low / z)
        exact = float(max(removing, adding))
        found = detection([(sampled(z, gamma), 1)], rate, IN_SUM, 4)
        # The add and remove curves cross; where they do, one epsilon has to serve both.
        assert exact * (1 - 1e-9) <= found <= exact * 1.02, rate


@pytest.mark.parametrize("rows", [[(sampled(1.0, 0.05), 200)], [(sampled(0.8, 0.1), 30), (plain(6.0), 2)]])
def test_what_every_trade_off_curve_obeys(rows: list[tuple[PrivacyEvent, int]]) -> None:
    rates = [1e-4, 1e-3, 1e-2, 0.1, 0.3, 0.7]
    found = [detection(rows, rate, IN_SUM, 4) for rate in rates]
    odds = attack_power(rows, IN_SUM, 4).even_odds
    assert found == sorted(found)
    slopes = [(b - a) / (y - x) for x, y, a, b in zip(rates, rates[1:], found, found[1:], strict=False)]
    assert slopes == sorted(slopes, reverse=True), "detection is concave: mixing two tests gains nothing"
    at_delta = epsilon(rows, 1e-5, IN_SUM, 4)
    for rate, detected in zip(rates, found, strict=True):
        assert rate <= detected <= 1
        assert (detected + 1 - rate) / 2 <= odds + 1e-6, "no threshold beats the best guess from even odds"
        assert detected <= math.exp(at_delta) * rate + 1e-5
        missed = 1 - detected
        assert 1 - detection(rows, missed, IN_SUM, 4) == pytest.approx(rate, rel=5e-3), "accusing and missing swap"
    assert odds < math.exp(at_delta) / (1 + math.exp(at_delta)), "which is no chance of anything"


def test_more_noise_fewer_rounds_and_company_help_no_attacker() -> None:
    def chances(z: float, gamma: float, rounds: int, guarantee: Guarantee = IN_SUM) -> list[float]:
        power = attack_power([(sampled(z, gamma), rounds)], guarantee, 4)
        return [*(detected for _, detected in power.at), power.even_odds]

    base = chances(1.0, 0.05, 100)
    for stronger in (chances(1.5, 0.05, 100), chances(1.0, 0.02, 100), chances(1.0, 0.05, 50)):
        assert all(better < worse for better, worse in zip(stronger, base, strict=True))
    alone = chances(1.0, 0.05, 100, ALONE)
    assert all(better < worse for better, worse in zip(base, alone, strict=True))
    assert chances(2.0, 0.05, 100, ALONE) == base, "alone at h = 4 is half the noise"


def test_no_event_leaves_guessing_and_no_noise_leaves_nothing() -> None:
    assert attack_power([], IN_SUM, 4).at == tuple((rate, rate) for rate in FALSE_ALARMS)
    assert attack_power([], IN_SUM, 4).even_odds == 0.5
    bare = PrivacyEvent(kind="none", noise_multiplier=0.0, sampling_rate=1.0)
    assert attack_power([(bare, 1), (sampled(1.0, 0.1), 3)], IN_SUM, 4).at == tuple((r, 1.0) for r in FALSE_ALARMS)
    assert attack_power([(bare, 1)], ALONE, 4).even_odds == 1.0
    assert attack_power([(bare, 0)], ALONE, 4).even_odds == 0.5


@pytest.mark.parametrize("rate", [0.0, -0.1, 1.1, math.nan])
def test_a_rate_that_is_none_is_refused(rate: float) -> None:
    with pytest.raises(UnsafeParameters):
        detection([(sampled(1.0, 0.1), 3)], rate, IN_SUM, 4)


@pytest.mark.parametrize("answer", [math.nan, -1e-3, math.inf])
def test_nonsense_from_the_library_fails_closed(monkeypatch: pytest.MonkeyPatch, answer: float) -> None:
    class Nonsense:
        def get_delta_for_epsilon(self, at: float) -> float:
            return answer

    monkeypatch.setattr(accountant, "_composed", lambda gaussians: Nonsense())
    with pytest.raises(AccountingFailed):
        attack_power([(sampled(1.0, 0.1), 7)], IN_SUM, 4)
