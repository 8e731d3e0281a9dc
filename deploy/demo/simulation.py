"""Training as the demo's consortium does it, in one process and without cryptography.

It chooses hyperparameters (on validation scaffolds) and says what the demo should reach (on the test).
What is kept of the protocol: Poisson samples, the per-record clip, each partner's clamp, its noise of z C / sqrt(h)
and the integer it rounds to (protocol 6.2, in floating point on the coarse grid only), the public denominator and
the server optimiser. What is not: encryption, the ledger, the exact integer sums, dropouts.
The linear model's record gradient is residual x features, so that a batch needs no autograd: with features of
norm 1 the gradient's norm is the residual's, and sum of clipped gradients = clipped residuals^T features.
No privacy is claimed for anything computed here.
"""

from __future__ import annotations

import argparse
import hashlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from deploy.demo.baselines import train_forests, train_mlp
from deploy.demo.compounds import Compounds, pool
from deploy.demo.data import PartnerData, prepare
from deploy.demo.settings import DemoSettings, ForestSettings, FreeSettings, MlpSettings
from deploy.demo.task import LinearPredictor, Predictor, Scores, each_its_own, judge, shared_by_all
from privacy.randomness import Keystream


@dataclass(frozen=True)
class Fold:
    """A training and a test set a partner: the real ones, or training and validation scaffolds."""

    train: tuple[Compounds, ...]
    test: tuple[Compounds, ...]


def test_fold(partners: tuple[PartnerData, ...]) -> Fold:
    return Fold(tuple(p.train for p in partners), tuple(p.test for p in partners))


def validation_fold(partners: tuple[PartnerData, ...]) -> Fold:
    return Fold(tuple(p.train[~p.validation] for p in partners), tuple(p.train[p.validation] for p in partners))


@dataclass(frozen=True)
class _Records:
    features: sparse.csr_matrix  # float64 (n, 2048), rows of norm 1
    labels: NDArray[np.float64]
    measured: NDArray[np.bool_]


class _Draws:
    """Uniforms and normals of a simulated run, from a keystream under its seed."""

    def __init__(self, seed: int, purpose: str) -> None:
        self._stream = Keystream(hashlib.sha256(f"chorale simulation {seed} {purpose}".encode()).digest())

    def uniform(self, count: int) -> NDArray[np.float64]:
        return ((self._stream.words(count) >> np.uint64(12)).astype(np.float64) + 0.5) / 2.0**52

    def normal(self, count: int) -> NDArray[np.float64]:
        """Box and Muller (1958)."""
        half = (count + 1) // 2
        radius = np.sqrt(-2.0 * np.log(self.uniform(half)))
        angle = 2.0 * np.pi * self.uniform(half)
        return np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])[:count]


def simulate_private(train: tuple[Compounds, ...], settings: DemoSettings, seed: int) -> LinearPredictor:
    """The campaign of `settings` in mode *distributed*, from zeros to the last round's state."""
    records = tuple(_records(part) for part in train)
    tasks, width = records[0].labels.shape[1], records[0].features.shape[1]
    draws = _Draws(seed, "private")
    unit = settings.noise_multiplier * settings.clip / np.sqrt(settings.honest) / settings.noise_units
    offset = (2**settings.lane_width - 1) // (2 * settings.n_max)  # protocol 5.2
    bound = offset - 10 * settings.noise_units
    weights = np.zeros((tasks, width))
    velocity = np.zeros_like(weights)
    for _ in range(settings.rounds):
        total = np.zeros_like(weights)
        for part in records:
            batch = np.flatnonzero(draws.uniform(len(part.labels)) < settings.sampling_rate)
            signal = np.clip(_clipped_gradient(weights, part, batch, settings.clip) / unit, -bound, bound)
            noise = settings.noise_units * draws.normal(weights.size).reshape(weights.shape)
            total += np.clip(np.rint(signal + noise), -offset, offset)
        velocity = settings.momentum * velocity + total * unit / settings.denominator
        weights = weights - settings.learning_rate * velocity
    return LinearPredictor(weights)


def simulate_free(train: tuple[Compounds, ...], settings: FreeSettings, seed: int) -> LinearPredictor:
    """Federated averaging without noise: steps at home on Poisson samples, then the plain mean of all models."""
    records = tuple(_records(part) for part in train)
    draws = _Draws(seed, "free")
    weights = np.zeros((records[0].labels.shape[1], records[0].features.shape[1]))
    for _ in range(settings.rounds):
        updates = np.zeros_like(weights)
        for part in records:
            local = weights.copy()
            for _ in range(settings.local_steps):
                batch = np.flatnonzero(draws.uniform(len(part.labels)) < settings.sampling_rate)
                gradient = _clipped_gradient(local, part, batch, np.inf)
                local -= settings.learning_rate * gradient / settings.denominator
            updates += local - weights
        weights = weights + updates / len(records)
    return LinearPredictor(weights)


def _records(compounds: Compounds) -> _Records:
    features = sparse.csr_matrix(compounds.features().astype(np.float64))
    return _Records(features, compounds.labels.astype(np.float64), compounds.measured)


def _clipped_gradient(
    weights: NDArray[np.float64], records: _Records, batch: NDArray[np.int64], clip: float
) -> NDArray[np.float64]:
    """Sum over the batch of min(1, clip / norm) x gradient of `task.record_loss`, float64 (tasks, 2048)."""
    features = records.features[batch]
    probability = 1.0 / (1.0 + np.exp(-(features @ weights.T)))
    residual = np.where(records.measured[batch], probability - records.labels[batch], 0.0)
    norms = np.linalg.norm(residual, axis=1, keepdims=True)
    residual *= np.minimum(1.0, clip / np.maximum(norms, np.finfo(np.float64).tiny))
    return np.asarray((features.T @ residual).T)


@dataclass(frozen=True)
class Measured:
    """One row of the table: the name that summary.json uses, its scores, and seconds of wall time, one thread."""

    method: str
    scores: Scores
    seconds: float


def table(fold: Fold, settings: DemoSettings, seed: int) -> Iterator[Measured]:
    """Every method of the demo's table, one after the other."""
    everyone = pool(fold.train)

    def alone(train: Callable[[Compounds], Predictor]) -> Scores:
        return each_its_own(tuple(judge(train(part), fold.test) for part in fold.train))

    methods: dict[str, Callable[[], Scores]] = {
        "alone_mlp": lambda: alone(lambda part: train_mlp(part, MlpSettings())),
        "alone_forest": lambda: alone(lambda part: train_forests(part, ForestSettings())),
        "federated": lambda: shared_by_all(judge(simulate_private(fold.train, settings, seed), fold.test)),
        "federated_no_dp": lambda: shared_by_all(judge(simulate_free(fold.train, FreeSettings(), seed), fold.test)),
        "pooled": lambda: shared_by_all(judge(train_mlp(everyone, MlpSettings()), fold.test)),
    }
    for method, measure in methods.items():
        start = time.perf_counter()
        scores = measure()
        yield Measured(method, scores, time.perf_counter() - start)


def print_row(row: Measured) -> None:
    for where, mean, each in (
        ("own", row.scores.mean_own, row.scores.own),
        ("everyone", row.scores.mean_everyone, row.scores.everyone),
    ):
        partners = " ".join(f"{value:.3f}" for value in each)
        print(f"{row.method:16} {where:9} {mean:.4f}  {partners}  {row.seconds:5.1f} s", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, default=Path("out/demo/data"), help="folder of the dealt compounds")
    parser.add_argument("--validation", action="store_true", help="judge on held-out training scaffolds")
    parser.add_argument("--seeds", type=int, default=1, help="how often the private run is repeated")
    chosen = parser.parse_args()
    settings = DemoSettings()
    partners = prepare(chosen.data, settings.deal).partners()
    fold = validation_fold(partners) if chosen.validation else test_fold(partners)
    for row in table(fold, settings, seed=1):
        print_row(row)
    for seed in range(2, chosen.seeds + 1):
        again = shared_by_all(judge(simulate_private(fold.train, settings, seed), fold.test))
        print(f"federated, seed {seed}: own {again.mean_own:.4f} everyone {again.mean_everyone:.4f}", flush=True)


if __name__ == "__main__":
    main()
