"""What a partner computes for one round: the integers to upload, and what its private parameters become.

Rules (protocol 6.2, 6.3):
1. *distributed*: one Poisson batch, each record clipped over shared and private gradients together, noise
   z C / sqrt(h) on what is uploaded and z C in full on what stays.
2. *local*: `steps` Poisson batches at home, each with the noise z C in full on every coordinate, each a plain step
   theta - rate (noised sum / denominator); the change of the shared parameters is uploaded, quantised by the plan's
   public scale. *none*: the same without clip and noise, and without any claim.
3. Every constant here (rate, denominators, steps) is public; batch sizes, losses and times never leave.
4. No records means an empty batch: pure noise of the same law. That is what a partner uploads that cannot train.
5. Randomness comes in named streams: the sample, the noise, and the layers that draw. None is used twice.
The model is left as it was found, but for `local` steps on private parameters, which come back as values.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch import nn

from client_sdk.per_record import (
    BLOCK,
    LossFunction,
    PerRecord,
    RecordGradients,
    Records,
    check_independence,
    hooked,
)
from client_sdk.shared_parameters import ParameterSplit, flatten, load
from privacy.dp.mechanism import LARGEST_SHIFT, MechanismPlan
from privacy.dp.privatise import (
    PrivatisedUpdate,
    RecordSum,
    poisson_sample,
    privatise,
    quantise_update,
)
from privacy.errors import UnsafeParameters, WrongState
from privacy.protocol.messages import Campaign, Plan
from privacy.randomness import Keystream

Vector = NDArray[np.float64]
DEFAULT_HOME_RATE = 0.1


@dataclass(frozen=True)
class Streams:
    """Keystreams of one attempt, each hedged with R and J."""

    sample: Keystream
    noise: Keystream
    layers: Keystream

    def layer_seed(self) -> int:
        return int(self.layers.words(1)[0] >> np.uint64(1))


@dataclass(frozen=True)
class Contribution:
    """values: int32[layout.length], to upload.

    private_gradient: float64[private], the noised sum of the batch's private gradients (*distributed*), or None.
    private_values: float64[private], the private parameters after the steps at home (*local*, *none*), or None.
    """

    values: NDArray[np.int32]
    private_gradient: Vector | None = None
    private_values: Vector | None = None


@dataclass(frozen=True)
class Training:
    """A partner's model and how to train it.

    loss_fn: None only without records. home_rate: learning rate of steps at home, a public constant.
    """

    model: nn.Module
    split: ParameterSplit
    loss_fn: LossFunction | None
    records: Records
    block: int = BLOCK
    threads: int = 1
    home_rate: float = DEFAULT_HOME_RATE

    @property
    def private_dimension(self) -> int:
        found = dict(self.model.named_parameters())
        return sum(found[name].numel() for name in self.split.private)

    def hooked(self, seed: int) -> AbstractContextManager[PerRecord]:
        if self.loss_fn is None:
            raise WrongState("a loss function for records", "none", "pass loss_fn(model, batch)")
        return hooked(self.model, self.split, self.loss_fn, seed, self.block, self.threads)

    def gradients(self, members: NDArray[np.int64], streams: Streams) -> Iterator[RecordGradients]:
        """Blocks of per-record gradients; an empty batch does not touch the model."""
        if members.size:
            with self.hooked(streams.layer_seed()) as per_record:
                yield from per_record.blocks(self.records, members)


def check_trainable(training: Training, campaign: Campaign, plan: Plan, mechanism: MechanismPlan | None) -> None:
    """Before the first join: is this model clippable, are its records independent? Raises UnsupportedModel."""
    fixed = _whole(mechanism, training) if mechanism else _home_mechanism(training, campaign, plan)
    with training.hooked(seed=0) as per_record:
        if fixed is None:
            if len(training.records):
                next(per_record.blocks(training.records, np.zeros(1, dtype=np.int64)))
            return
        check_independence(per_record, training.records, fixed)


def contribution(
    training: Training,
    campaign: Campaign,
    plan: Plan,
    mechanism: MechanismPlan | None,
    lane_offset: int,
    streams: Streams,
) -> Contribution:
    """What this partner uploads for `plan`. mechanism: for *distributed*. lane_offset: o, for the other kinds."""
    if plan.kind != "training":
        raise WrongState("a training round", f"a {plan.kind} round", "call contribute_statistics for it")
    if plan.event.kind == "distributed":
        if mechanism is None:
            raise UnsafeParameters("the mechanism of a distributed plan", "none", "derive it from plan and charter")
        return _distributed(training, plan, _whole(mechanism, training), streams)
    return _at_home(training, campaign, plan, lane_offset, streams)


def statistics_contribution(
    blocks: Iterable[NDArray[np.float32]], mechanism: MechanismPlan, streams: Streams
) -> Contribution:
    """The noised sum of one vector a record, clipped like gradients; every record is in.

    blocks: float32[records, d] each, any number of them.
    """
    record_sum = RecordSum(mechanism)
    for block in blocks:
        record_sum.add_records([np.ascontiguousarray(block, dtype=np.float32)])
    return Contribution(privatise(record_sum, streams.noise).values)


def _distributed(training: Training, plan: Plan, mechanism: MechanismPlan, streams: Streams) -> Contribution:
    record_sum = RecordSum(mechanism)
    members = poisson_sample(len(training.records), plan.event.sampling_rate, streams.sample)
    for block in training.gradients(members, streams):
        record_sum.add_records(block.shared, block.private)
    update: PrivatisedUpdate = privatise(record_sum, streams.noise)
    return Contribution(update.values, private_gradient=update.private if training.split.private else None)


def _at_home(
    training: Training, campaign: Campaign, plan: Plan, lane_offset: int, streams: Streams
) -> Contribution:
    if plan.layout.scale is None:
        raise UnsafeParameters("a public scale in the plan", "none", "refuse this plan")
    model, split = training.model, training.split
    start = np.concatenate([flatten(model, split.shared), flatten(model, split.private)])
    shared = start.size - training.private_dimension
    mechanism = _home_mechanism(training, campaign, plan)
    values = start
    with _restored(training, start, shared):
        for _ in range(plan.event.steps):
            members = poisson_sample(len(training.records), plan.event.sampling_rate, streams.sample)
            batch = _NoisedSum(mechanism) if mechanism else _PlainSum(start.size)
            for block in training.gradients(members, streams):
                batch.add(block)
            gradient = batch.total(streams.noise) / campaign.denominator
            values = values - training.home_rate * gradient
            _load_both(training, values, shared)
    sent = np.zeros(plan.layout.length, dtype=np.int32)
    sent[:shared] = quantise_update(values[:shared] - start[:shared], plan.layout.scale, lane_offset)
    return Contribution(sent, private_values=values[shared:] if split.private else None)


class _BatchSum(Protocol):
    def add(self, block: RecordGradients) -> None: ...

    def total(self, noise: Keystream) -> Vector: ...


class _NoisedSum:
    """A clipped sum with the noise z C in full on every coordinate: all are 'private' of a mechanism with h = 1."""

    def __init__(self, mechanism: MechanismPlan) -> None:
        self._sum = RecordSum(mechanism)

    def add(self, block: RecordGradients) -> None:
        self._sum.add_records((), [*block.shared, *block.private])

    def total(self, noise: Keystream) -> Vector:
        return privatise(self._sum, noise).private


class _PlainSum:
    """The sum of a batch's gradients in float64 for events of kind *none*; a record with NaN counts as zero."""

    def __init__(self, dimension: int) -> None:
        self._sum = np.zeros(dimension)

    def add(self, block: RecordGradients) -> None:
        tensors = [*block.shared, *block.private]
        finite = np.logical_and.reduce([np.isfinite(tensor).all(axis=1) for tensor in tensors])
        start = 0
        for tensor in tensors:
            kept = tensor if finite.all() else tensor[finite]
            self._sum[start : start + tensor.shape[1]] += kept.sum(axis=0, dtype=np.float64)
            start += tensor.shape[1]

    def total(self, noise: Keystream) -> Vector:  # noqa: ARG002 - the plan's kind is none: there is no noise
        return self._sum


def _whole(mechanism: MechanismPlan, training: Training) -> MechanismPlan:
    """The plan's mechanism with this partner's private parameters under the same clip."""
    return replace(mechanism, private_dimension=training.private_dimension)


def _home_mechanism(training: Training, campaign: Campaign, plan: Plan) -> MechanismPlan | None:
    """One step at home: nothing of it is packed in lanes, so shift and lane are free; None for kind *none*."""
    if plan.event.kind == "none":
        return None
    return MechanismPlan(
        clip=campaign.clip,
        noise_multiplier=plan.event.noise_multiplier,
        honest=1,
        dimension=0,
        shift=LARGEST_SHIFT,
        lane_offset=1 << 20,
        probes=0,
        private_dimension=campaign.length + training.private_dimension,
    )


def _load_both(training: Training, values: Vector, shared: int) -> None:
    load(training.model, training.split.shared, values[:shared])
    load(training.model, training.split.private, values[shared:])


@contextmanager
def _restored(training: Training, start: Vector, shared: int) -> Iterator[None]:
    """Steps at home must not show in the model until the round is confirmed."""
    try:
        yield
    finally:
        _load_both(training, start, shared)
