"""Adversary: a malicious partner that opens with a false share, deals false shares to one partner, shares another
key than it encrypted under, or fills the lanes. It wants another sum, a partner called guilty, or attempts wasted.
What can be corrected is, and named as what it is; the rest is void, charged once, and stops at the own policy.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import client_sdk.opening
from client_sdk import upload
from client_sdk.agent import Agent
from client_sdk.attempt import Outcome
from privacy.errors import PolicyRefused
from privacy.he.envelope import encrypt
from privacy.he.lanes import LaneLayout
from privacy.he.parameters import DEFAULT
from privacy.he.shamir import add_shares, deal, lagrange_weights
from tests.attacks.siege import Siege, besieged
from tests.client_sdk.choir import PARAMETERS, PROBES, values_for

LIAR = "partner-02"
VICTIM = "partner-03"
MISFIT = "its share does not fit the others: it, or a dealer to it, was false"
PRIME = DEFAULT.share_prime


@pytest.fixture(scope="module")
def siege(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Siege]:
    with besieged(tmp_path_factory.mktemp("siege")) as made:
        yield made


@pytest.fixture
def lies(siege: Siege) -> Callable[[], bool]:
    """Whether the code that asks runs for the liar."""
    here = threading.local()
    siege.at(LIAR, lambda _: setattr(here, "lies", True))
    return lambda: getattr(here, "lies", False)


def expected(siege: Siege) -> NDArray[np.int64]:
    return np.sum([values_for(name) for name in siege.names], axis=0, dtype=np.int64)


def exact_and_accused(siege: Siege, outcomes: dict[str, Outcome], accused: dict[str, str]) -> None:
    for outcome in outcomes.values():
        assert outcome.confirmed
        assert outcome.values is not None
        assert np.array_equal(outcome.values, expected(siege))
        assert outcome.report.accused == accused


@pytest.mark.parametrize(
    "by_weight",
    [pytest.param(False, marks=pytest.mark.full), True],
    ids=["at random", "by the inverse of its Lagrange weight"],
)
def test_a_false_share_is_set_aside_and_named(
    siege: Siege, lies: Callable[[], bool], monkeypatch: pytest.MonkeyPatch, by_weight: bool
) -> None:
    """By weight it moves S by 1 alone, within every bound of the key: the error check of the sum tells (5.1)."""
    points = [1, 2, 3]
    weight = int(lagrange_weights(points, [0])[0, 1])
    moved = pow(weight, -1, PRIME) if by_weight else 123_456_789

    def false(shares: Iterable[NDArray[np.uint32]]) -> NDArray[np.uint32]:
        summed = add_shares(shares)
        if lies():
            summed[0] = (int(summed[0]) + moved) % PRIME
        return summed

    monkeypatch.setattr(client_sdk.opening, "add_shares", false)
    with siege.attempt() as plan:
        siege.sealed(plan)
        exact_and_accused(siege, siege.finish(plan), {LIAR: MISFIT})


def test_a_dealer_with_false_shares_for_one_partner_makes_nobody_guilty(
    siege: Siege, lies: Callable[[], bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The honest receiver's opening does not fit. That is said of it *or a dealer to it*, and the sum is exact."""

    def false(secret: NDArray[np.int64], receivers: int, quorum: int, stream: Any) -> NDArray[np.uint32]:
        dealt = deal(secret, receivers, quorum, stream)
        if lies():
            row = dealt[siege.names.index(VICTIM)]
            row[:] = (row.astype(np.uint64) + np.uint64(1)) % np.uint64(PRIME)
        return dealt

    monkeypatch.setattr(upload, "deal", false)
    with siege.attempt() as plan:
        siege.sealed(plan)
        exact_and_accused(siege, siege.finish(plan), {VICTIM: MISFIT})


def test_void_after_void_is_charged_once_each_and_stops_at_the_policy(
    siege: Siege, lies: Callable[[], bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Garbage under a wrong key: nothing decodes. No budget is under-counted, and two in a row are the end."""

    def another_key(secret: NDArray[np.int64], *rest: Any) -> NDArray[np.uint32]:
        return deal(-secret if lies() else secret, *rest)

    before = {name: siege.charges(name) for name in siege.names}
    state = siege.state.digest
    with monkeypatch.context() as patch:
        patch.setattr(upload, "deal", another_key)
        for _ in range(2):
            with siege.attempt(resumed=False) as plan:
                siege.sealed(plan)
                for outcome in siege.finish(plan).values():
                    assert outcome.void
                    assert outcome.state.digest == state
    assert {name: siege.charges(name) for name in siege.names} == {name: before[name] + 2 for name in siege.names}
    with siege.attempt(resumed=False) as plan:

        def refuses(_: str, agent: Agent) -> None:
            with pytest.raises(PolicyRefused, match="budget resume"):
                siege.handed(agent, plan)

        siege.each(siege.names, refuses)


def test_the_largest_values_in_every_lane_carry_into_no_neighbour(siege: Siege) -> None:
    """The most that a partner can encode within the range; the others' sums in each lane stay what they are."""
    with siege.attempt() as plan:
        joined = siege.join(plan)
        siege.upload({name: joined[name] for name in siege.names if name != LIAR})
        offset = LaneLayout(plan.layout.lane_width, siege.charter.n_max).offset
        most = np.full(PARAMETERS + PROBES, offset, dtype=np.int32)
        siege.at(LIAR, lambda agent: agent.contribute(joined[LIAR], most))
        others = expected(siege) - values_for(LIAR)
        for outcome in siege.finish(plan).values():
            assert outcome.confirmed
            assert outcome.values is not None
            assert np.array_equal(outcome.values, others + offset)


@pytest.mark.full
def test_lanes_beyond_their_range_are_refused_by_all_or_by_none(
    siege: Siege, lies: Callable[[], bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    """They may do harm (threat model). Promised is that nobody's model parts from the others'."""

    def full(values: NDArray[Any], layout: LaneLayout, *rest: Any) -> Any:
        if lies():
            layout = LaneLayout(layout.width, 1)
            values = np.full(values.shape, layout.offset, dtype=np.int32)
        return encrypt(values, layout, *rest)

    monkeypatch.setattr(upload, "encrypt", full)
    with siege.attempt() as plan:
        siege.sealed(plan)
        outcomes = siege.finish(plan)
        assert len({(outcome.ended, outcome.state.digest) for outcome in outcomes.values()}) == 1
