"""The envelope's two kernels against python integers, at the edges of their words."""

from __future__ import annotations

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from privacy.he.envelope import mask_messages, unmask_sum
from privacy.he.parameters import DEFAULT

Q, DELTA = DEFAULT.modulus, DEFAULT.delta

COEFFICIENT = st.one_of(st.integers(0, Q - 1), st.sampled_from([0, 1, Q - 1]))
MESSAGE = st.one_of(st.integers(0, 2**48 - 1), st.sampled_from([0, 1, 2**48 - 1]))


@given(st.lists(st.tuples(COEFFICIENT, st.integers(-76, 76), MESSAGE), min_size=1, max_size=30))
@example([(Q - 1, -76, 0), (0, 76, 2**48 - 1), (Q - 1, 76, 2**48 - 1), (0, -76, 0)])
def test_masking_equals_python_integers(rows: list[tuple[int, int, int]]) -> None:
    products, errors, messages = (list(column) for column in zip(*rows, strict=True))
    out = np.empty(len(rows), dtype=np.uint64)
    mask_messages(
        np.array(products, dtype=np.uint64),
        np.array(errors, dtype=np.int16),
        np.array(messages, dtype=np.uint64),
        out,
    )
    assert out.tolist() == [(DELTA * m + e - p) % Q for p, e, m in rows]


@given(
    st.lists(st.tuples(COEFFICIENT, st.integers(-2037, 2037), MESSAGE), min_size=1, max_size=30),
    st.integers(0, 2037),
)
@example([(Q - 1, -5, 0), (0, -2036, 0), (0, 2036, 2**48 - 1), (Q - 1, 5, 0)], 2036)
def test_unmasking_equals_python_integers(rows: list[tuple[int, int, int]], bound: int) -> None:
    """Messages come back up to the first error beyond the bound, which is named."""
    products = np.array([p for p, _, _ in rows], dtype=np.uint64)
    total = np.array([(DELTA * m + e - p) % Q for p, e, m in rows], dtype=np.uint64)
    out = np.empty(len(rows), dtype=np.uint64)
    beyond = [index for index, (_, e, _) in enumerate(rows) if abs(e) > bound]
    # Delta 2^48 = -1 mod q, so beside the wrap-around an error of a whole half delta belongs to the neighbour.
    if not any(m in (0, 2**48 - 1) and abs(e) == DELTA // 2 for _, e, m in rows):
        assert unmask_sum(products, total, bound, out) == (beyond[0] if beyond else -1)
        right = beyond[0] if beyond else len(rows)
        assert out[:right].tolist() == [m for _, _, m in rows[:right]]
