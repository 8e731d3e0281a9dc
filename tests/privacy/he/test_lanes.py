"""Lanes against python integers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from privacy.errors import OutOfRange, UnsafeParameters
from privacy.he.lanes import WIDTHS, LaneLayout
from privacy.he.parameters import DEFAULT


def plain_pack(values: list[int], layout: LaneLayout) -> list[int]:
    out = [0] * (layout.polynomials(len(values)) * DEFAULT.degree)
    for index, value in enumerate(values):
        assert abs(value) <= layout.offset
        out[index // layout.lanes] += (value + layout.offset) << (layout.width * (index % layout.lanes))
    return out


LAYOUTS = st.builds(LaneLayout, st.sampled_from(WIDTHS), st.integers(1, 1000))


@settings(max_examples=60)
@given(LAYOUTS, st.data(), st.sampled_from([np.int32, np.int64]))
def test_packing_equals_python_integers_and_unpacks(layout: LaneLayout, data: st.DataObject, dtype: type) -> None:
    o = layout.offset
    value = st.one_of(st.integers(-o, o), st.sampled_from([-o, 0, o]))
    values = data.draw(st.lists(value, max_size=50))
    packed = layout.pack(np.array(values, dtype=dtype))
    assert packed.tolist() == plain_pack(values, layout)
    assert layout.unpack(packed, 1, len(values)).tolist() == values


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("extra", [-1, 0, 1])
def test_the_edge_of_a_polynomial(width: int, extra: int) -> None:
    layout = LaneLayout(width, 10)
    length = layout.values_per_polynomial + extra
    values = np.random.default_rng(width).integers(-layout.offset, layout.offset + 1, length)
    assert layout.polynomials(length) == (2 if extra == 1 else 1)
    assert layout.pack(values).tolist() == plain_pack(values.tolist(), layout)
    assert np.array_equal(layout.unpack(layout.pack(values), 1, length), values)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("n", [1, 2, 3, 64, 1000])
def test_extremes_of_n_honest_values_never_carry(width: int, n: int) -> None:
    layout = LaneLayout(width, n)
    for sign in (-1, 1):
        values = np.full(100, sign * layout.offset, dtype=np.int64)
        summed = layout.pack(values) * np.uint64(n)
        assert int(summed.max()) < 2**48
        assert np.array_equal(layout.unpack(summed, n, 100), n * values)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("index", [0, 1, 2, 4097, 30_000])
def test_a_value_outside_is_named(width: int, index: int) -> None:
    layout = LaneLayout(width, 5)
    for value in (layout.offset + 1, -layout.offset - 1, 2**63 - 1, -(2**63), 2**63 - layout.offset):
        values = np.zeros(30_001, dtype=np.int64)
        values[index] = value
        with pytest.raises(OutOfRange, match=f"at index {index};"):
            layout.pack(values)


def test_other_dtypes_and_shapes_are_refused() -> None:
    layout = LaneLayout(12, 5)
    for values in (np.zeros(4), np.zeros(4, dtype=np.uint8), np.zeros((2, 2), dtype=np.int64)):
        with pytest.raises(OutOfRange):
            layout.pack(values)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("n", [2, 7])
def test_a_lane_one_above_its_range_is_refused_and_named(width: int, n: int) -> None:
    layout = LaneLayout(width, 7)
    length = layout.values_per_polynomial + layout.lanes + 1
    packed = layout.pack(np.zeros(length, dtype=np.int64)) * np.uint64(n)
    top = 2 * layout.offset * n
    if top + 1 < 2**width:
        for index in (0, 1, length - 1):
            wrong = packed.copy()
            at, lane = divmod(index, layout.lanes)
            wrong[at] += np.uint64(top + 1 - layout.offset * n) << np.uint64(lane * width)
            with pytest.raises(OutOfRange, match=f"polynomial {3 + at // 4096}, coefficient {at % 4096};"):
                layout.unpack(wrong, n, length, first_polynomial=3)
    for at in (length // layout.lanes, packed.size - 1):  # padding
        wrong = packed.copy()
        wrong[at] |= np.uint64(1) << np.uint64(47)
        with pytest.raises(OutOfRange):
            layout.unpack(wrong, n, length)
    wrong = packed.copy()
    wrong[1] |= np.uint64(1) << np.uint64(48)
    with pytest.raises(OutOfRange):
        layout.unpack(wrong, n, length)


def test_unpacking_what_is_not_this_range_is_refused() -> None:
    layout = LaneLayout(16, 7)
    packed = layout.pack(np.zeros(10, dtype=np.int64))
    for contributors, length, words in ((0, 10, packed), (8, 10, packed), (1, 20_000, packed), (1, 10, packed[1:])):
        with pytest.raises(OutOfRange):
            layout.unpack(words, contributors, length)


def test_layouts_have_the_protocols_numbers() -> None:
    assert [LaneLayout(width, 10).lanes for width in WIDTHS] == [4, 3, 2]
    assert [round(LaneLayout(width, 10).bytes_per_value, 2) for width in WIDTHS] == [2.0, 2.67, 4.0]
    assert LaneLayout(12, 6).offset == 341
    for width, n_max in ((8, 5), (13, 5), (0, 5), (12, 0), (12, 1001)):
        with pytest.raises(UnsafeParameters):
            LaneLayout(width, n_max)
