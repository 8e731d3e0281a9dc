"""Whole rounds under faults, by seed: every promise at every step. `make simulate` runs more of them."""

from __future__ import annotations

import pytest

from tests.simulation.run import run
from tests.simulation.shrink import explained, shrink

BATCH = 10
FAST = range(1200, 1220)
"""All of three to five partners: a consortium of each further size is some seconds' work to constitute."""
MORE = range(200)
RECOVERED = (388, 626, 1035, 1147, 120021)
"""In these an older backup is put back, and partners hand back what it lacks: nothing is excused by it."""


def check(first: int) -> None:
    for seed in range(first, first + BATCH):
        result = run(seed)
        assert result.broken is None, explained(shrink(result))


@pytest.mark.parametrize("first", FAST[::BATCH])
def test_every_promise_holds(first: int) -> None:
    check(first)


@pytest.mark.full
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("first", MORE[::BATCH])
def test_every_promise_holds_in_more_weathers(first: int) -> None:
    check(first)


@pytest.mark.full
@pytest.mark.timeout(1200)
def test_a_service_that_was_handed_back_what_it_lost_keeps_every_promise() -> None:
    for seed in RECOVERED:
        result = run(seed)
        assert result.broken is None, explained(shrink(result))
        assert any("and recovered" in line for line in result.lines), seed
        assert result.sums > 0, seed


def test_a_seed_replays() -> None:
    """The same seed: the same faults, in the same order, at the same steps, with the same end."""
    first, again = run(FAST[0]), run(FAST[0])
    assert first.faults
    assert (first.faults, first.steps, first.broken) == (again.faults, again.steps, again.broken)
