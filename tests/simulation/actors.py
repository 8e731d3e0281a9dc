"""Who acts: partners with their real agents, and the operator with its real conductor. They die and start again.

Rules:
1. A process that died, or that ended with a stated error, starts again after a while from what is on its disks.
2. A partner contributes the integers that `values_of` derives from its name and the attempt.
3. An error that is no ChoraleError is a failure of the simulated program, whatever the weather.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aggregator.operator.client import OperatorClient
from aggregator.operator.conductor import Assignment, Conductor
from aggregator.operator.plan_record import PlanRecord
from aggregator.operator.signed_http import SignedHttp
from client_sdk.agent import Agent
from client_sdk.attempt import Attempt, Outcome
from client_sdk.partner import Outside
from privacy.clock import Clock
from privacy.errors import AttemptOver, ChoraleError, PolicyRefused
from privacy.protocol.signing import SigningKey, Verifier
from privacy.randomness import Keystream
from tests.client_sdk.choir import passphrase
from tests.consortium import SeededSource
from tests.simulation.machines import Machine
from tests.simulation.network import Network
from tests.simulation.scheduler import Killed, Scheduler

LARGEST = 80


class DriftingClock:
    """A machine's own clock: off by `offset` seconds, and running fast or slow by `rate`, until `mended`."""

    def __init__(self, scheduler: Scheduler, offset: float, rate: float, mended: float) -> None:
        self._scheduler = scheduler
        self._start = scheduler.now
        self._offset = offset
        self._rate = rate
        self._mended = mended

    def now(self) -> float:
        true = self._scheduler.now
        if true >= self._mended:
            return true
        return true + self._offset + self._rate * (true - self._start)


def values_of(name: str, round_digest: str, length: int) -> NDArray[np.int32]:
    """What a partner contributes to one attempt."""
    stream = Keystream(sha256(f"{name} {round_digest}".encode()).digest())
    words = np.frombuffer(stream.bytes(4 * length), dtype="<u4")
    return (words % np.uint32(2 * LARGEST + 1)).astype(np.int32) - LARGEST


class Notices:
    """Progress kept as lines, for whoever reads a failure."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say

    def phase(self, name: str, detail: str = "") -> None:
        self._say(f"phase {name} {detail}")

    def transfer(self, name: str, done: int, total: int) -> None:
        return None

    def notice(self, text: str) -> None:
        self._say(text)


@dataclass
class Watched:
    """Where actors tell what happened. `broken`: something that must never be; ends the run."""

    say: Callable[[str, str], None]
    broken: Callable[[str], None]
    ended: Callable[[str, Outcome], None]


class Actor:
    """A machine and the process on it."""

    def __init__(self, machine: Machine, network: Network, clock: Clock, watched: Watched) -> None:
        self.machine = machine
        self.name = machine.name
        self.network = network
        self.scheduler = network.scheduler
        self.clock = clock
        self.watched = watched
        self.starts = 0
        self.over = False
        self.last_error: ChoraleError | None = None
        self.greenlet = self.scheduler.spawn(self._live)

    def _live(self) -> None:
        try:
            self._lives()
        except Killed:
            assert self.over

    def _lives(self) -> None:
        while True:
            self.starts += 1
            try:
                self._act()
                return
            except Killed:
                if self.over:
                    return
                self._killed()
            except ChoraleError as error:
                self.last_error = error
                self.watched.say(self.name, f"stopped: {type(error).__name__}: {error}")
                try:
                    self._stopped(error)
                except Killed:
                    if self.over:
                        return
                    self._killed()
            except Exception as error:
                self.watched.broken(f"{self.name} died of {error!r}")
                raise
            self.scheduler.sleep(self.machine.faults.uniform(f"restart {self.name}", 0.5, 8.0))

    def _killed(self) -> None:
        self.watched.say(self.name, "killed")
        self.machine.revive()

    def _source(self) -> SeededSource:
        return SeededSource(f"{self.machine.faults.seed} {self.name} {self.starts}")

    def _act(self) -> None:
        raise NotImplementedError

    def _stopped(self, error: ChoraleError) -> None:
        """What a person at this machine does about it."""


class PartnerActor(Actor):
    def __init__(self, machine: Machine, network: Network, clock: Clock, watched: Watched, campaign: str) -> None:
        self._campaign = campaign
        self.agent: Agent | None = None
        super().__init__(machine, network, clock, watched)

    def outside(self) -> Outside:
        return Outside(
            clock=self.clock,
            source=self._source(),
            progress=Notices(lambda text: self.watched.say(self.name, text)),
            sleep=self.scheduler.sleep,
            handler=self.network.line(self.machine),
        )

    def _act(self) -> None:
        config = self.machine.folder / "partner.toml"
        try:
            with Agent.open(config, passphrase=passphrase, outside=self.outside()) as agent:
                self.agent = agent
                campaign = agent.campaign(self._campaign)
                for item in agent.attend(campaign, agent.current_state(campaign), take_part=True):
                    outcome = item if isinstance(item, Outcome) else self._take_part(agent, item)
                    if outcome is not None:
                        self.last_error = None
                        self.watched.ended(self.name, outcome)
        finally:
            self.agent = None

    def _take_part(self, agent: Agent, attempt: Attempt) -> Outcome | None:
        try:
            joined = agent.join(attempt)
        except AttemptOver as over:
            self.watched.say(self.name, str(over))
            return None
        agent.contribute(joined, values_of(self.name, joined.round_digest, joined.plan.layout.length))
        return agent.finish(joined)

    def _stopped(self, error: ChoraleError) -> None:
        if isinstance(error, PolicyRefused):
            self.scheduler.sleep(30)
            config = self.machine.folder / "partner.toml"
            with Agent.open(config, passphrase=passphrase, outside=self.outside()) as agent:
                agent.policy.resume("looked into it", agent.partner.now())


class Said:
    """A Watcher of the conductor."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say

    def proposed(self, plan: Any) -> None:
        self._say(f"plan of round {plan.round}, attempt {plan.attempt}: {plan.digest[:16]}")

    def changed(self, document: Any) -> None:
        return None

    def ended(self, document: Any) -> None:
        self._say(f"round {document.number}, attempt {document.attempt} is {document.state}")

    def notice(self, text: str) -> None:
        self._say(text)


class OperatorActor(Actor):
    """`finished`: the last round is confirmed."""

    def __init__(
        self,
        machine: Machine,
        network: Network,
        clock: Clock,
        watched: Watched,
        key: SigningKey,
        assignment: Assignment,
    ) -> None:
        self._key = key
        self._assignment = assignment
        self.finished = False
        super().__init__(machine, network, clock, watched)

    def _act(self) -> None:
        http = SignedHttp(
            "http://service",
            self._key,
            self.clock,
            self._source(),
            self.scheduler.sleep,
            patience=20.0,
            transport=self.network.line(self.machine),
        )
        record = PlanRecord(self.machine.folder / "plans.jsonl")
        Conductor(
            OperatorClient(http),
            record,
            self._key,
            self._assignment,
            "the only one",
            self.clock,
            Verifier(),
            Said(lambda text: self.watched.say(self.name, text)),
        ).run()
        self.finished = True
