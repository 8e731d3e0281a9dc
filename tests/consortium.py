"""A consortium for tests: n partners with real keys, a charter, a campaign and plans, and clients that sign.

Deterministic but for HPKE and ML-DSA, which draw from OpenSSL. The clock stands until a test moves it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from aggregator.settings import Settings
from aggregator.storage.folder import create_server_folder
from privacy.dp.caps import Caps
from privacy.dp.events import PrivacyEvent, TableRow
from privacy.he.boxes import BoxKey
from privacy.protocol.canonical import canonical
from privacy.protocol.identifiers import OPERATOR, ZERO_DIGEST
from privacy.protocol.messages import (
    BodyT,
    Campaign,
    Charter,
    CharterAcceptance,
    Deadlines,
    Enrolment,
    Join,
    ParameterShape,
    Plan,
    RosterEntry,
    Signed,
    SigningKeys,
    UpdateRule,
    VectorLayout,
)
from privacy.protocol.signing import SigningKey, countersign, sign
from privacy.randomness import Keystream
from tests.signed_client import SignedClient

START = 1_800_000_000
EVENT = PrivacyEvent(kind="distributed", noise_multiplier=2.0, sampling_rate=0.05, steps=1)
PROBES = 1024


class SeededSource:
    """A RandomSource that repeats itself: for tests alone."""

    def __init__(self, seed: str) -> None:
        self._stream = Keystream(hashlib.sha256(seed.encode()).digest())

    def bytes(self, count: int) -> bytes:
        return self._stream.bytes(count)


@dataclass
class ManualClock:
    """A Clock that a test moves."""

    seconds: float = START

    def now(self) -> float:
        return self.seconds


@dataclass
class PartnerKeys:
    name: str
    signing: SigningKey
    result: BoxKey


@dataclass
class TestConsortium:
    """Keys and messages of n partners; nothing here talks to a service but through clients that it is given."""

    __test__ = False

    size: int = 3
    n_min: int = 3
    colluders: int = 1
    parameters: int = 20_000
    lane_width: int = 24
    shift: int = 8
    count: int = 5
    event: PrivacyEvent = EVENT
    clock: ManualClock = field(default_factory=ManualClock)
    caps: Caps = field(default_factory=lambda: Caps(epsilon_alone=50.0, epsilon_in_sum=20.0, delta=1e-5))

    def __post_init__(self) -> None:
        self.source = SeededSource("consortium")
        self.operator = SigningKey.generate(self.source)
        self.partners = [
            PartnerKeys(f"partner-{place:02d}", SigningKey.generate(self.source), BoxKey.generate())
            for place in range(1, self.size + 1)
        ]
        self.names = [partner.name for partner in self.partners]
        self.server_keys: SigningKeys | None = None

    def keys(self, name: str) -> PartnerKeys:
        return self.partners[self.names.index(name)]

    def server_folder(self, path: Path, shard_bytes: int = 32768) -> Settings:
        """A server folder whose operator is this consortium's, and its settings."""
        self.server_keys = create_server_folder(
            path, self.operator.public, SeededSource("server"), shard_bytes=shard_bytes
        )
        return Settings(folder=path, shard_bytes=shard_bytes, sum_workers=1)

    def client(self, http: httpx.Client, identity: str) -> SignedClient:
        key = self.operator if identity == OPERATOR else self.keys(identity).signing
        return SignedClient(http, identity, key, self.clock, self.source)

    # --- messages -------------------------------------------------------------------------------------

    def enrolment(self, name: str, invitation_token: str) -> Signed[Enrolment]:
        partner = self.keys(name)
        body = Enrolment(
            invitation=hashlib.sha256(invitation_token.encode()).hexdigest(),
            partner=name,
            name=name.title(),
            signing_keys=partner.signing.public,
            result_key=partner.result.public_bytes.hex(),
            caps=self.caps,
        )
        return sign(body, name, partner.signing)

    def charter(self, **changes: Any) -> Charter:
        assert self.server_keys is not None
        values: dict[str, Any] = {
            "consortium": "Test choir",
            "epoch": 1,
            "previous": ZERO_DIGEST,
            "roster": tuple(
                RosterEntry(
                    partner=partner.name,
                    name=partner.name.title(),
                    signing_keys=partner.signing.public,
                    result_key=partner.result.public_bytes.hex(),
                    caps=self.caps,
                )
                for partner in self.partners
            ),
            "n_min": self.n_min,
            "colluders": self.colluders,
            "parameter_set": "bfv-4096-60",
            "privacy_unit": "one compound with all its measurements",
            "table": (TableRow(name="training", event=self.event, count=self.count),),
            "allow_none": False,
            "lead": self.names[0],
            "operator_keys": self.operator.public,
            "server_keys": self.server_keys,
        }
        return Charter(**{**values, **changes})

    def acceptance(self, charter: Charter, name: str) -> Signed[CharterAcceptance]:
        body = CharterAcceptance(charter=charter.digest, partner=name)
        return sign(body, name, self.keys(name).signing)

    def campaign(self, charter: Charter, **changes: Any) -> Campaign:
        values: dict[str, Any] = {
            "charter": charter.digest,
            "name": "trunk",
            "parameters": (ParameterShape(name="weight", shape=(self.parameters,)),),
            "update_rule": UpdateRule(kind="sgd", learning_rate=0.5),
            "clip": 1.0,
            "denominator": 100.0,
            "genesis": hashlib.sha256(b"genesis").hexdigest(),
        }
        return Campaign(**{**values, **changes})

    def plan(self, charter: Charter, campaign: Campaign, **changes: Any) -> Plan:
        now = int(self.clock.now())
        values: dict[str, Any] = {
            "charter": charter.digest,
            "campaign": campaign.digest,
            "round": 1,
            "attempt": 1,
            "kind": "training",
            "base_state": campaign.genesis,
            "layout": VectorLayout(
                parameters=self.parameters, probes=PROBES, lane_width=self.lane_width, shift=self.shift
            ),
            "event": self.event,
            "deadlines": Deadlines(join=now + 60, upload=now + 120, open=now + 180),
        }
        return Plan(**{**values, **changes})

    def join(self, plan: Plan, name: str, round_key: BoxKey) -> Signed[Join]:
        body = Join(
            charter=plan.charter,
            plan=plan.digest,
            partner=name,
            round_key=round_key.public_bytes.hex(),
            ledger={"count": 0, "head": ZERO_DIGEST},  # type: ignore[arg-type]
        )
        return sign(body, name, self.keys(name).signing)

    def by_operator(self, body: BodyT) -> Signed[BodyT]:
        return sign(body, OPERATOR, self.operator)

    def by(self, name: str, body: BodyT) -> Signed[BodyT]:
        return sign(body, name, self.keys(name).signing)

    # --- over HTTP

    def constitute(self, http: httpx.Client, **changes: Any) -> tuple[Charter, Campaign]:
        """Enrol everyone, bring a charter (with these changes) into force, and have a campaign countersigned."""
        operator = self.client(http, OPERATOR)
        for name in self.names:
            invited = operator.post("/v1/invitations", {"partner": name, "expires_in_seconds": 3600})
            token = done(invited, 201)["token"]
            message = self.enrolment(name, token)
            body = canonical({"token": token, "enrolment": message.model_dump(mode="json")})
            done(http.post("/v1/enrolments", content=body), 201)
            done(operator.post(f"/v1/enrolments/{name}/approval"))
        charter = self.charter(**changes)
        done(operator.post("/v1/charters", self.by_operator(charter)), 201)
        for name in self.names:
            target = f"/v1/charters/{charter.digest}/acceptances"
            done(self.client(http, name).post(target, self.acceptance(charter, name)), 201)
        campaign = self.campaign(charter)
        signed = self.by(charter.lead, campaign)
        done(self.client(http, charter.lead).post("/v1/campaigns", signed), 201)
        both = countersign(signed, OPERATOR, self.operator)
        done(operator.post(f"/v1/campaigns/{campaign.digest}/countersignature", both), 201)
        return charter, campaign


def done(response: httpx.Response, status: int = 200) -> Any:
    """The answer's JSON, or its bytes; fails with the problem where it is another status."""
    assert response.status_code == status, response.text
    kind = response.headers.get("content-type", "")
    return response.json() if kind == "application/json" else response.content


def refused(response: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """The problem, which must have this status and code and say what to do."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = response.json()
    assert problem["type"] == f"urn:chorale:problem:{code}"
    assert problem["status"] == status
    assert problem["expected"]
    assert problem["came"]
    assert problem["remedy"]
    return problem


def uniform_vector(source: SeededSource, length: int, bound: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    """int64[length] within [-bound, bound]."""
    words = np.frombuffer(source.bytes(8 * length), dtype="<u8")
    return (words % np.uint64(2 * bound + 1)).astype(np.int64) - bound
