"""A sealed attempt of four partners, built from real keys and boxes, for tests of the checks."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from privacy.dp.caps import Caps
from privacy.dp.events import PrivacyEvent, TableRow
from privacy.he.boxes import BoxKey, encode_shares, seal_box, share_box_info
from privacy.he.lanes import LaneLayout
from privacy.he.shamir import deal
from privacy.protocol.canonical import digest
from privacy.protocol.identifiers import ZERO_DIGEST
from privacy.protocol.messages import (
    AddressedDigest,
    Campaign,
    ChainHead,
    Charter,
    Cohort,
    CohortMember,
    Contributor,
    Deadlines,
    Join,
    Manifest,
    ParameterShape,
    Plan,
    RosterEntry,
    Seal,
    ShardRoot,
    Signed,
    UpdateRule,
    VectorLayout,
)
from privacy.protocol.opening_checks import OpeningRequest, OwnUpload
from privacy.protocol.round_state import quorum
from privacy.protocol.signing import SigningKey, countersign, sign
from privacy.randomness import Keystream

PARTNERS = ("alpha", "beta", "delta", "gamma")
EVENT = PrivacyEvent(kind="distributed", noise_multiplier=1.0, sampling_rate=0.1, steps=1)
CAPS = Caps(epsilon_alone=60.0, epsilon_in_sum=10.0, delta=1e-5)


def key(number: int) -> SigningKey:
    return SigningKey(bytes([number]) * 64)


OPERATOR_KEY, SERVER_KEY = key(200), key(201)
KEYS = {name: key(1 + index) for index, name in enumerate(PARTNERS)}
RESULT_KEYS = {name: BoxKey.generate() for name in PARTNERS}
ROUND_KEYS = {name: BoxKey.generate() for name in PARTNERS}


def make_charter(**changes: object) -> Charter:
    fields: dict[str, object] = {
        "consortium": "Four",
        "epoch": 1,
        "previous": ZERO_DIGEST,
        "roster": tuple(
            RosterEntry(
                partner=name,
                name=name.title(),
                signing_keys=KEYS[name].public,
                result_key=RESULT_KEYS[name].public_bytes.hex(),
                caps=CAPS,
            )
            for name in PARTNERS
        ),
        "n_min": 3,
        "colluders": 1,
        "parameter_set": "bfv-4096-60",
        "privacy_unit": "one compound with all its labels",
        "table": (TableRow(name="train", event=EVENT, count=20),),
        "allow_none": False,
        "lead": "alpha",
        "operator_keys": OPERATOR_KEY.public,
        "server_keys": SERVER_KEY.public,
    }
    return Charter(**{**fields, **changes})  # type: ignore[arg-type]


def make_campaign(charter: Charter) -> Signed[Campaign]:
    campaign = Campaign(
        charter=charter.digest,
        name="Trunk",
        parameters=(ParameterShape(name="weight", shape=(10, 10)),),
        update_rule=UpdateRule(kind="sgd", learning_rate=1.0),
        clip=1.0,
        denominator=100.0,
        genesis="11" * 32,
    )
    return countersign(sign(campaign, charter.lead, KEYS[charter.lead]), "operator", OPERATOR_KEY)


def make_plan(charter: Charter, campaign: Campaign, /, **changes: object) -> Plan:
    fields: dict[str, object] = {
        "charter": charter.digest,
        "campaign": campaign.digest,
        "round": 1,
        "attempt": 1,
        "kind": "training",
        "base_state": campaign.genesis,
        "layout": VectorLayout(parameters=100, probes=1024, lane_width=16, shift=14, scale=None),
        "event": EVENT,
        "deadlines": Deadlines(join=1000, upload=2000, open=3000),
    }
    return Plan(**{**fields, **changes})  # type: ignore[arg-type]


@dataclass
class SealedAttempt:
    """Everything that a partner sees of an attempt; tests change one thing and ask whether it is noticed."""

    charter: Charter
    plan: Signed[Plan]
    cohort: Cohort
    manifests: dict[str, Signed[Manifest]] = field(default_factory=dict)
    boxes: dict[tuple[str, str], bytes] = field(default_factory=dict)
    shares: dict[tuple[str, str], np.ndarray] = field(default_factory=dict)

    def seal(self, contributors: tuple[str, ...] = PARTNERS, /, **changes: object) -> Seal:
        fields: dict[str, object] = {
            "charter": self.charter.digest,
            "plan": self.plan.digest,
            "cohort": self.cohort.digest,
            "contributors": tuple(
                Contributor(partner=name, manifest=self.manifests[name].digest) for name in contributors
            ),
            "sum": ShardRoot(root="22" * 32, count=1, shard_bytes=1 << 20),
        }
        return Seal(**{**fields, **changes})  # type: ignore[arg-type]

    def request(self, seal: Seal, /, partner: str = "alpha", **changes: object) -> OpeningRequest:
        fields: dict[str, object] = {
            "partner": partner,
            "charter": self.charter,
            "plan": self.plan,
            "cohort": self.cohort,
            "seal": sign(seal, "server", SERVER_KEY),
            "manifests": self.manifests,
            "accepted_plan": self.plan.digest,
            "accepted_cohort": self.cohort.digest,
            "own_upload": OwnUpload(self.manifests[partner].digest, receipted=True),
            "opened_set": None,
        }
        return OpeningRequest(**{**fields, **changes})  # type: ignore[arg-type]


def make_manifest(attempt: SealedAttempt, dealer: str, **changes: object) -> Manifest:
    lanes = LaneLayout(attempt.plan.body.layout.lane_width, attempt.charter.n_max)
    fields: dict[str, object] = {
        "charter": attempt.charter.digest,
        "plan": attempt.plan.digest,
        "cohort": attempt.cohort.digest,
        "partner": dealer,
        "coefficients": lanes.polynomials(attempt.plan.body.layout.length) * 4096,
        "shards": ShardRoot(root=digest(dealer.encode()), count=1, shard_bytes=1 << 20),
        "boxes": tuple(
            AddressedDigest(receiver=name, digest=digest(attempt.boxes[dealer, name])) for name in PARTNERS
        ),
    }
    return Manifest(**{**fields, **changes})  # type: ignore[arg-type]


def make_joins(charter: Charter, plan: Plan) -> dict[str, Signed[Join]]:
    return {
        name: sign(
            Join(
                charter=charter.digest,
                plan=plan.digest,
                partner=name,
                round_key=ROUND_KEYS[name].public_bytes.hex(),
                ledger=ChainHead(count=5, head="33" * 32),
            ),
            name,
            KEYS[name],
        )
        for name in PARTNERS
    }


def make_cohort(charter: Charter, plan: Plan, joins: dict[str, Signed[Join]]) -> Cohort:
    members = tuple(CohortMember(partner=name, join=joins[name].digest) for name in sorted(joins))
    return Cohort(charter=charter.digest, plan=plan.digest, members=members)


def box_for(attempt: SealedAttempt, dealer: str, receiver: str, plaintext: bytes) -> bytes:
    info = share_box_info(
        bytes.fromhex(attempt.plan.digest),
        bytes.fromhex(attempt.cohort.digest),
        dealer,
        receiver,
        bytes.fromhex(digest(dealer.encode())),
    )
    return seal_box(ROUND_KEYS[receiver].public_bytes, info, plaintext)


def make_attempt() -> SealedAttempt:
    charter = make_charter()
    plan = make_plan(charter, make_campaign(charter).body)
    cohort = make_cohort(charter, plan, make_joins(charter, plan))
    attempt = SealedAttempt(charter, sign(plan, "operator", OPERATOR_KEY), cohort)
    for index, dealer in enumerate(PARTNERS):
        secret = np.arange(4096, dtype=np.int64) % 7 - 3
        dealt = deal(secret, len(PARTNERS), quorum(len(PARTNERS), 1), Keystream(bytes([index]) * 32))
        for point, receiver in enumerate(PARTNERS):
            attempt.shares[dealer, receiver] = dealt[point]
            attempt.boxes[dealer, receiver] = box_for(attempt, dealer, receiver, encode_shares(dealt[point]))
        attempt.manifests[dealer] = sign(make_manifest(attempt, dealer), dealer, KEYS[dealer])
    return attempt
