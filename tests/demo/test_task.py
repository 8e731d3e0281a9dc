"""Loss, metric, the closed-form gradient of the simulation against autograd, and the demo's noise multiplier."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from dp_accounting import NeighboringRelation
from dp_accounting.dp_event import GaussianDpEvent, PoissonSampledDpEvent, SelfComposedDpEvent
from dp_accounting.pld import PLDAccountant
from sklearn.metrics import roc_auc_score

from deploy.demo.baselines import train_forests, train_mlp
from deploy.demo.compounds import Compounds
from deploy.demo.settings import DemoSettings, ForestSettings, MlpSettings
from deploy.demo.simulation import _clipped_gradient, _records, simulate_private
from deploy.demo.task import batch_loss, build_model, judge, mean_roc_auc, roc_auc, training_tensors
from tests.demo.test_data import compounds


def learnable(count: int, seed: int) -> Compounds:
    """Compounds whose activity is one of their bits, a different one for each task."""
    some = compounds(count, tasks=2, seed=seed)
    return Compounds(some.packed, some.fingerprints()[:, [2, 5]] * some.measured, some.measured)


def test_roc_auc_agrees_with_scikit_learn_ties_included() -> None:
    rng = np.random.default_rng(1)
    for _ in range(20):
        scores = rng.integers(0, 6, 60).astype(np.float64)
        active = rng.random(60) < 0.4
        assert roc_auc(scores, active) == pytest.approx(roc_auc_score(active, scores), abs=1e-12)


def test_only_tasks_with_ten_of_each_class_count() -> None:
    some = learnable(200, seed=3)
    measured = some.measured.copy()
    measured[15:, 1] = False  # at most fifteen labels: never ten of each
    few = Compounds(some.packed, some.labels * measured, measured)
    scores = np.column_stack([few.labels[:, 0], 1.0 - few.labels[:, 1]]).astype(np.float64)
    assert mean_roc_auc(scores, few) == 1.0


def test_the_loss_is_one_value_a_record_and_ignores_what_was_not_measured() -> None:
    some = compounds(16)
    model = build_model(3)
    torch.nn.init.normal_(model.weight, generator=torch.Generator().manual_seed(1))
    features, targets = training_tensors(some)
    together = batch_loss(model, (features, targets))
    apart = torch.cat([batch_loss(model, (features[i : i + 1], targets[i : i + 1])) for i in range(16)])
    assert together.shape == (16,)
    assert torch.allclose(together, apart, atol=1e-6)
    assert float(batch_loss(model, (features, torch.full_like(targets, -1.0))).detach().abs().max()) == 0.0


def test_the_closed_form_is_the_sum_of_clipped_record_gradients() -> None:
    some = compounds(12)
    model = build_model(3)
    torch.nn.init.normal_(model.weight, generator=torch.Generator().manual_seed(2))
    features, targets = training_tensors(some)
    expected = torch.zeros(3, 2048, dtype=torch.float64)
    for i in range(12):
        (gradient,) = torch.autograd.grad(
            batch_loss(model, (features[i : i + 1], targets[i : i + 1])).sum(), model.weight
        )
        expected += gradient.double() * min(1.0, 0.25 / float(gradient.double().norm()))
    weights = model.weight.detach().double().numpy()
    came = _clipped_gradient(weights, _records(some), np.arange(12), 0.25)
    assert np.allclose(came, expected.numpy(), atol=1e-5)


def test_the_noise_multiplier_keeps_the_promise_and_wastes_little() -> None:
    settings = DemoSettings()

    def epsilon(noise_multiplier: float) -> float:
        accountant = PLDAccountant(NeighboringRelation.ADD_OR_REMOVE_ONE, value_discretization_interval=1e-3)
        event = PoissonSampledDpEvent(settings.sampling_rate, GaussianDpEvent(noise_multiplier))
        accountant.compose(SelfComposedDpEvent(event, settings.rounds))
        return float(accountant.get_epsilon(settings.delta * (1 - 2**-10)))

    assert epsilon(settings.noise_multiplier) <= settings.epsilon_in_sum
    assert epsilon(settings.noise_multiplier - 0.003) > settings.epsilon_in_sum


def test_every_method_learns_what_can_be_learned() -> None:
    train, test = learnable(1500, seed=4), learnable(300, seed=5)
    settings = replace(
        DemoSettings(), rounds=30, noise_multiplier=0.5, denominator=750.0, learning_rate=100.0, sampling_rate=0.5
    )
    for predictor in (
        train_forests(train, ForestSettings(trees=30, max_features="sqrt", min_samples_leaf=2)),
        train_mlp(train, MlpSettings(epochs=10, learning_rate=3e-3)),
        simulate_private((train,), settings, seed=1),
    ):
        assert judge(predictor, (test,)).own[0] > 0.8, type(predictor).__name__
