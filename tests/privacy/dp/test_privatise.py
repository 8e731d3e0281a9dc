"""The mechanism: sensitivity, exactness, the kernels against plain integers, and what is refused."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from privacy.dp.discrete_gaussian import BLOCK, draw_noise
from privacy.dp.mechanism import PROBES, MechanismPlan, fine_clip
from privacy.dp.privatise import (
    RecordSum,
    _add_rounded,
    _add_square_norms,
    dequantise_sum,
    private_mean,
    privatise,
    quantise_update,
    to_mean,
)
from privacy.errors import UnsafeParameters
from privacy.randomness import Keystream

SEED = bytes(range(32))
any_float32 = st.floats(width=32, allow_nan=True, allow_infinity=True)


def plan_for(dimension: int, **fields: object) -> MechanismPlan:
    usual: dict[str, object] = {
        "clip": 1.5,
        "noise_multiplier": 1.1,
        "honest": 4,
        "dimension": dimension,
        "shift": 15,
        "lane_offset": 341,
    }
    return MechanismPlan(**{**usual, **fields})  # type: ignore[arg-type]


def plain_square_norm(row: np.ndarray) -> float:
    partial = [0.0] * 8
    for j, value in enumerate(row):
        partial[j % 8] += float(value) * float(value)
    low = (partial[0] + partial[1]) + (partial[2] + partial[3])
    return low + ((partial[4] + partial[5]) + (partial[6] + partial[7]))


def plain_contribution(tensors: list[np.ndarray], plan: MechanismPlan) -> list[int]:
    """One record's integers, with Python's floats (binary64) and unbounded integers."""
    square = sum((plain_square_norm(tensor) for tensor in tensors), 0.0)
    values = [float(value) for tensor in tensors for value in tensor]
    if not math.isfinite(square):
        return [0] * len(values)
    scale = plan.fine_clip / plan.clip
    if math.sqrt(square) * scale > plan.clip_target:
        scale = plan.clip_target / math.sqrt(square)
    rounded = [round(value * scale) for value in values]
    return rounded if sum(v * v for v in rounded) <= plan.fine_clip**2 else [0] * len(values)


rows = st.integers(1, 21).flatmap(
    lambda d: hnp.arrays(np.float32, st.tuples(st.integers(0, 4), st.just(d)), elements=any_float32)
)
noise_levels = st.sampled_from([0.02, 0.5, 1.1, 7.0, 300.0, 1e4, 5e4])


@given(rows, noise_levels, st.floats(1e-6, 1e6))
def test_no_record_moves_the_sum_further_than_the_fine_clip(block: np.ndarray, z: float, clip: float) -> None:
    """Neighbours differ by one record: whatever it holds, in any place, the sum differs by norm <= C_fine."""
    plan = plan_for(block.shape[1], noise_multiplier=z, clip=clip)
    whole = RecordSum(plan)
    whole.add_records([block])
    for left_out in range(block.shape[0]):
        neighbour = RecordSum(plan)
        neighbour.add_records([np.delete(block, left_out, axis=0)])
        difference = [int(a) - int(b) for a, b in zip(whole.shared, neighbour.shared, strict=True)]
        assert sum(v * v for v in difference) <= plan.fine_clip**2
        assert difference == plain_contribution([block[left_out]], plan)


@given(rows)
def test_kernels_equal_plain_python(block: np.ndarray) -> None:
    records = block.shape[0]
    norms = np.zeros(records)
    _add_square_norms(block, norms)
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(norms, [plain_square_norm(row) for row in block])
    tame = np.nan_to_num(block, nan=0.0, posinf=9.0, neginf=-9.0).clip(-1e4, 1e4).astype(np.float32)
    sums, squares = np.ones(block.shape[1] + 2), np.zeros(records)
    scales = np.where(np.arange(records) % 3 == 1, 0.0, 37.25)
    _add_rounded(tame, scales, -1.0, sums, 1, squares)
    rounded = [[round(float(v) * scale) for v in row] for row, scale in zip(tame, scales, strict=True)]
    assert squares.tolist() == [sum(v * v for v in row) for row in rounded]
    columns = [sum(row[j] for row in rounded) for j in range(block.shape[1])]
    assert sums.tolist() == [1.0, *(1.0 - v for v in columns), 1.0]


def test_sums_of_many_records_are_exact_and_blocks_do_not_matter() -> None:
    plan = plan_for(40)
    gradients = np.random.default_rng(3).standard_normal((150, 40)).astype(np.float32) * 0.4
    gradients[::7] *= 100
    expected = np.zeros(40, dtype=object)
    for row in gradients:
        expected = expected + np.array(plain_contribution([row[:24], row[24:]], plan), dtype=object)
    together, pieces = RecordSum(plan), RecordSum(plan)
    together.add_records([gradients[:, :24].reshape(150, 4, 6), gradients[:, 24:]])
    for start in range(0, 150, 16):
        block = gradients[start : start + 16]
        pieces.add_records([block[:, :24].reshape(-1, 4, 6), block[:, 24:]])
    assert together.shared.tolist() == expected.tolist() == pieces.shared.tolist()
    assert together.records == pieces.records == 150
    assert together.clipped >= 150 // 7
    assert together.zeroed == 0


@pytest.mark.parametrize("poison", [math.nan, math.inf, -math.inf])
def test_a_record_that_is_not_finite_counts_as_zero(poison: float) -> None:
    plan = plan_for(10, private_dimension=2)
    gradients = np.full((3, 10), 0.1, dtype=np.float32)
    heads = np.full((3, 2), 0.1, dtype=np.float32)
    clean, poisoned, poisoned_head = RecordSum(plan), RecordSum(plan), RecordSum(plan)
    clean.add_records([gradients[:2]], [heads[:2]])
    spoiled = gradients.copy()
    spoiled[1, 9] = poison
    poisoned.add_records([spoiled], [heads])
    spoiled_heads = heads.copy()
    spoiled_heads[0, 1] = poison
    poisoned_head.add_records([gradients], [spoiled_heads])
    assert poisoned.zeroed == poisoned_head.zeroed == 1
    for other in (poisoned, poisoned_head):
        assert other.shared.tolist() == clean.shared.tolist()
        assert other.private.tolist() == clean.private.tolist()


def test_a_record_that_rounds_beyond_the_clip_counts_as_zero() -> None:
    """C_fine 2, five values just above one half: within the clip's norm, but their roundings are not."""
    plan = plan_for(5, noise_multiplier=float(2**17), honest=1, clip=2.0)
    assert plan.fine_clip == 2
    sums = RecordSum(plan)
    sums.add_records([np.full((1, 5), 0.51, dtype=np.float32)])
    assert sums.zeroed == 1
    assert sums.shared.tolist() == [0] * 5
    sums.add_records([np.array([[0.51, 0.51, 0.51, 0.51, 0]], dtype=np.float32)])
    assert sums.shared.tolist() == [1, 1, 1, 1, 0]


def test_one_clip_spans_shared_and_private_parts() -> None:
    plan = plan_for(3, private_dimension=4)
    sums = RecordSum(plan)
    sums.add_records([np.full((1, 3), 1e6, dtype=np.float32)], [np.full((1, 4), 1e6, dtype=np.float32)])
    joint = sums.shared.astype(object) @ sums.shared + sums.private.astype(object) @ sums.private
    assert joint <= plan.fine_clip**2
    assert joint > (0.998 * plan.fine_clip) ** 2
    assert len(set(sums.shared) | set(sums.private)) == 1


@given(st.binary(min_size=32, max_size=32), st.integers(0, 16), st.integers(1, 5))
def test_privatise_equals_plain_integers(seed: bytes, shift: int, honest: int) -> None:
    offset = 42 << (18 - shift)
    plan = plan_for(6, shift=shift, lane_offset=offset, honest=honest, private_dimension=2, probes=10)
    sums = RecordSum(plan)
    gradients = np.linspace(-5, 5, 8, dtype=np.float32).reshape(1, 8)
    for _ in range(60):
        sums.add_records([gradients[:, :6]], [gradients[:, 6:]])
    update = privatise(sums, Keystream(seed))
    stream = Keystream(seed)
    noise = [int(v) for v in draw_noise(16, stream)]
    limit = plan.bound << shift
    for i, value in enumerate(update.values):
        x = int(sums.shared[i]) if i < 6 else 0
        y = max(-limit, min(limit, x)) + noise[i]
        exact = math.floor((y + 2**shift / 2) / 2**shift) if shift else y
        assert int(value) == max(-offset, min(offset, exact))
    heads = sums.private.copy()
    for _ in range(honest):
        heads += draw_noise(2, stream)
    assert update.private.tolist() == (heads.astype(np.float64) * (plan.clip / plan.fine_clip)).tolist()


def test_an_empty_batch_is_pure_noise_over_every_block() -> None:
    plan = plan_for(BLOCK + 5)
    update = privatise(RecordSum(plan), Keystream(SEED))
    noise = draw_noise(plan.length, Keystream(SEED))
    assert update.values.dtype == np.int32
    assert update.values.tolist() == ((noise + (1 << 14)) >> 15).clip(-341, 341).tolist()
    assert update.private.size == 0
    assert plan.length == BLOCK + 5 + PROBES


def test_the_mean_comes_back_in_the_gradients_units() -> None:
    plan = plan_for(4, shift=13, lane_offset=40_000, probes=0)
    gradient = np.array([[0.3, -0.2, 0.5, 0.0]], dtype=np.float32)
    total = np.zeros(4, dtype=np.int64)
    for participant in range(3):
        sums = RecordSum(plan)
        for _ in range(50):
            sums.add_records([gradient])
        total += privatise(sums, Keystream(bytes([participant]) * 32)).values
    mean = to_mean(total, plan, 150.0)
    deviation = plan.unit * plan.sigma_units * math.sqrt(3) / 150
    assert mean == pytest.approx(gradient[0], abs=5 * deviation)
    heads = privatise(RecordSum(plan_for(1, private_dimension=3)), Keystream(SEED))
    assert private_mean(heads.private, 2.0).tolist() == (heads.private / 2.0).tolist()


def test_quantised_updates_are_clamped_and_come_back() -> None:
    update = np.array([0.5, -0.26, 1e9, -math.inf, math.inf, math.nan, 0.25])
    values = quantise_update(update, scale=10.0, bound=100)
    assert values.dtype == np.int32
    assert values.tolist() == [5, -3, 100, -100, 100, 0, 2]
    assert dequantise_sum(np.array([30, -6]), 10.0, 2).tolist() == pytest.approx([1.5, -0.3])


def test_gradients_of_another_shape_or_dtype_are_refused() -> None:
    sums = RecordSum(plan_for(4))
    for wrong in ([np.zeros((2, 5), np.float32)], [np.zeros((2, 2), np.float32)], []):
        with pytest.raises(ValueError, match="widths"):
            sums.add_records(wrong)
    with pytest.raises(ValueError, match="records"):
        sums.add_records([np.zeros((2, 2), np.float32), np.zeros((3, 2), np.float32)])
    with pytest.raises(ValueError, match="float64"):
        sums.add_records([np.zeros((2, 4))])
    sums.add_records([np.zeros((0, 4), np.float32)])
    assert sums.records == 0


@pytest.mark.parametrize(
    "fields",
    [
        {"clip": 0.0},
        {"clip": math.inf},
        {"clip": 1e-304},
        {"clip": 1e308, "noise_multiplier": 1e4},
        {"noise_multiplier": 0.0},
        {"noise_multiplier": math.nan},
        {"noise_multiplier": 1e-3},
        {"honest": 0},
        {"shift": 17},
        {"shift": -1},
        {"shift": 14},
        {"lane_offset": 335},
        {"dimension": -1},
        {"noise_multiplier": 1e5, "dimension": 400},
    ],
)
def test_unsafe_plans_are_refused(fields: dict[str, object]) -> None:
    with pytest.raises(UnsafeParameters):
        dataclasses.replace(plan_for(4), **fields)  # type: ignore[arg-type]


@given(st.floats(0.01, 1e4), st.integers(1, 999))
def test_the_fine_clip_is_the_floor(z: float, honest: int) -> None:
    """No larger than the clip at which the noise multiplier would fall below z: exactly, in rationals."""
    numerator, denominator = z.as_integer_ratio()
    limit = honest * 2**36 * denominator**2
    found = fine_clip(z, honest)
    assert found**2 * numerator**2 <= limit < (found + 1) ** 2 * numerator**2
