"""Adversary: malicious partners, and a service that flips bits, where the quorum leaves room to correct: seven
partners (t = 5 of 7), and a sum of several shards. What can be corrected is, end to end, and the liars are named;
what cannot is void for everyone, and calls nobody guilty.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import aggregator.rounds.seal
import client_sdk.opening
from aggregator.rounds.blind_sum import sum_shard
from client_sdk.attempt import Outcome
from client_sdk.states import answer_requests
from privacy.he.boxes import SHARE_BOX_BYTES
from privacy.he.parameters import DEFAULT
from privacy.he.shamir import add_shares, lagrange_weights
from privacy.protocol.messages import Plan
from tests.attacks.lying_server import Asked
from tests.attacks.siege import Siege, besieged

pytestmark = pytest.mark.full
LIARS = ("partner-02", "partner-05", "partner-07")
VICTIM = "partner-03"
SHARDS = 3
PRIME = DEFAULT.share_prime


@pytest.fixture(scope="module")
def siege(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Siege]:
    with besieged(tmp_path_factory.mktemp("siege"), size=7, parameters=20_000) as made:
        yield made


@pytest.fixture
def false_shares(siege: Siege, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """From now on, so many of LIARS add something of their own to each share that they release."""
    here = threading.local()
    for place, name in enumerate(LIARS):
        siege.at(name, lambda _, place=place: setattr(here, "place", place))  # type: ignore[misc]
    lying = [0]

    def false(shares: Iterable[NDArray[np.uint32]]) -> NDArray[np.uint32]:
        summed = add_shares(shares)
        place = getattr(here, "place", len(LIARS))
        if place < lying[0]:
            summed[:] = (summed.astype(np.uint64) + np.uint64(1 + place)) % np.uint64(PRIME)
        return summed

    monkeypatch.setattr(client_sdk.opening, "add_shares", false)
    return lambda count: lying.__setitem__(0, count)


def uploaded(siege: Siege, plan: Plan) -> None:
    assert siege.sealed(plan).body.sum.count == SHARDS


def exact(siege: Siege, outcomes: dict[str, Outcome], accused: set[str]) -> None:
    for outcome in outcomes.values():
        assert outcome.confirmed
        assert outcome.values is not None
        assert np.array_equal(outcome.values, siege.exact())
        assert set(outcome.report.accused) == accused


def void(outcomes: dict[str, Outcome], before: str) -> None:
    for outcome in outcomes.values():
        assert outcome.void
        assert outcome.values is None
        assert outcome.state.digest == before
        assert outcome.report.accused == {}


def test_without_a_liar_the_sum_of_several_shards_is_exact_and_nobody_is_named(siege: Siege) -> None:
    with siege.attempt() as plan:
        uploaded(siege, plan)
        exact(siege, siege.finish(plan), set())


def test_one_false_share_is_within_the_slack_and_named(siege: Siege, false_shares: Callable[[int], None]) -> None:
    """(7 - 5) / 2 = 1 position is corrected by Reed-Solomon."""
    false_shares(1)
    with siege.attempt() as plan:
        uploaded(siege, plan)
        exact(siege, siege.finish(plan), set(LIARS[:1]))


def test_two_false_shares_leave_a_quorum_of_honest_ones_and_are_named(
    siege: Siege, false_shares: Callable[[int], None]
) -> None:
    """Beyond the slack, and found among the 21 subsets of t."""
    false_shares(2)
    with siege.attempt() as plan:
        uploaded(siege, plan)
        exact(siege, siege.finish(plan), set(LIARS[:2]))


def test_three_false_shares_are_void_and_nobody_is_called_guilty(
    siege: Siege, false_shares: Callable[[int], None]
) -> None:
    before = siege.state.digest
    false_shares(3)
    with siege.attempt() as plan:
        uploaded(siege, plan)
        void(siege.finish(plan), before)


@pytest.mark.parametrize("moved", ["at random", "by the inverse of its Lagrange weight"])
def test_a_false_share_with_a_bare_quorum_is_void_and_nobody_is_called_guilty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moved: str
) -> None:
    """Three partners, t = 3: there is nothing to compare with. The error check of the sum tells (5.1)."""
    weight = int(lagrange_weights([1, 2, 3], [0])[0, 1])
    by = 123_456_789 if moved == "at random" else pow(weight, -1, PRIME)
    here = threading.local()

    def false(shares: Iterable[NDArray[np.uint32]]) -> NDArray[np.uint32]:
        summed = add_shares(shares)
        if getattr(here, "lies", False):
            summed[0] = (int(summed[0]) + by) % PRIME
        return summed

    with besieged(tmp_path, size=3) as siege:
        siege.at(LIARS[0], lambda _: setattr(here, "lies", True))
        before = siege.state.digest
        with monkeypatch.context() as patch, siege.attempt() as plan:
            patch.setattr(client_sdk.opening, "add_shares", false)
            siege.sealed(plan)
            void(siege.finish(plan), before)
        with siege.attempt() as plan:
            siege.sealed(plan)
            exact(siege, siege.finish(plan), set())


# --- one flipped bit, in each shard ---------------------------------------------------------------------


def flipped(target: str) -> bytes:
    words = np.fromfile(target, dtype="<u8")
    words[77] ^= np.uint64(1)
    words.tofile(target)
    return sha256(words.tobytes()).digest()


@pytest.mark.parametrize(
    ("where", "bad"), [*(("in the sum", place) for place in range(SHARDS)), ("in an upload after its receipt", 1)]
)
def test_one_flipped_bit_in_any_shard_is_void_for_everyone(
    siege: Siege, monkeypatch: pytest.MonkeyPatch, where: str, bad: int
) -> None:
    """The seal is of the false sum: fingerprints and the error check stop it (5.1, 5.4)."""
    touched = []

    def adding(uploads: list[str], target: str, size: int) -> bytes:
        ours = uploads[0].rpartition("/")[2] == str(bad)
        touched.append(ours)
        if ours and where != "in the sum":
            flipped(uploads[2])
        summed = sum_shard(uploads, target, size)
        return flipped(target) if ours and where == "in the sum" else summed

    monkeypatch.setattr(aggregator.rounds.seal, "sum_shard", adding)
    before = siege.state.digest
    with siege.attempt() as plan:
        uploaded(siege, plan)
        void(siege.finish(plan), before)
    assert sorted(touched) == [False] * (SHARDS - 1) + [True]


@pytest.mark.parametrize("bad", [0, SHARDS - 1])
def test_one_flipped_bit_in_a_shard_that_one_partner_is_served(siege: Siege, bad: int) -> None:
    """It is under no root: nothing of it is used. The others confirm, and the victim takes their state."""
    with siege.attempt() as plan:
        uploaded(siege, plan)

        def lie(_: Asked, raw: bytes) -> bytes:
            return raw[:1000] + bytes([raw[1000] ^ 1]) + raw[1001:]

        siege.server.tell(f"/v1/rounds/{plan.digest}/sum/shards/{bad}", lie, [VICTIM])
        seen = siege.begin(VICTIM, lambda agent: siege.seen_through(agent, plan))
        outcomes = siege.finish(plan, [name for name in siege.names if name != VICTIM])
        while not seen.done():  # as a partner does that waits for the next round
            siege.at(LIARS[0], lambda agent: answer_requests(agent.partner, siege.campaign))
        cheated = seen.result()
        exact(siege, outcomes, set())
        assert cheated.values is None
        assert cheated.state.digest == siege.state.digest
        assert any(f"shard {bad} " in alarm for alarm in cheated.report.alarms), cheated.report.alarms


def test_one_flipped_bit_in_a_result_box_sets_that_opening_aside(siege: Siege) -> None:
    """The opener signed the box's digest: what the service changed on the way opens nothing, and spoils nothing."""
    with siege.attempt() as plan:
        uploaded(siege, plan)

        def lie(asked: Asked, raw: bytes) -> bytes:
            openers = asked.query["of"][0].split(",")
            if LIARS[0] not in openers:
                return raw
            place = openers.index(LIARS[0]) * SHARE_BOX_BYTES + 5000
            return raw[:place] + bytes([raw[place] ^ 1]) + raw[place + 1 :]

        siege.server.tell(f"/v1/rounds/{plan.digest}/openings/boxes", lie, [VICTIM])
        outcomes = siege.finish(plan)
        cheated = outcomes.pop(VICTIM)
        exact(siege, outcomes, set())
        exact(siege, {VICTIM: cheated}, {LIARS[0]})
        assert "its opening was set aside: expected the box" in cheated.report.accused[LIARS[0]]
