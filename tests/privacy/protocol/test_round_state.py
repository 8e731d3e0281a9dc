"""The legal moves, and the quorum's arithmetic against its reason."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from privacy.errors import NotEnoughOpenings, UnsafeParameters, WrongState
from privacy.protocol.round_state import (
    RoundState,
    check_abort,
    check_cohort_size,
    check_move,
    check_void_vote,
    quorum,
    require,
)

LEGAL = {
    ("joining", "uploading"), ("joining", "closed"),
    ("uploading", "summing"), ("uploading", "closed"),
    ("summing", "opening"), ("summing", "closed"),
    ("opening", "confirmed"), ("opening", "void"), ("opening", "closed"),
    ("void", "confirmed"),
}  # fmt: skip


@pytest.mark.parametrize(("current", "target"), list(product(RoundState, RoundState)))
def test_exactly_the_legal_moves_are_legal(current: RoundState, target: RoundState) -> None:
    if (current.value, target.value) in LEGAL:
        check_move(current, target)
    else:
        with pytest.raises(WrongState):
            check_move(current, target)


@given(st.integers(3, 1000), st.integers(1, 300))
def test_two_quorums_share_an_honest_member(size: int, colluders: int) -> None:
    t = quorum(size, colluders)
    assert 2 * t - size >= colluders + 1
    assert 2 * (t - 1) - size < colluders + 1, "no smaller quorum would do"


@pytest.mark.parametrize(("size", "n_min", "c"), [(4, 5, 1), (5, 2, 1), (5, 5, 0), (5, 4, 3)])
def test_unsafe_numbers_are_refused(size: int, n_min: int, c: int) -> None:
    with pytest.raises(UnsafeParameters):
        check_cohort_size(size, n_min, c)


def test_after_an_opening_only_the_deadline_lets_the_operator_end_it() -> None:
    check_abort(0, 100, 5)
    check_abort(7, 100, 101)
    with pytest.raises(WrongState, match="2 openings and 0 s left"):
        check_abort(2, 100, 100)


def test_a_vote_over_few_openings_waits_for_the_deadline() -> None:
    check_void_vote(3, 3, 100, 5)
    check_void_vote(0, 3, 100, 101)
    with pytest.raises(NotEnoughOpenings, match="2 openings and 0 s left"):
        check_void_vote(2, 3, 100, 100)


def test_a_message_out_of_its_time_is_refused() -> None:
    require(RoundState.JOINING, RoundState.JOINING)
    with pytest.raises(WrongState, match="joining"):
        require(RoundState.OPENING, RoundState.JOINING)
