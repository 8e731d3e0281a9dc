"""`python -m tests.experiments.figures`: what the experiments find with right and with broken code, over many runs.

These are the figures of docs/experiments.md. Randomness is the system's: no two runs are alike.
"""

from __future__ import annotations

import argparse
import math

from rich.console import Console
from rich.progress import track
from rich.table import Table

from client_sdk.rehearsal import rehearse_noise, rehearse_sampling
from privacy.dp import accountant
from privacy.dp.audit import Guesses, audit_noise, guess_coins, p_value
from privacy.dp.audit_sampling import audit_sampling
from privacy.dp.events import Guarantee, PrivacyEvent
from privacy.randomness import SystemRandom
from tests.experiments import faults

DELTA = 1e-5
CLOSE = (faults.nothing_wrong, faults.noise_divided_twice, faults.clip_multiplied_twice)
CLEAR = (faults.no_noise, faults.no_clipping, faults.one_partner_silent)
"""So far off that a third of the runs will do."""
OF_SAMPLING = (faults.nothing_wrong, faults.batch_shuffled, faults.fixed_size_batches, faults.same_batch_again)


def noise(runs: int) -> Table:
    event = PrivacyEvent(kind="distributed", noise_multiplier=2.0, sampling_rate=1.0, steps=1)
    claimed = accountant.epsilon(((event, 1),), DELTA, Guarantee.IN_SUM, faults.HONEST)
    table = Table("code", "lower bound, least to largest", "refuted", "probes, sigma", "alarms")
    table.title = f"noise: epsilon {claimed:.3f} claimed"
    for fault in (*CLOSE, *CLEAR):
        audits, probes = [], []
        times = runs if fault in CLOSE else math.ceil(runs / 3)
        for _ in track(range(times), fault.__name__, console=Console(stderr=True), transient=True):
            with fault():
                made = rehearse_noise(SystemRandom())
            audits.append(audit_noise(guess_coins(made.scores, made.coins), claimed, DELTA))
            probes.append(made.probes)
        bounds, off = [audit.lower_bound for audit in audits], [one.deviations for one in probes]
        table.add_row(
            fault.__name__,
            f"{min(bounds):.2f} to {max(bounds):.2f}",
            f"{sum(audit.refuted for audit in audits)} of {times}",
            f"{min(off):+.1f} to {max(off):+.1f}",
            f"{sum(one.missing for one in probes)} of {times}",
        )
    return table


def sampling(runs: int) -> Table:
    table = Table("code", "mean size", "size spread", "repeats", "record spread", "refuted")
    table.title = f"sampling: 1,000 records at 0.05, 400 rounds, {runs} runs each; standard deviations"
    for fault in OF_SAMPLING:
        audits = []
        for _ in track(range(runs), fault.__name__, console=Console(stderr=True), transient=True):
            with fault():
                batches = rehearse_sampling(SystemRandom(), 1000, 0.05, 400, lambda _: None)
            audits.append(audit_sampling(batches, 1000, 0.05))
        spans = [[audit.deviations[name] for audit in audits] for name in audits[0].deviations]
        table.add_row(
            fault.__name__,
            *(f"{min(span):+.1f} to {max(span):+.1f}" for span in spans),
            str(sum(audit.refuted for audit in audits)),
        )
    return table


def reach() -> Table:
    """Canaries with which the absence of all noise, every guess right, refutes a claim at 95 %."""
    table = Table("claimed epsilon", "guessing 1 % a side", "guessing every coin")
    table.title = f"canaries needed to refute, if there is no noise at all; delta {DELTA:g}"
    for epsilon in (2.0, 4.0, 8.0, 33.8):
        table.add_row(f"{epsilon:g}", *(_needed(epsilon, share) for share in (0.01, 0.5)))
    return table


def _needed(epsilon: float, share: float) -> str:
    canaries = 100
    while canaries <= 100_000:
        guessed = min(canaries, 2 * math.ceil(canaries * share))
        if p_value(Guesses(canaries, guessed, guessed), epsilon, DELTA) < 0.05:
            return f"{canaries:,}"
        canaries += max(1, canaries // 50)
    return "more than 100,000"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=30)
    runs = parser.parse_args().runs
    to = Console(width=120)
    to.print(reach())
    to.print(sampling(math.ceil(runs / 3)))
    to.print(noise(runs))


if __name__ == "__main__":
    main()
