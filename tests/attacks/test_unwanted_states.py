"""Adversary: a partner that fills the service's disk with states, alone or with one who asks for them. A box is
taken of a state that a quorum confirmed and its receiver asked for; those of one sender for one receiver are
counted, and what the receiver has left behind makes room (docs/limits.md).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import httpx
import pytest

from aggregator.rounds.state_boxes import check_state_box, state_box_name, store_state_box
from privacy.errors import NotAllowed
from privacy.protocol.messages import Signed, StateBox, StateRequest
from tests.aggregator.conftest import Running
from tests.aggregator.driver import RoundDriver
from tests.consortium import TestConsortium, done, refused

KEPT = 2


def box_with(state: str) -> bytes:
    return f"a box with {state}".encode()


@dataclass
class Passing:
    """A campaign whose states one partner sends to another, who confirms a round only where it is told to."""

    running: Running
    driver: RoundDriver

    @property
    def sender(self) -> str:
        return self.driver.names[0]

    @property
    def receiver(self) -> str:
        return self.driver.names[-1]

    @property
    def path(self) -> str:
        return f"/v1/campaigns/{self.driver.campaign.digest}"

    def round(self, number: int, *, receiver_confirms: bool) -> str:
        """The state that a quorum confirmed."""
        made = hashlib.sha256(f"state {number}".encode()).hexdigest()
        if number > 1:
            before = hashlib.sha256(f"state {number - 1}".encode()).hexdigest()
            driver = self.driver
            self.driver = RoundDriver(
                driver.consortium,
                driver.http,
                driver.charter,
                driver.campaign,
                round=number,
                attempt=number,
                base_state=before,
            )
        self.driver.to_opening()
        for name in self.driver.names:
            done(self.driver.open(name), 201)
        for name in self.driver.names:
            if name != self.receiver or receiver_confirms:
                done(self.driver.confirm(name, made), 201)
        self.driver.wait_for("confirmed")
        return made

    def asks(self, state: str) -> None:
        body = StateRequest(
            charter=self.driver.charter.digest,
            campaign=self.driver.campaign.digest,
            state=state,
            partner=self.receiver,
        )
        signed = self.running.consortium.by(self.receiver, body)
        done(self.driver.client(self.receiver).post(f"{self.path}/state-requests", signed), 201)

    def signed(self, state: str, sender: str | None = None, receiver: str | None = None) -> Signed[StateBox]:
        body = StateBox(
            charter=self.driver.charter.digest,
            campaign=self.driver.campaign.digest,
            state=state,
            sender=sender or self.sender,
            receiver=receiver or self.receiver,
            box=hashlib.sha256(box_with(state)).hexdigest(),
        )
        return self.running.consortium.by(body.sender, body)

    def sends(self, state: str, sender: str | None = None, receiver: str | None = None) -> httpx.Response:
        signed = self.signed(state, sender, receiver)
        client = self.driver.client(signed.body.sender)
        return client.post_frame(f"{self.path}/state-boxes", signed, box_with(state))

    def lying(self, state: str) -> list[str]:
        """Who has a box for the receiver with this state; each can be fetched."""
        shown = done(self.driver.client(self.receiver).get(f"{self.path}/state-boxes/{state}"))["boxes"]
        senders = [box["body"]["sender"] for box in shown]
        for sender in senders:
            answer = self.driver.client(self.receiver).get(f"{self.path}/state-boxes/{state}/{sender}")
            assert answer.content == box_with(state)
        return senders

    def files(self) -> int:
        return sum(path.is_file() for path in (self.running.settings.blobs / "states").rglob("*"))

    def open_requests(self) -> list[str]:
        shown = done(self.driver.client(self.sender).get(f"{self.path}/state-requests"))["requests"]
        return [request["body"]["state"] for request in shown]


@pytest.fixture
def consortium() -> TestConsortium:
    """Four, of whom three confirm a round."""
    return TestConsortium(size=4)


@pytest.fixture
def passing(running: Running, consortium: TestConsortium) -> Passing:
    settings = running.settings.model_copy(update={"state_boxes_kept": KEPT})
    object.__setattr__(running.service, "settings", settings)
    return Passing(running, RoundDriver(consortium, running.http, *consortium.constitute(running.http)))


def test_a_state_that_nobody_asked_for_or_no_quorum_confirmed_takes_no_room(passing: Passing) -> None:
    state = passing.round(1, receiver_confirms=False)
    refused(passing.sends(state), 403, "not-allowed")
    passing.asks("ab" * 32)
    refused(passing.sends("ab" * 32), 403, "not-allowed")
    passing.asks(state)
    refused(passing.sends(state, receiver=passing.driver.names[1]), 403, "not-allowed")
    assert passing.files() == 0
    done(passing.sends(state), 201)
    done(passing.sends(state), 201)  # the same bytes again
    # The genesis goes to everyone unasked: those who begin have nothing else.
    done(passing.sends(passing.driver.campaign.genesis, receiver=passing.driver.names[1]), 201)
    assert passing.files() == 2


def test_boxes_of_one_sender_for_one_receiver_are_counted(passing: Passing) -> None:
    """Sender and receiver are malicious: one asks for each state, and confirms none; the other sends them all."""
    states = [passing.round(number, receiver_confirms=False) for number in range(1, KEPT + 2)]
    done(passing.sends(passing.driver.campaign.genesis), 201)
    for state in states:
        passing.asks(state)
    for state in states[:KEPT]:
        done(passing.sends(state), 201)
    refused(passing.sends(states[KEPT]), 409, "quota-reached")
    assert passing.files() == KEPT + 1
    # The honest are not held up by it: neither the receiver, by whom else it asks, nor the sender.
    other = passing.driver.names[1]
    done(passing.sends(states[KEPT], sender=other), 201)
    assert passing.lying(states[KEPT]) == [other]
    done(passing.sends(states[0]), 201)


def test_what_its_receiver_has_left_behind_makes_room(passing: Passing) -> None:
    """An honest partner that is often late is not cut off: the oldest goes, and with it what asked for it."""
    states = []
    for number in range(1, KEPT + 3):
        states.append(passing.round(number, receiver_confirms=number == KEPT))
        passing.asks(states[-1])
        assert passing.open_requests() == [states[-1]]
        if number <= KEPT + 1:
            done(passing.sends(states[-1]), 201)
    assert [len(passing.lying(state)) for state in states] == [0, 1, 1, 0]
    assert passing.files() == KEPT
    # What is left was confirmed after all that the receiver stands on.
    refused(passing.sends(states[-1]), 409, "quota-reached")
    assert passing.open_requests() == [states[-1]]


def test_a_box_under_way_does_not_come_back_once_it_was_left_behind(passing: Passing) -> None:
    """Sent twice: the second passed the check while the first lay there, and is whole once that was evicted."""
    states = []
    for number in range(1, KEPT + 2):
        states.append(passing.round(number, receiver_confirms=number == KEPT))
        passing.asks(states[-1])
        if number == KEPT:
            late = passing.signed(states[0])
            check_state_box(passing.running.service, late.body.campaign, passing.sender, late)
        done(passing.sends(states[-1]), 201)
    service, body = passing.running.service, late.body
    name = state_box_name(body.campaign, body.state, body.sender, body.receiver)
    with service.blobs.writer(name) as writer:
        writer.write(box_with(body.state))
        with pytest.raises(NotAllowed):
            store_state_box(service, body.campaign, late, writer, body.box)
    assert [len(passing.lying(state)) for state in states] == [0, 1, 1]
    assert passing.files() == KEPT
