"""Per-record gradients: equal to one record at a time by plain autograd, independent of company, or refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset, TensorDataset

from client_sdk.per_record import Batch, Records, check_independence, check_supported, hooked
from client_sdk.shared_parameters import split_parameters
from privacy.dp.mechanism import MechanismPlan
from privacy.dp.privatise import RecordSum
from privacy.errors import ConfigurationError, UnsupportedModel
from tests.client_sdk.models import FEATURES, TASKS, linear, loss_fn, records, two_heads


def mechanism(shared: int, private: int = 0, clip: float = 0.5) -> MechanismPlan:
    return MechanismPlan(
        clip=clip,
        noise_multiplier=2.0,
        honest=2,
        dimension=shared,
        private_dimension=private,
        shift=6,
        lane_offset=1 << 22,
        probes=8,
    )


def brute_force(model: nn.Module, data: tuple[Tensor, ...], members: list[int], plan: MechanismPlan) -> list[int]:
    """The sum of clipped, rounded gradients, one record at a time, in Python's own integers."""
    total = [0] * (plan.dimension + plan.private_dimension)
    for index in members:
        losses = loss_fn(model, tuple(tensor[index : index + 1] for tensor in data))
        found = torch.autograd.grad(losses.sum(), list(model.parameters()))
        row = torch.cat([part.reshape(-1) for part in found]).double().numpy()
        norm = float(np.linalg.norm(row))
        scale = plan.fine_clip / plan.clip
        scale = plan.clip_target / norm if norm * scale > plan.clip_target else scale
        total = [held + round(float(value) * scale) for held, value in zip(total, row, strict=True)]
    return total


def test_record_sums_equal_plain_autograd() -> None:
    model, data = two_heads(), records(90)
    split = split_parameters(model, "trunk")
    sizes = [sum(dict(model.named_parameters())[n].numel() for n in part) for part in (split.shared, split.private)]
    plan = mechanism(*sizes)
    members = np.array([3, 4, 17, *range(20, 89)], dtype=np.int64)  # two blocks, the second padded
    record_sum = RecordSum(plan)
    with hooked(model, split, loss_fn, seed=0) as per_record:
        for block in per_record.blocks(Records(data), members):
            record_sum.add_records(block.shared, block.private)
    found = np.concatenate([record_sum.shared, record_sum.private])
    expected = np.array(brute_force(model, data, list(members), plan))
    assert record_sum.records == members.size
    # float32 gradients of a block and of a single record may differ in the last bit: 2^-22 of C_fine a record.
    assert int(np.abs(found - expected).max()) <= members.size


def test_the_model_is_left_as_it_was() -> None:
    model, data = linear(), records(20)
    model.eval()
    gradient = torch.ones_like(model.weight)
    model.weight.grad = gradient
    before = torch.random.get_rng_state()
    with hooked(model, split_parameters(model, None), loss_fn, seed=0) as per_record:
        list(per_record.blocks(Records(data), np.arange(20)))
    assert not model.training
    assert model.weight.grad is gradient
    assert model.bias.grad is None
    assert not hasattr(model.weight, "grad_sample")
    assert not hasattr(model, "autograd_grad_sample_hooks")
    assert not model._forward_hooks
    assert torch.equal(before, torch.random.get_rng_state())


def test_a_record_with_nan_counts_as_zero_and_leaves_others_alone() -> None:
    model, (inputs, targets) = linear(), records(10)
    split, plan = split_parameters(model, None), mechanism(FEATURES * TASKS + TASKS)
    sums = []
    for spoilt in (False, True):
        given = inputs.clone()
        if spoilt:
            given[4] = float("nan")
        record_sum = RecordSum(plan)
        members = np.arange(10) if spoilt else np.delete(np.arange(10), 4)
        with hooked(model, split, loss_fn, seed=0) as per_record:
            for block in per_record.blocks(Records((given, targets)), members):
                record_sum.add_records(block.shared)
        sums.append(record_sum)
    assert np.array_equal(sums[0].shared, sums[1].shared)
    assert sums[1].zeroed == 1


def test_independence_is_found() -> None:
    model, data = linear(), records(40)
    with hooked(model, split_parameters(model, None), loss_fn, seed=0) as per_record:
        check_independence(per_record, Records(data), mechanism(FEATURES * TASKS + TASKS))


def test_a_loss_that_mixes_records_is_refused() -> None:
    def mixing(model: nn.Module, batch: Batch) -> Tensor:
        return loss_fn(model, batch) * batch[0].mean()

    model, data = linear(), records(40)
    with hooked(model, split_parameters(model, None), mixing, seed=0) as per_record:
        with pytest.raises(UnsupportedModel, match="place or company"):
            check_independence(per_record, Records(data), mechanism(FEATURES * TASKS + TASKS))


def test_dropout_is_no_mixing_and_draws_from_the_seed() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(FEATURES, 8), nn.Dropout(0.5), nn.Linear(8, TASKS))
    split, data = split_parameters(model, None), records(40)
    plan = mechanism(sum(p.numel() for p in model.parameters()))
    sums = []
    for seed in (5, 5, 6):
        with hooked(model, split, loss_fn, seed=seed) as per_record:
            check_independence(per_record, Records(data), plan)
        with hooked(model, split, loss_fn, seed=seed) as per_record:
            sums.append(next(per_record.blocks(Records(data), np.arange(40))).shared[0])
    assert np.array_equal(sums[0], sums[1])
    assert not np.array_equal(sums[0], sums[2])


def test_a_loss_that_is_not_one_value_a_record_is_refused() -> None:
    def mean_loss(model: nn.Module, batch: Batch) -> Tensor:
        return loss_fn(model, batch).mean()

    model, data = linear(), records(4)
    with hooked(model, split_parameters(model, None), mean_loss, seed=0) as per_record:
        with pytest.raises(UnsupportedModel, match=r"shape \[64\]"):
            list(per_record.blocks(Records(data), np.arange(4)))


class Scaled(nn.Module):
    """A layer with a parameter of its own and a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(FEATURES))
        self.register_buffer("running", torch.zeros(FEATURES))


@pytest.mark.parametrize(
    ("layer", "named"),
    [
        (nn.BatchNorm1d(FEATURES), r"layer 1 \(BatchNorm1d\)"),
        (nn.SyncBatchNorm(FEATURES), r"layer 1 \(SyncBatchNorm\)"),
        (nn.InstanceNorm1d(FEATURES, track_running_stats=True, affine=True), r"layer 1 \(InstanceNorm1d\)"),
        (nn.LSTM(FEATURES, 2), r"layer 1 \(LSTM\)"),
        (Scaled(), r"layer 1 \(Scaled\): buffers"),
    ],
)
def test_what_opacus_cannot_clip_is_refused_by_name(layer: nn.Module, named: str) -> None:
    with pytest.raises(UnsupportedModel, match=named):
        check_supported(nn.Sequential(nn.Linear(FEATURES, FEATURES), layer))


def test_a_model_without_trainable_parameters_is_refused() -> None:
    model = linear().requires_grad_(False)
    with pytest.raises(UnsupportedModel, match="trainable"):
        check_supported(model)


def test_block_size_is_a_multiple_of_16() -> None:
    model = linear()
    with pytest.raises(ConfigurationError, match="multiple of 16"):
        with hooked(model, split_parameters(model, None), loss_fn, seed=0, block=5):
            pass


class Listed(Dataset[tuple[Tensor, Tensor]]):
    def __init__(self, data: tuple[Tensor, Tensor]) -> None:
        self._data = data

    def __len__(self) -> int:
        return len(self._data[0])

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self._data[0][index], self._data[1][index]


def test_records_come_from_tensors_or_a_dataset() -> None:
    data = records(12)
    indices = np.array([0, 5, 11, 11])
    for train_set in (data, list(data), TensorDataset(*data), Listed(data)):
        found = Records(train_set)
        assert len(found) == 12
        for ours, theirs in zip(found.gather(indices), data, strict=True):
            assert torch.equal(ours, theirs[indices])
    assert len(Records(None)) == 0
    assert torch.equal(Records(data[0]).gather(indices)[0], data[0][indices])
    with pytest.raises(ConfigurationError, match="one length"):
        Records((data[0], data[1][:3]))
