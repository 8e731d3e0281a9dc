"""Real bytes of each kind that parsers take: messages of one attempt, exports, a report, settings and key files."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import numpy as np
import zstandard

from client_sdk.model_state import genesis
from privacy.he.boxes import BoxKey
from privacy.he.parameters import DEFAULT
from privacy.he.ring import BATCH, ciphertext_container
from privacy.protocol import messages
from privacy.protocol.canonical import canonical
from privacy.protocol.http_contract import RequestClaims
from privacy.protocol.messages import Body, UpdateRule
from privacy.protocol.sealed_file import seal_secret
from privacy.protocol.signing import sign
from privacy.report.render import rendered
from privacy.report.signature import sign_report
from tests.consortium import SeededSource
from tests.privacy.ledger.chains import small_chain
from tests.privacy.ledger.exports import small_own_export
from tests.privacy.protocol import sealed_attempt
from tests.privacy.report import reports

VECTORS = Path(__file__).parents[1] / "vectors"
SOURCE = SeededSource("real bytes")
BOX_KEY = BoxKey.from_private_bytes(bytes(range(96)))
BOX_INFO = b"info"


def vectors() -> list[bytes]:
    """Whatever tests/vectors/protocol.json holds in hexadecimal, and canonical JSON that is refused."""
    found: list[bytes] = []

    def walk(node: object) -> None:
        if isinstance(node, dict):
            for value in node.values():
                walk(value)
        elif isinstance(node, list):
            for value in node:
                walk(value)
        elif isinstance(node, str) and len(node) % 2 == 0:
            try:
                found.append(bytes.fromhex(node))
            except ValueError:
                found.append(node.encode())

    walk(json.loads((VECTORS / "protocol.json").read_text(encoding="utf-8")))
    return sorted({one for one in found if one}, key=len)


@cache
def attempt() -> sealed_attempt.SealedAttempt:
    return sealed_attempt.make_attempt()


@cache
def signed() -> list[bytes]:
    """Signed messages of an attempt, one of most kinds."""
    made = attempt()
    name = sealed_attempt.PARTNERS[0]
    under = {"charter": made.charter.digest, "plan": made.plan.digest}
    chain = messages.ChainHead(count=5, head="33" * 32)
    bodies: list[Body] = [
        made.charter,
        made.cohort,
        made.seal(),
        messages.CharterAcceptance(charter=made.charter.digest, partner=name),
        messages.Receipt(**under, cohort=made.cohort.digest, partner=name, manifest="ab" * 32),
        messages.Refusal(**under, partner=name, check=6, reason="a box that does not open"),
        messages.Abort(**under, reason="a reason"),
        messages.VoidVote(**under, seal="ab" * 32, partner=name, openings=("ab" * 32,), reason="no decoding works"),
        messages.Checkpoint(charter=made.charter.digest, chain=chain),
        messages.Confirmation(
            **under,
            seal="ab" * 32,
            partner=name,
            state="cd" * 32,
            fingerprints=(messages.UploadFingerprint(partner=name, fingerprint=("1", "2")),),
            checkpoint=chain,
            probes=messages.ProbeFigures(ratio=1.0, total_ratio=1.0, total_probes=1024),
        ),
        messages.Enrolment(
            invitation="ab" * 32,
            partner=name,
            name="Alpha",
            signing_keys=sealed_attempt.KEYS[name].public,
            result_key=sealed_attempt.RESULT_KEYS[name].public_bytes.hex(),
            caps=sealed_attempt.CAPS,
        ),
    ]
    signed = [sign(body, name, sealed_attempt.KEYS[name]).canonical_bytes for body in bodies]
    join = sealed_attempt.make_joins(made.charter, made.plan.body)[name]
    campaign = sealed_attempt.make_campaign(made.charter)
    return [
        *signed,
        join.canonical_bytes,
        campaign.canonical_bytes,
        made.plan.canonical_bytes,
        *(manifest.canonical_bytes for manifest in list(made.manifests.values())[:1]),
    ]


def of(kind: type[Body]) -> list[bytes]:
    name = kind.model_fields["type"].default
    return [raw for raw in signed() if f'"type":"{name}"'.encode() in raw]


def enrolment_requests() -> list[bytes]:
    return [canonical({"token": "a token", "enrolment": json.loads(raw)}) for raw in of(messages.Enrolment)]


PROBLEMS = [
    b'{"came":"b","expected":"a","number":6,"remedy":"c","status":422,"type":"urn:chorale:problem:opening-refused"}',
    b'{"came":"b","expected":"a","line":6,"remedy":"c","status":422,"type":"urn:chorale:problem:ledger-broken"}',
]


def round_document() -> list[bytes]:
    made = attempt()
    shown = {
        "round": made.plan.digest,
        "version": 3,
        "state": "opening",
        "number": 1,
        "attempt": 1,
        "plan": json.loads(made.plan.canonical_bytes),
        "joined": ["alpha"],
        "cohort": made.cohort.digest,
        "manifests": ["alpha"],
        "uploaded": ["alpha"],
        "seal": json.loads(sign(made.seal(), "server", sealed_attempt.SERVER_KEY).canonical_bytes),
        "openings": [],
        "confirmations": {"alpha": "ab" * 32},
        "probes": {},
        "refusals": [],
        "voids": [],
        "close": None,
        "receipts": ["alpha"],
        "seconds": {"joining": 1.0},
    }
    return [canonical(shown)]


def dealt() -> list[bytes]:
    made = attempt()
    rows = [made.shares["alpha", receiver].astype("<u4").tobytes() for receiver in sealed_attempt.PARTNERS]
    return [b"".join(rows), b"".join(rows[:3])]


def states() -> list[bytes]:
    rules = (
        UpdateRule(kind="sgd", learning_rate=0.5),
        UpdateRule(kind="adam", learning_rate=0.5),
    )
    return [genesis(rule, np.linspace(-1, 1, 7), SOURCE).to_bytes() for rule in rules]


def containers() -> list[bytes]:
    words = bytes(2 * 8 * DEFAULT.degree)
    plain = ciphertext_container(2, ntt=True) + words
    head = plain[:16]
    packed = zstandard.ZstdCompressor().compress(plain[16:])
    # The header's fifth byte says how the rest is packed, its last eight how long the whole is.
    compressed = head[:5] + b"\x02" + head[6:8] + (16 + len(packed)).to_bytes(8, "little") + packed
    return [plain, compressed, plain[:300], ciphertext_container(BATCH, ntt=False)]


def entry_lines() -> list[bytes]:
    return [b"".join(small_chain().lines), b"".join(small_own_export()[4:])]


@cache
def report() -> tuple[bytes, bytes]:
    made, _ = reports.consortium(3, 2)
    built = reports.report(3, 2)
    charter = sign(made, "operator", sealed_attempt.OPERATOR_KEY)
    accepted = [
        sign(messages.CharterAcceptance(charter=made.digest, partner=name), name, sealed_attempt.OPERATOR_KEY)
        for name in made.partners
    ]
    raw = rendered(built, "json", "en")
    return raw, sign_report(
        built, "json", raw, charter, accepted, "server", sealed_attempt.SERVER_KEY
    ).canonical_bytes


PARTNER_TOML = b"""version = 1
[partner]
id = "alpha"
name = "Alpha"
[server]
url = "http://127.0.0.1:8470"
[caps]
epsilon_alone = 34.0
epsilon_in_sum = 8.0
delta = 1e-5
[policy]
max_epsilon_alone = 34.0
max_epsilon_in_sum = 8.0
records = 1000
"""
DRAFT_TOML = b"""consortium = "Choir"
n_min = 3
colluders = 1
lead = "alpha"
privacy_unit = "one compound"
partners = ["alpha", "beta", "gamma"]
[[table]]
name = "train"
kind = "distributed"
noise_multiplier = 1.0
sampling_rate = 0.1
count = 20
"""
CAMPAIGN_TOML = b"""name = "trunk"
genesis = "fresh"
model = "model.py:build"
shared = ["trunk"]
clip = 1.0
denominator = 100.0
[update_rule]
kind = "sgd"
learning_rate = 0.5
"""


@cache
def sealed_files() -> list[bytes]:
    return [seal_secret(b"a secret", "a passphrase", SOURCE)]


def headers() -> list[bytes]:
    claims = RequestClaims("alpha", 1, "ab" * 16, "cd" * 32, "ef" * 64).headers()
    return ["\n".join(f"{name}:{value}" for name, value in claims.items()).encode()]


def officer_keys() -> list[bytes]:
    return [canonical(sealed_attempt.OPERATOR_KEY.public.model_dump(mode="json")) + b"\n"]
