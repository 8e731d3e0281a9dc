"""A malicious service and malicious partners around honest ones, for tests of what they can get (protocol 2).

Rules:
1. The service is the real one on loopback. `LyingServer` stands before it and changes answers for whom it likes;
   its signing key is the adversary's too, so that a lie may be signed.
2. Honest partners are real agents on real folders, told step by step what to do; what they send is looked up where
   the service keeps it, by the operator, to whom nobody lies.
3. A partner lives in a thread of its own, as its journal demands.
4. Each attempt is one of its own, and aborted at the end if nobody opened it: a test leaves nothing to the next.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from aggregator.storage.folder import load_keys
from client_sdk.agent import Agent
from client_sdk.attempt import Attempt, JoinedAttempt, Outcome
from client_sdk.journal import AttemptRecord
from client_sdk.opening import release
from privacy.protocol.canonical import canonical
from privacy.protocol.identifiers import SERVER
from privacy.protocol.messages import Abort, BodyT, Cohort, Plan, Seal, Signed, parse_signed
from privacy.protocol.signing import SigningKey, sign
from tests.attacks.lying_server import LyingServer
from tests.client_sdk.choir import PARAMETERS, PROBES, Choir, choir, values_for
from tests.consortium import done

Result = TypeVar("Result")


class Siege:
    """A constituted consortium whose service may lie. `agents`: everyone's, open throughout."""

    def __init__(self, made: Choir, server: LyingServer, key: SigningKey, stack: ExitStack) -> None:
        self.choir = made
        self.server = server
        self.server_key = key
        self.charter, self.campaign, self.state = made.constitute()
        self.names = made.names
        self.agents: dict[str, Agent] = {}
        self._desks = {name: stack.enter_context(ThreadPoolExecutor(1)) for name in self.names}
        self._attempts = 0
        for name in self.names:
            self.reopen(name)

    def at(self, name: str, act: Callable[[Agent], Result]) -> Result:
        """What `act` gives, run where this partner lives."""
        return self.begin(name, act).result()

    def begin(self, name: str, act: Callable[[Agent], Result]) -> Future[Result]:
        """The same, while others do something else."""
        return self._desks[name].submit(lambda: act(self.agents[name]))

    def each(self, names: Sequence[str], act: Callable[[str, Agent], Result]) -> dict[str, Result]:
        """The same for several at once."""
        running = {name: self._desks[name].submit(act, name, self.agents[name]) for name in names}
        return {name: future.result() for name, future in running.items()}

    def reopen(self, name: str, between: Callable[[], object] = lambda: None, **outside: Any) -> None:
        """As after a restart: another process on the same folder, to which `between` may have happened."""

        def again() -> None:
            if name in self.agents:
                self.agents.pop(name).close()
            between()
            self.agents[name] = self.choir.agent(name, **outside)

        self._desks[name].submit(again).result()

    def close(self) -> None:
        self.each(self.names, lambda _, agent: agent.close())

    # --- an attempt, step by step ---------------------------------------------------------------------

    @contextmanager
    def attempt(self, left_open: bool = False, resumed: bool = True, **plan: Any) -> Iterator[Plan]:
        """A new attempt of the round that is next; aborted afterwards, or seen through where someone opened it.

        `left_open`: not so; it is the siege's last. `resumed`: a person at each partner let it go on after others.
        """
        self._attempts += 1
        for name in self.names if resumed else ():
            self.at(name, lambda agent: agent.policy.resume("an attack came before", agent.partner.now()))
        values = {"round": self.state.round + 1, "attempt": self._attempts, **plan}
        posted = self.choir.post_plan(self.campaign, self.state.digest, (120, 240, 360), **values)
        try:
            yield posted
        finally:
            self.server.be_honest()
            shown = self.document(posted)
            if (
                not left_open
                and not shown["openings"]
                and shown["state"] in ("joining", "uploading", "summing", "opening")
            ):
                body = Abort(charter=posted.charter, plan=posted.digest, reason="the attack is over")
                message = sign(body, "operator", self.choir._key)
                done(self.choir.operator.post(f"/v1/rounds/{posted.digest}/abort", message))
        if not left_open and self.document(posted)["state"] == "opening":
            self.finish(posted)

    def document(self, plan: Plan) -> dict[str, Any]:
        return self.choir.document(plan)

    def join(self, plan: Plan, names: Sequence[str] | None = None) -> dict[str, JoinedAttempt]:
        return self.each(names or self.names, lambda _, agent: agent.join(self.handed(agent, plan)))

    def handed(self, agent: Agent, plan: Plan) -> Attempt:
        """The attempt as the agent hands it out: every check before joining has passed."""
        for item in agent.attend(self.campaign, agent.current_state(self.campaign), take_part=True):
            if isinstance(item, Attempt) and item.round_digest == plan.digest:
                return item
        raise AssertionError("stopped")

    def upload(self, joined: Mapping[str, JoinedAttempt]) -> None:
        self.each(list(joined), lambda name, agent: agent.contribute(joined[name], self.values(name)))

    def values(self, name: str) -> NDArray[np.int32]:
        """What this partner contributes."""
        return values_for(name, self.choir.parameters + PROBES)

    def exact(self, names: Sequence[str] | None = None) -> NDArray[np.int64]:
        """The integer sum of what these partners, all by default, contribute."""
        return np.sum([self.values(name) for name in names or self.names], axis=0, dtype=np.int64)

    def sealed(self, plan: Plan) -> Signed[Seal]:
        """Everyone joins and uploads; the seal that the honest service makes of it."""
        self.upload(self.join(plan))
        return self.seal_of(plan)

    def seal_of(self, plan: Plan) -> Signed[Seal]:
        seen = 0
        while True:
            shown = done(self.choir.operator.get(f"/v1/rounds/{plan.digest}?seen={seen}&wait=10"))
            if shown["seal"] is not None:
                return parse_signed(Seal, canonical(shown["seal"]))
            seen = shown["version"]

    def asked_to_open(self, plan: Plan, names: Sequence[str] | None = None) -> None:
        """These partners fetch seal and manifests, and release or refuse."""

        def act(_: str, agent: Agent) -> None:
            partner = agent.partner
            document, record = partner.service.round(plan.digest), partner.journal.record(plan.digest)
            assert document.seal is not None
            assert record is not None
            release(partner, record, document.seal, partner.service.manifests(plan.digest))

        self.each(names or self.names, act)

    def finish(self, plan: Plan, names: Sequence[str] | None = None) -> dict[str, Outcome]:
        """These partners, everyone by default, see the attempt through from wherever they stand."""
        outcomes = self.each(names or self.names, lambda _, agent: self.seen_through(agent, plan))
        self.state = next(iter(outcomes.values())).state
        return outcomes

    def seen_through(self, agent: Agent, plan: Plan) -> Outcome:
        for item in agent.attend(self.campaign, agent.current_state(self.campaign), take_part=True):
            if isinstance(item, Outcome) and item.round_digest == plan.digest:
                return item
        raise AssertionError("stopped")

    # --- what came of it ------------------------------------------------------------------------------

    def record(self, name: str, plan: Plan) -> AttemptRecord | None:
        return self.at(name, lambda agent: agent.partner.journal.record(plan.digest))

    def refusals(self, plan: Plan) -> dict[str, int]:
        """Which check each partner said had failed."""
        return {said["body"]["partner"]: said["body"]["check"] for said in self.document(plan)["refusals"]}

    def released(self, plan: Plan) -> set[str]:
        """Who released anything, by the service's books and by the journals of all."""
        wrote = {name for name in self.names if (kept := self.record(name, plan)) and kept.opening is not None}
        return wrote | set(self.document(plan)["openings"])

    def charges(self, name: str) -> int:
        return self.at(name, lambda agent: agent.partner.own_ledger.head.count)

    # --- lies that several tests tell -----------------------------------------------------------------

    def by_server(self, body: BodyT) -> Signed[BodyT]:
        return sign(body, SERVER, self.server_key)

    def show_seal(self, plan: Plan, seal: Signed[Seal], to: Sequence[str]) -> None:
        def lie(document: dict[str, Any]) -> None:
            document["seal"] = seal.model_dump(mode="json")

        self.server.tell_json(f"/v1/rounds/{plan.digest}", lie, to)

    def show_cohort(
        self, plan: Plan, cohort: Signed[Cohort], joins: Sequence[Signed[Any]], to: Sequence[str]
    ) -> None:
        def lie(shown: dict[str, Any]) -> None:
            shown["cohort"] = cohort.model_dump(mode="json")
            shown["joins"] = [join.model_dump(mode="json") for join in joins]

        self.server.tell_json(f"/v1/rounds/{plan.digest}/cohort", lie, to)


@contextmanager
def besieged(root: Path, size: int = 4, n_min: int = 3, parameters: int = PARAMETERS) -> Iterator[Siege]:
    server = LyingServer()
    with choir(root, size, n_min, wrap=server.before, parameters=parameters) as made, ExitStack() as stack:
        siege = Siege(made, server, load_keys(root / "server").server, stack)
        try:
            yield siege
        finally:
            siege.close()
