"""What is uploaded: exact sums under the noise, private heads with their own, steps at home, and noise alone."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
import pytest
from torch import Tensor, nn

from client_sdk.per_record import Batch, Records, hooked
from client_sdk.shared_parameters import (
    check_campaign_model,
    flatten,
    load,
    shapes,
    split_parameters,
)
from client_sdk.training import Streams, Training, check_trainable, contribution, statistics_contribution
from privacy.dp.discrete_gaussian import draw_noise
from privacy.dp.events import PrivacyEvent
from privacy.dp.privatise import RecordSum, poisson_sample
from privacy.errors import ConfigurationError, UnsupportedModel, WrongState
from privacy.protocol.messages import Campaign, UpdateRule
from privacy.randomness import Keystream
from tests.client_sdk.campaigns import DISTRIBUTED, campaign, mechanism, plan
from tests.client_sdk.models import linear, loss_fn, records, two_heads

RULE = UpdateRule(kind="sgd", learning_rate=1.0)
LOCAL = PrivacyEvent(kind="local", noise_multiplier=1.0, sampling_rate=0.5, steps=4)
NONE = PrivacyEvent(kind="none", noise_multiplier=0.0, sampling_rate=1.0, steps=2)
OFFSET = 1 << 20


def key(purpose: str) -> bytes:
    return hashlib.sha256(purpose.encode()).digest()


def streams(attempt: str = "") -> Streams:
    return Streams(*(Keystream(key(attempt + purpose)) for purpose in ("sample", "noise", "layers")))


def campaign_of(model: nn.Module, shared: str | None = None, denominator: float = 16.0) -> Campaign:
    split = split_parameters(model, shared)
    listed = tuple((shape.name, shape.shape) for shape in shapes(model, split.shared))
    return campaign(listed, RULE, clip=0.5, denominator=denominator)


def training_of(model: nn.Module, count: int, shared: str | None = None) -> Training:
    return Training(model, split_parameters(model, shared), loss_fn, Records(records(count)), home_rate=0.5)


def test_a_distributed_upload_is_the_exact_sum_plus_the_stream_of_noise() -> None:
    model = linear()
    of, training = campaign_of(model), training_of(model, 50)
    under = plan(of)
    fixed = mechanism(of, under)
    assert fixed is not None
    made = contribution(training, of, under, fixed, OFFSET, streams())
    record_sum = RecordSum(fixed)
    members = poisson_sample(50, DISTRIBUTED.sampling_rate, Keystream(key("sample")))
    with hooked(model, training.split, loss_fn, seed=1) as per_record:
        for block in per_record.blocks(training.records, members):
            record_sum.add_records(block.shared)
    noised = np.zeros(fixed.length, dtype=np.int64)
    noised[: fixed.dimension] = record_sum.shared
    noised += draw_noise(fixed.length, Keystream(key("noise")))
    assert np.array_equal(made.values, (noised + (1 << fixed.shift >> 1)) >> fixed.shift)
    assert made.private_gradient is None


def test_an_empty_batch_is_noise_and_needs_neither_loss_nor_a_usable_model() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4, affine=False))
    of = campaign_of(model)
    under = plan(of)
    fixed = mechanism(of, under)
    assert fixed is not None
    nobody = Training(model, split_parameters(model, None), None, Records(None))
    made = contribution(nobody, of, under, fixed, OFFSET, streams())
    alone = (draw_noise(fixed.length, Keystream(key("noise"))) + (1 << fixed.shift >> 1)) >> fixed.shift
    assert np.array_equal(made.values, alone)


def test_private_heads_get_the_whole_noise() -> None:
    """Standard deviation z C over 300 empty batches of 15 numbers: within 5 % (4.7 standard errors)."""
    model = two_heads()
    of = campaign_of(model, "trunk")
    under = plan(of)
    nobody = Training(model, split_parameters(model, "trunk"), None, Records(None))
    drawn = []
    for number in range(300):
        made = contribution(nobody, of, under, mechanism(of, under), OFFSET, streams(str(number)))
        assert made.private_gradient is not None
        drawn.append(made.private_gradient)
    whole = under.event.noise_multiplier * of.clip
    assert np.std(drawn) == pytest.approx(whole, rel=0.05)


def test_one_clip_covers_shared_and_private_gradients() -> None:
    model = two_heads()
    of, training = campaign_of(model, "trunk"), training_of(model, 1, "trunk")
    everyone = PrivacyEvent(kind="distributed", noise_multiplier=2.0, sampling_rate=1.0, steps=1)
    under = plan(of, event=everyone)
    fixed = mechanism(of, under)
    assert fixed is not None
    whole = replace(fixed, private_dimension=training.private_dimension)
    record_sum = RecordSum(whole)
    with hooked(model, training.split, loss_fn, seed=1) as per_record:
        for block in per_record.blocks(training.records, np.zeros(1, dtype=np.int64)):
            record_sum.add_records(block.shared, block.private)
    both = np.concatenate([record_sum.shared, record_sum.private])
    assert record_sum.clipped == 1
    assert np.abs(record_sum.private).max() > 0
    assert 0.99 * whole.fine_clip < np.linalg.norm(both) <= whole.fine_clip


def test_steps_at_home_are_noised_descent_and_leave_the_model_alone() -> None:
    model = linear()
    of, training = campaign_of(model), training_of(model, 40)
    under = plan(of, event=LOCAL, scale=1000.0)
    before = flatten(model, training.split.shared)
    made = contribution(training, of, under, None, OFFSET, streams())
    assert np.array_equal(before, flatten(model, training.split.shared))
    assert made.values.shape == (under.layout.length,)
    # 4 steps of noise z C rate / denominator = 1 x 0.5 x 0.5 / 16 each: 31 units over 21 numbers, far from 0.
    assert 10 < np.std(made.values) < 200
    again = contribution(training, of, under, None, OFFSET, streams())
    other = contribution(training, of, under, None, OFFSET, streams("other"))
    assert np.array_equal(made.values, again.values)
    assert not np.array_equal(made.values, other.values)


def test_an_unprotected_step_is_plain_gradient_descent() -> None:
    model = linear()
    of, training = campaign_of(model, denominator=30.0), training_of(model, 30)
    under = plan(of, event=NONE, scale=1e5)
    made = contribution(training, of, under, None, OFFSET, streams())
    values = start = flatten(model, training.split.shared)
    for _ in range(NONE.steps):
        load(model, training.split.shared, values)
        model.zero_grad()
        loss_fn(model, records(30)).sum().backward()  # type: ignore[no-untyped-call]
        gradient = np.concatenate(
            [p.grad.double().reshape(-1).numpy() for p in model.parameters() if p.grad is not None]
        )
        values = values - 0.5 * gradient / 30.0
    np.testing.assert_allclose(made.values / 1e5, values - start, atol=2e-5)


def test_private_values_of_steps_at_home_stay_home() -> None:
    model = two_heads()
    of, training = campaign_of(model, "trunk"), training_of(model, 40, "trunk")
    under = plan(of, event=LOCAL, scale=1000.0)
    made = contribution(training, of, under, None, OFFSET, streams())
    assert made.private_values is not None
    assert made.private_values.shape == (training.private_dimension,)
    assert made.values.shape == (of.length,)
    assert not np.allclose(made.private_values, flatten(model, training.split.private))


@pytest.mark.parametrize("event", [DISTRIBUTED, LOCAL], ids=lambda event: event.kind)
def test_what_mixes_records_is_refused_before_the_first_join(event: PrivacyEvent) -> None:
    def mixing(model: nn.Module, batch: Batch) -> Tensor:
        inputs, targets = batch
        return loss_fn(model, (inputs - inputs.mean(dim=0), targets))

    model = linear()
    of = campaign_of(model)
    under = plan(of, event=event, scale=1.0)
    good = training_of(model, 40)
    check_trainable(good, of, under, mechanism(of, under))
    with pytest.raises(UnsupportedModel, match="place or company"):
        check_trainable(replace(good, loss_fn=mixing), of, under, mechanism(of, under))


def test_statistics_are_noised_sums_of_clipped_vectors() -> None:
    event = PrivacyEvent(kind="statistics", noise_multiplier=2.0, sampling_rate=1.0, steps=1)
    of = campaign((("x", (3,)),), RULE, clip=1.0)
    under = plan(of, event=event)
    fixed = mechanism(of, under)
    assert fixed is not None
    vectors = np.tile(np.array([10.0, 0.0, 0.0], dtype=np.float32), (300, 1))
    made = statistics_contribution([vectors], fixed, streams())
    # 300 records clipped to 1 along the first axis; the noise there is z C / sqrt(h) = 1.4.
    assert made.values[0] * fixed.unit == pytest.approx(300.0, abs=10.0)
    assert abs(made.values[1] * fixed.unit) < 10.0
    model = linear()
    with pytest.raises(WrongState, match="contribute_statistics"):
        contribution(training_of(model, 4), of, under, fixed, OFFSET, streams())


def test_a_model_of_another_campaign_is_refused() -> None:
    model = two_heads()
    of = campaign_of(model, "trunk")
    check_campaign_model(model, split_parameters(model, "trunk"), of)
    with pytest.raises(ConfigurationError, match="2 shared parameters"):
        check_campaign_model(model, split_parameters(model, None), of)
    with pytest.raises(ConfigurationError, match=r"trunk.weight \[4, 6\]"):
        check_campaign_model(model, split_parameters(model, "head"), of)
    with pytest.raises(ConfigurationError, match="prefix 'body'"):
        split_parameters(model, ["trunk", "body"])
    with pytest.raises(ConfigurationError, match="at least one shared"):
        split_parameters(model, lambda name: False)
