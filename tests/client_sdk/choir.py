"""A real service on loopback and real partner folders around it, for tests of the partner's side.

The operator is played by hand: it signs what `chorale-server` would. Nothing is faked but the operator's person.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import uvicorn
from numpy.typing import NDArray

from aggregator.app import create_app
from aggregator.settings import Settings
from aggregator.storage.folder import create_server_folder
from client_sdk.agent import Agent
from client_sdk.attempt import Outcome
from client_sdk.enrolment import accept_charter, enrol, offered_charter
from client_sdk.model_state import ModelState, genesis
from client_sdk.partner import Outside, Partner
from client_sdk.progress import Silent
from privacy.clock import Clock, SystemClock
from privacy.dp.events import PrivacyEvent, TableRow
from privacy.protocol.canonical import canonical
from privacy.protocol.identifiers import OPERATOR, ZERO_DIGEST
from privacy.protocol.messages import (
    Campaign,
    Charter,
    Deadlines,
    Enrolment,
    ParameterShape,
    Plan,
    RosterEntry,
    UpdateRule,
    VectorLayout,
    parse_signed,
)
from privacy.protocol.signing import SigningKey, countersign, sign
from privacy.randomness import SystemRandom
from tests.consortium import SeededSource, done
from tests.signed_client import SignedClient

EVENT = PrivacyEvent(kind="distributed", noise_multiplier=2.0, sampling_rate=0.05, steps=1)
STATISTICS = PrivacyEvent(kind="statistics", noise_multiplier=20.0, sampling_rate=1.0, steps=1)
PARAMETERS = 3000
PROBES = 1024
PASSPHRASE = "a passphrase of several words"

SETTINGS = """
version = 1
[partner]
id = "{name}"
name = "{title}"
[server]
url = "{url}"
patience = {patience}
[caps]
epsilon_alone = 50.0
epsilon_in_sum = 20.0
delta = 1e-5
[policy]
max_epsilon_alone = 50.0
max_epsilon_in_sum = 20.0
records = 1000
"""


def outside(**changes: Any) -> Outside:
    return Outside(**{"clock": SystemClock(), "source": SystemRandom(), "progress": Silent(), **changes})


def passphrase() -> str:
    return PASSPHRASE


def as_it_is(app: Any) -> Any:
    return app


@contextmanager
def serving(settings: Settings, clock: Clock | None = None, wrap: Callable[[Any], Any] = as_it_is) -> Iterator[str]:
    """The service's address; it runs in a thread of this process. `wrap`: what stands before it."""
    with ThreadPoolExecutor(1) as pool, socket.create_server(("127.0.0.1", 0)) as listening:
        app = wrap(create_app(settings, clock or SystemClock(), SystemRandom(), pool))
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False, timeout_graceful_shutdown=1))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        try:
            while not server.started:
                time.sleep(0.01)
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(timeout=10)


class Choir:
    """n partners, constituted through the partner's own commands."""

    def __init__(
        self,
        root: Path,
        url: str,
        operator: SigningKey,
        size: int = 3,
        n_min: int = 3,
        patience: float = 20.0,
        http: httpx.Client | None = None,
        around: Callable[..., Outside] = outside,
        parameters: int = PARAMETERS,
    ) -> None:
        """`http`, `around`: the operator's line to the service, and everyone's world, where not the real ones."""
        self.root = root
        self.parameters = parameters
        self.url = url
        self.size = size
        self.n_min = n_min
        self.names = [f"partner-{place:02d}" for place in range(1, size + 1)]
        self._key = operator
        self._http = http or httpx.Client(base_url=url, timeout=60)
        self._around = around
        self.operator = SignedClient(self._http, OPERATOR, operator, around().clock, SeededSource("operator"))
        for name in self.names:
            folder = root / name
            folder.mkdir()
            text = SETTINGS.format(name=name, title=name.title(), url=url, patience=patience)
            (folder / "partner.toml").write_text(text)

    @property
    def operator_key(self) -> SigningKey:
        return self._key

    def config(self, name: str) -> Path:
        return self.root / name / "partner.toml"

    def partner(self, name: str, **changes: Any) -> Partner:
        return Partner.open(self.config(name), self._around(**changes), passphrase)

    def partner_to_read(self, name: str) -> Partner:
        return Partner.open_to_read(self.config(name), self._around(), passphrase)

    def agent(self, name: str, **changes: Any) -> Agent:
        return Agent.open(self.config(name), passphrase=passphrase, outside=self._around(**changes))

    # --- what the operator does -----------------------------------------------------------------------

    def constitute(self, **charter: Any) -> tuple[Charter, Campaign, ModelState]:
        self.enrol_all()
        self.charter = self.draft_charter(**charter)
        for name in self.names:
            with self.partner(name) as partner:
                offered = offered_charter(partner)
                accept_charter(partner, offered, offered.charter.digest)
        state, campaign = self.make_campaign()
        return self.charter, campaign, state

    def enrol_all(self) -> None:
        for name in self.names:
            invited = self.operator.post("/v1/invitations", {"partner": name, "expires_in_seconds": 3600})
            enrol(self.config(name), done(invited, 201)["token"], self._around(), passphrase)
            done(self.operator.post(f"/v1/enrolments/{name}/approval"))

    def draft_charter(self, **changes: Any) -> Charter:
        listed = done(self.operator.get("/v1/enrolments"))["enrolments"]
        enrolled = [parse_signed(Enrolment, canonical(line["enrolment"])).body for line in listed]
        about = done(self._http.get("/v1/about"))
        values: dict[str, Any] = {
            "consortium": "Test choir",
            "epoch": 1,
            "previous": ZERO_DIGEST,
            "roster": tuple(
                RosterEntry(**body.model_dump(exclude={"type", "invitation"}))
                for body in sorted(enrolled, key=lambda body: body.partner)
            ),
            "n_min": self.n_min,
            "colluders": 1,
            "parameter_set": "bfv-4096-60",
            "privacy_unit": "one compound with all its measurements",
            "table": (
                TableRow(name="statistics", event=STATISTICS, count=2),
                TableRow(name="training", event=EVENT, count=40),
            ),
            "allow_none": False,
            "lead": self.names[0],
            "operator_keys": self._key.public,
            "server_keys": about["server_keys"],
        }
        charter = Charter.model_validate({**values, **changes})
        done(self.operator.post("/v1/charters", sign(charter, OPERATOR, self._key)), 201)
        return charter

    def make_campaign(self, **changes: Any) -> tuple[ModelState, Campaign]:
        rule = UpdateRule(kind="sgd", learning_rate=0.5)
        state = genesis(rule, np.zeros(self.parameters), SeededSource("genesis"))
        values: dict[str, Any] = {
            "charter": self.charter.digest,
            "name": "trunk",
            "parameters": (ParameterShape(name="weight", shape=(self.parameters,)),),
            "update_rule": rule,
            "clip": 1.0,
            "denominator": 100.0,
            "genesis": state.digest,
        }
        draft = Campaign.model_validate({**values, **changes})
        with self.agent(self.charter.lead) as lead:
            signed = lead.publish_genesis(draft, state)
        both = countersign(signed, OPERATOR, self._key)
        done(self.operator.post(f"/v1/campaigns/{draft.digest}/countersignature", both), 201)
        self.signed_campaign = both
        return state, draft

    def post_plan(
        self, campaign: Campaign, base: str, seconds: tuple[int, int, int] = (30, 60, 90), **changes: Any
    ) -> Plan:
        now = int(self._around().clock.now())
        values: dict[str, Any] = {
            "charter": self.charter.digest,
            "campaign": campaign.digest,
            "round": 1,
            "attempt": 1,
            "kind": "training",
            "base_state": base,
            "layout": VectorLayout(parameters=self.parameters, probes=PROBES, lane_width=24, shift=8),
            "event": EVENT,
            "deadlines": Deadlines(join=now + seconds[0], upload=now + seconds[1], open=now + seconds[2]),
        }
        plan = Plan.model_validate({**values, **changes})
        done(self.operator.post("/v1/rounds", sign(plan, OPERATOR, self._key)), 201)
        self.last_plan = plan
        return plan

    def document(self, plan: Plan) -> dict[str, Any]:
        shown: dict[str, Any] = done(self.operator.get(f"/v1/rounds/{plan.digest}"))
        return shown


def values_for(name: str, length: int = PARAMETERS + PROBES) -> NDArray[np.int32]:
    """Plain integers, different for each partner: what a round without training adds up."""
    words = np.frombuffer(SeededSource(name).bytes(4 * length), dtype="<u4")
    return (words % np.uint32(2001)).astype(np.int32) - 1000


def take_part(agent: Agent, campaign: Campaign, upload: bool = True) -> Outcome:
    """One attempt to its end, from wherever this partner stands: a new one, or one that a crash cut off.

    `upload` False: it joins, and never comes back with data.
    """
    for item in agent.attend(campaign, agent.current_state(campaign), take_part=True):
        if isinstance(item, Outcome):
            return item
        joined = agent.join(item)
        if upload:
            agent.contribute(joined, values_for(agent.partner.name))
        return agent.finish(joined)
    raise AssertionError("stopped")


@contextmanager
def choir(
    root: Path,
    size: int = 3,
    n_min: int = 3,
    clock: Clock | None = None,
    wrap: Callable[[Any], Any] = as_it_is,
    parameters: int = PARAMETERS,
) -> Iterator[Choir]:
    """A constituted consortium of `size` on its own service."""
    operator = SigningKey.generate(SeededSource("operator key"))
    folder = root / "server"
    create_server_folder(folder, operator.public, SystemRandom())
    with ExitStack() as stack:
        url = stack.enter_context(serving(Settings(folder=folder, shard_bytes=32768, sum_workers=1), clock, wrap))
        around = partial(outside, clock=clock or SystemClock())
        yield Choir(root, url, operator, size, n_min, around=around, parameters=parameters)


def together(names: list[str], act: Any) -> dict[str, Any]:
    """Run `act(name)` for each partner at once; what each gave. An error in one is raised."""
    with ThreadPoolExecutor(len(names)) as pool:
        return dict(zip(names, pool.map(act, names), strict=True))
