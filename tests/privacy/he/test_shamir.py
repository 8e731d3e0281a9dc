"""Sharing and recovery against python integers; liars are corrected and named."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from privacy.errors import MalformedMessage, NotEnoughOpenings, OpeningFailed, OutOfRange
from privacy.he.envelope import OneTimeKey
from privacy.he.parameters import DEFAULT
from privacy.he.reed_solomon import PRIME, false_positions
from privacy.he.shamir import add_shares, combine, deal, evaluate, field_elements, lagrange_weights, recover
from privacy.randomness import Keystream

DEGREE = DEFAULT.degree
SECRET = OneTimeKey(b"k" * 32).s
ELEMENT = st.one_of(st.integers(0, PRIME - 1), st.sampled_from([0, 1, PRIME - 1]))


def stream(tag: int) -> Keystream:
    return Keystream(tag.to_bytes(32, "little"))


def spoil(shares: np.ndarray, rows: list[int], rng: np.random.Generator) -> np.ndarray:
    out = shares.copy()
    for row in rows:
        out[row] = (out[row] + rng.integers(1, PRIME, DEGREE)) % PRIME
    return out


@given(st.lists(st.lists(ELEMENT, min_size=3, max_size=3), min_size=1, max_size=6), st.lists(ELEMENT, max_size=6))
def test_evaluation_equals_python_integers(rows: list[list[int]], points: list[int]) -> None:
    out = np.empty((len(points), 3), dtype=np.uint32)
    evaluate(np.array(rows, dtype=np.uint64), np.array(points, dtype=np.uint64), out)
    expected = [[sum(r[i] * x**k for k, r in enumerate(rows)) % PRIME for i in range(3)] for x in points]
    assert out.tolist() == expected


@given(st.integers(1, 20).flatmap(lambda m: st.tuples(*[st.lists(ELEMENT, min_size=m, max_size=m)] * 4)))
def test_combination_equals_python_integers(columns: tuple[list[int], ...]) -> None:
    weights = np.array(columns[:2], dtype=np.uint64)
    rows = np.array(columns[2:], dtype=np.uint32).T.copy()
    out = np.empty((2, 2), dtype=np.uint64)
    combine(weights, rows, out)
    expected = [
        [sum(w * v for w, v in zip(ws, vs, strict=True)) % PRIME for vs in columns[2:]] for ws in columns[:2]
    ]
    assert out.tolist() == expected


def test_dealt_shares_are_the_polynomials_of_the_keystream() -> None:
    shares = deal(SECRET, 4, 3, stream(1))
    raw = stream(1).bytes(4 * 2 * DEGREE)
    drawn = [int.from_bytes(raw[i : i + 4], "little") % 2**31 for i in range(0, len(raw), 4)]
    drawn = [value for value in drawn if value != PRIME]
    for coefficient in (0, 1, 100, DEGREE - 1):
        polynomial = [int(SECRET[coefficient]), drawn[coefficient], drawn[DEGREE + coefficient]]
        expected = [sum(c * x**k for k, c in enumerate(polynomial)) % PRIME for x in (1, 2, 3, 4)]
        assert shares[:, coefficient].tolist() == expected


def test_field_elements_skip_p() -> None:
    class Given:
        def __init__(self) -> None:
            self._left = (
                (PRIME).to_bytes(4, "little") + (2**32 - 1).to_bytes(4, "little") + bytes(4) + b"\1\0\0\x80"
            )

        def bytes(self, count: int) -> bytes:
            out, self._left = self._left[:count], self._left[count:]
            return out

    assert field_elements(Given(), 2).tolist() == [0, 1]  # type: ignore[arg-type]


@pytest.mark.parametrize(("m", "t"), [(1, 1), (2, 2), (5, 4), (10, 6), (50, 26)])
def test_any_quorum_recovers_and_one_less_does_not(m: int, t: int) -> None:
    shares = deal(SECRET, m, t, stream(m))
    rng = np.random.default_rng(m)
    for _ in range(3):
        rows = np.sort(rng.permutation(m)[:t])
        found = recover([int(row) + 1 for row in rows], shares[rows], t, 77)
        assert np.array_equal(found.secret, SECRET)
        assert found.accused == ()
    with pytest.raises(NotEnoughOpenings):
        recover(list(range(1, t)), shares[: t - 1], t, 77)


def test_sums_of_shares_recover_the_sum_of_keys() -> None:
    keys = [OneTimeKey(bytes([i]) * 32).s for i in range(7)]
    dealt = [deal(key, 7, 5, stream(i)) for i, key in enumerate(keys)]
    held = np.stack([add_shares(shares[j] for shares in dealt) for j in range(7)])
    assert held.dtype == np.uint32
    found = recover([2, 4, 5, 6, 7], held[[1, 3, 4, 5, 6]], 5, DEFAULT.key_bound(7))
    assert np.array_equal(found.secret, np.sum(keys, axis=0))


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 9), st.integers(0, 6), st.integers(0, 2**32 - 1))
def test_up_to_half_the_surplus_may_lie_and_is_named(t: int, surplus: int, tag: int) -> None:
    m = t + surplus
    rng = np.random.default_rng(tag)
    points = sorted(int(p) + 1 for p in rng.permutation(12 + m)[:m])
    shares = deal(SECRET, max(points), t, stream(tag))[[p - 1 for p in points]]
    liars = sorted(int(row) for row in rng.permutation(m)[: surplus // 2])
    found = recover(points, spoil(shares, liars, rng), t, 77)
    assert np.array_equal(found.secret, SECRET)
    assert found.accused == tuple(points[row] for row in liars)


@pytest.mark.parametrize(("column", "change"), [(0, 1), (4095, PRIME - 1), (2000, 12345)])
def test_a_lie_in_one_coefficient_alone_is_found(column: int, change: int) -> None:
    shares = deal(SECRET, 9, 5, stream(8))
    for row in (2, 7):
        shares[row, column] = (int(shares[row, column]) + change) % PRIME
    assert recover(range(1, 10), shares, 5, 77).accused == (3, 8)


def test_more_lies_than_can_be_corrected_are_refused() -> None:
    shares = deal(SECRET, 9, 5, stream(8))
    rng = np.random.default_rng(0)
    for liars in ([0, 1, 2], [0, 1, 2, 3], list(range(9))):
        with pytest.raises(OpeningFailed):
            recover(range(1, 10), spoil(shares, liars, rng), 5, 77)
    for m in (6,):  # one more than the quorum detects, and corrects nothing
        with pytest.raises(OpeningFailed):
            recover(range(1, m + 1), spoil(shares[:m], [0], rng), 5, 77)


def test_lies_spread_over_coefficients_count_as_positions() -> None:
    """Each coefficient has one liar, which alone could be corrected; together there are three positions."""
    shares = deal(SECRET, 9, 5, stream(8))
    for row, column in ((0, 10), (1, 20), (2, 30)):
        shares[row, column] ^= 1
    with pytest.raises(OpeningFailed):
        recover(range(1, 10), shares, 5, 77)


def test_with_a_bare_quorum_a_random_lie_exceeds_the_bound() -> None:
    shares = deal(SECRET, 5, 5, stream(8))
    with pytest.raises(OpeningFailed, match="within"):
        recover(range(1, 6), spoil(shares, [3], np.random.default_rng(0)), 5, 77)


def test_with_a_bare_quorum_a_lie_by_weight_stays_short_and_is_left_to_the_opening() -> None:
    shares = deal(SECRET, 5, 5, stream(8))
    weight = int(lagrange_weights([1, 2, 3, 4, 5], [0])[0, 3])
    shares[3, 7] = (int(shares[3, 7]) + pow(weight, -1, PRIME)) % PRIME
    found = recover(range(1, 6), shares, 5, 77)
    assert int(found.secret[7]) == int(SECRET[7]) + 1


def test_the_bound_holds_coefficient_by_coefficient() -> None:
    secret = np.zeros(DEGREE, dtype=np.int64)
    secret[[5, 6]] = (-77, 77)
    shares = deal(secret, 4, 3, stream(2))
    assert np.array_equal(recover([1, 2, 4], shares[[0, 1, 3]], 3, 77).secret, secret)
    with pytest.raises(OpeningFailed, match="coefficient 5"):
        recover([1, 2, 4], shares[[0, 1, 3]], 3, 76)


def test_what_are_no_shares_is_refused() -> None:
    shares = deal(SECRET, 5, 3, stream(8))
    for points in ([1, 2, 2, 4, 5], [0, 1, 2, 3, 4], [1, 2, 3, 4, PRIME], [1, 2, 3, 4]):
        with pytest.raises(MalformedMessage):
            recover(points, shares, 3, 77)
    with pytest.raises(MalformedMessage):
        recover(range(1, 6), shares.astype(np.int64), 3, 77)  # type: ignore[arg-type]
    shares[2, 2] = PRIME
    with pytest.raises(OutOfRange):
        recover(range(1, 6), shares, 3, 77)
    for receivers, quorum in ((3, 4), (3, 0)):
        with pytest.raises(NotEnoughOpenings):
            deal(SECRET, receivers, quorum, stream(0))


def test_fewer_than_a_quorum_of_shares_look_uniform() -> None:
    """Two keys, the same two of three shares' marginals: means of p / 2 within five standard deviations."""
    for secret in (SECRET, np.full(DEGREE, 76)):
        shares = deal(secret, 3, 3, stream(5))[:2].astype(np.float64)
        assert abs(shares.mean() / PRIME - 0.5) < 5 * (1 / 12) ** 0.5 / (2 * DEGREE) ** 0.5


def test_nothing_shows_in_a_repr() -> None:
    shares = deal(SECRET, 3, 3, stream(5))
    assert "withheld" in repr(recover([1, 2, 3], shares, 3, 77))


@settings(max_examples=50)
@given(st.integers(1, 6), st.integers(0, 7), st.data())
def test_the_decoder_finds_every_pattern_of_correctable_errors(k: int, surplus: int, data: st.DataObject) -> None:
    n = k + surplus
    points = data.draw(st.lists(st.integers(1, 60), min_size=n, max_size=n, unique=True))
    message = data.draw(st.lists(ELEMENT, min_size=k, max_size=k))
    wrong = data.draw(st.sets(st.integers(0, n - 1), max_size=surplus // 2))
    word = [sum(c * x**i for i, c in enumerate(message)) % PRIME for x in points]
    for index in wrong:
        word[index] = (word[index] + data.draw(st.integers(1, PRIME - 1))) % PRIME
    assert false_positions(points, np.array(word, dtype=np.uint64), k) == wrong
