"""Whole rounds under faults, by seed: every promise at every step. `make simulate` runs more of them."""

from __future__ import annotations

import pytest

from tests.simulation.run import run
from tests.simulation.shrink import explained, shrink

BATCH = 10
FAST = range(1200, 1220)
"""All of three to five partners: a consortium of each further size is some seconds' work to constitute."""
MORE = range(180)


def check(first: int) -> None:
    for seed in range(first, first + BATCH):
        result = run(seed)
        assert result.broken is None, explained(shrink(result))


@pytest.mark.parametrize("first", FAST[::BATCH])
def test_every_promise_holds(first: int) -> None:
    check(first)


@pytest.mark.full
@pytest.mark.parametrize("first", MORE[::BATCH])
def test_every_promise_holds_in_more_weathers(first: int) -> None:
    check(first)


def test_a_seed_replays() -> None:
    """The same seed: the same faults, in the same order, at the same steps, with the same end."""
    first, again = run(FAST[0]), run(FAST[0])
    assert first.faults
    assert (first.faults, first.steps, first.broken) == (again.faults, again.steps, again.broken)
