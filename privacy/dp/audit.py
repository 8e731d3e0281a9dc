"""Audit of noise: a lower bound on epsilon from one run, to hold against the claim.

Method: Steinke, Nasr, Jagielski, "Privacy Auditing with One (1) Training Run" (NeurIPS 2023, arXiv 2305.08846),
Algorithm 1 and Theorem 5.2. Of m canaries each takes part by a fair coin of its own. From the output alone the
auditor guesses some coins and abstains from the others. If the mechanism is (epsilon, delta)-DP for adding or
removing one canary, the number of right guesses is hardly more than Binomial(r, e^epsilon / (1 + e^epsilon)).

Rules:
1. A bound says that epsilon is larger; it never says that epsilon is small. It is far below the truth: one run of a
   Gaussian mechanism of epsilon 2 gives about 1.
2. The share that is guessed, and the confidence, are chosen before the output is seen.
3. A claim is refuted if the guesses were less likely under it than 1 - confidence: with right noise this happens
   with at most that probability, and in practice never.
Pure: making canaries, and the run, are the caller's.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from privacy.errors import OutOfRange

GUESSED_SHARE: Final = 0.01
CONFIDENCE: Final = 0.95
LONGEST_SUM: Final = 1 << 17
"""A canary's vector is as long as the sum it goes into: beyond this the rows of one partner's canaries would fit no
machine's memory or patience."""


@dataclass(frozen=True)
class Guesses:
    """Of `canaries` (m) coins, `guessed` (r) were guessed and `correct` (v) of the guesses were right."""

    canaries: int
    guessed: int
    correct: int

    def __post_init__(self) -> None:
        if not 0 <= self.correct <= self.guessed <= self.canaries:
            raise OutOfRange("0 <= correct <= guessed <= canaries", str(self), "count again")


@dataclass(frozen=True)
class NoiseAudit:
    """What the guesses say of a claim (rule 3). lower_bound: epsilon is above it, with this confidence."""

    guesses: Guesses
    claimed: float
    delta: float
    confidence: float
    lower_bound: float
    p_value: float

    @property
    def refuted(self) -> bool:
        return self.p_value < 1 - self.confidence


def guess_coins(
    scores: NDArray[np.int64], coins: NDArray[np.bool_], guessed_share: float = GUESSED_SHARE
) -> Guesses:
    """Guess that the canaries with the largest scores took part and those with the smallest did not.

    scores: int64[m], larger where a canary took part. guessed_share: of all m, on each side.
    """
    each = max(1, math.ceil(scores.size * guessed_share))
    if scores.shape != coins.shape or 2 * each > scores.size:
        raise OutOfRange(
            "a score for each coin, and at most half of them on a side",
            f"{scores.shape}, {coins.shape}",
            "pass both",
        )
    order = np.argsort(scores, kind="stable")
    correct = int(np.count_nonzero(coins[order[-each:]])) + int(np.count_nonzero(~coins[order[:each]]))
    return Guesses(scores.size, 2 * each, correct)


def audit_noise(guesses: Guesses, claimed: float, delta: float, confidence: float = CONFIDENCE) -> NoiseAudit:
    """Hold the guesses against a claimed epsilon at `delta`."""
    return NoiseAudit(
        guesses=guesses,
        claimed=claimed,
        delta=delta,
        confidence=confidence,
        lower_bound=epsilon_lower_bound(guesses, delta, confidence),
        p_value=p_value(guesses, claimed, delta),
    )


def p_value(guesses: Guesses, epsilon: float, delta: float) -> float:
    """The chance of so many right guesses, at most, if the mechanism is (epsilon, delta)-DP.

    Theorem 5.2 of arXiv 2305.08846, as its appendix D evaluates it: beta + 2 m delta alpha, where W is
    Binomial(r, e^epsilon / (1 + e^epsilon)), beta = P[W >= v] and alpha = max over i of P[v > W >= v - i] / i.
    """
    if not (epsilon >= 0 and 0 <= delta <= 1):
        raise OutOfRange("epsilon of at least 0, delta in [0, 1]", f"{epsilon}, {delta}", "pass the claim")
    law = _binomial(guesses.guessed, epsilon)
    beta = math.fsum(law[guesses.correct :])
    alpha, below = 0.0, 0.0
    for i in range(1, guesses.correct + 1):
        below += law[guesses.correct - i]
        alpha = max(alpha, below / i)
    return min(1.0, beta + 2 * guesses.canaries * delta * alpha)


def epsilon_lower_bound(guesses: Guesses, delta: float, confidence: float = CONFIDENCE) -> float:
    """An epsilon at which the guesses would be less likely than 1 - confidence, as large as 2^-20 allows; or 0.

    Whichever such epsilon is found holds: who is epsilon-DP is so for every larger epsilon too.
    """
    level = 1 - confidence
    if p_value(guesses, 0.0, delta) >= level:
        return 0.0
    low, high = 0.0, 1.0
    while p_value(guesses, high, delta) < level:
        low, high = high, 2 * high
    while high - low > 2.0**-20:
        middle = (low + high) / 2
        low, high = (middle, high) if p_value(guesses, middle, delta) < level else (low, middle)
    return low


def _binomial(trials: int, epsilon: float) -> list[float]:
    """Probabilities of 0..trials successes of chance e^epsilon / (1 + e^epsilon), by logarithms."""
    failure = -epsilon - math.log1p(math.exp(-epsilon))
    success = -math.log1p(math.exp(-epsilon))
    whole = math.lgamma(trials + 1)
    return [
        math.exp(whole - math.lgamma(k + 1) - math.lgamma(trials - k + 1) + k * success + (trials - k) * failure)
        for k in range(trials + 1)
    ]
