"""Every parser of bytes that come from outside, and what to start from: real ones of each.

Rules:
1. A target takes bytes and returns, or raises an error of privacy/errors.py; anything else is a finding.
2. Signatures are taken for true (`Gullible`) where a reader asks a verifier: what stands behind is what a partner,
   an operator or a service that turned bad can reach.
3. Seeds are real bytes of each kind (real.py), tests/vectors among them.
"""

from __future__ import annotations

import io
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from aggregator.api import models
from aggregator.api.routes import read_model
from aggregator.operator.answers import CampaignRecord, CharterRecord, Enrolments, RoundDocument
from aggregator.operator.charter_draft import read_draft
from aggregator.operator.client import answer_of
from aggregator.rounds.upload import ExpectedShard, ShardIntake
from client_sdk.answers import read_document, read_messages, read_missing
from client_sdk.campaign_file import read_campaign_file
from client_sdk.model_state import ModelState
from client_sdk.officer_consent import public_key
from client_sdk.settings import load_settings
from client_sdk.transport import json_object
from privacy.errors import ChoraleError
from privacy.he.boxes import PUBLIC_BYTES, check_public_key, decode_shares, open_box, seal_box
from privacy.he.parameters import DEFAULT
from privacy.he.ring import ciphertext_words
from privacy.he.shamir import recover
from privacy.ledger.chain import verify_lines
from privacy.ledger.export import read_file
from privacy.ledger.verification import verify_export
from privacy.protocol import messages
from privacy.protocol.canonical import canonical, parse
from privacy.protocol.http_contract import RequestClaims, frame, split_frame
from privacy.protocol.messages import Body, BodyT, Signed, SigningKeys, parse_signed
from privacy.protocol.plan_checks import check_campaign, check_charter, check_plan
from privacy.protocol.problems import error_of
from privacy.protocol.sealed_file import open_secret
from privacy.protocol.signing import Verifier
from privacy.report.signature import read_signature, verify_report
from tests.fuzzing import real, returned
from tests.privacy.ledger.exports import small_export, small_own_export
from tests.privacy.protocol.sealed_attempt import make_campaign

BODIES: dict[str, type[Body]] = {
    kind.model_fields["type"].default: kind
    for kind in (getattr(messages, name) for name in messages.__all__)
    if isinstance(kind, type) and issubclass(kind, Body) and kind.model_fields["type"].default
}


@dataclass(frozen=True)
class Target:
    read: Callable[[bytes], object]
    seeds: Callable[[], list[bytes]]


class Gullible(Verifier):
    def verify(self, signed: Signed[BodyT], keys: Mapping[str, SigningKeys]) -> BodyT:
        return signed.body


# --- messages -----------------------------------------------------------------------------------------------


def _kind(raw: bytes) -> type[Body]:
    """The body that a message says it is; a charter where it does not say."""
    named = next((kind for name, kind in BODIES.items() if f'"type":"{name}"'.encode() in raw), None)
    return named or messages.Charter


def _message(raw: bytes) -> object:
    return parse_signed(_kind(raw), raw).digest


def _charter(raw: bytes) -> object:
    charter = parse_signed(messages.Charter, raw).body
    # Accounting costs time by what it counts: bounded where a charter is drafted and accepted, not here.
    if sum(row.count * row.event.steps for row in charter.table) <= 1000:
        check_charter(charter)
    return charter.digest


def _campaign(raw: bytes) -> object:
    return check_campaign(parse_signed(messages.Campaign, raw), real.attempt().charter, Gullible())


def _plan(raw: bytes) -> object:
    campaign = make_campaign(real.attempt().charter).body
    return check_plan(parse_signed(messages.Plan, raw), real.attempt().charter, campaign, Gullible())


def _enrolment(raw: bytes) -> object:
    wanted = read_model(models.EnrolmentRequest, raw)
    return parse_signed(messages.Enrolment, canonical(wanted.enrolment))


# --- around messages ----------------------------------------------------------------------------------------


def _frame(raw: bytes) -> object:
    message, attachment = split_frame(raw)
    return parse_signed(_kind(message), message), attachment


def _claims(raw: bytes) -> object:
    """Headers, one a line."""
    lines = [line.partition(b":") for line in raw.split(b"\n")]
    return RequestClaims.read({name.decode("latin-1").strip(): value.decode("latin-1") for name, _, value in lines})


def _problem(raw: bytes) -> object:
    return error_of(json_object(raw, "/v1/about"), 409)


def _answer(raw: bytes) -> object:
    """What a partner reads of a service that answers anything."""
    answered = json_object(raw, "/v1/about")
    for read in (
        lambda: read_document(answered, real.attempt().plan.digest),
        lambda: read_messages(messages.Manifest, answered, "manifests"),
        lambda: read_missing(answered),
    ):
        _ours(read)
    return answered


def _operators_answer(raw: bytes) -> object:
    for model in (RoundDocument, CharterRecord, CampaignRecord, Enrolments):
        _ours(lambda model=model: answer_of(model, "/v1/about", raw))  # type: ignore[misc]
    return None


def _ours(read: Callable[[], object]) -> None:
    """Goes on after an error of ours, to the next reader of the same bytes."""
    try:
        read()
    except ChoraleError:
        return


# --- bytes --------------------------------------------------------------------------------------------------


class _Nowhere:
    """A BlobWriter that keeps nothing."""

    path = Path("/dev/null")

    def write(self, piece: bytes | memoryview) -> None:
        return

    def publish(self) -> None:
        raise AssertionError("published by a target that has no service")


def _shard(raw: bytes) -> object:
    expected = ExpectedShard("ab" * 32, "alpha", 0, 32768, "cd" * 32, here=False)
    intake = ShardIntake(expected, _Nowhere())  # type: ignore[arg-type]
    for start in range(0, len(raw), 4096):
        intake.take(raw[start : start + 4096])
    intake.finish(None)  # type: ignore[arg-type] # refused before it is used: no shard has this digest
    return None


def _box(raw: bytes) -> object:
    return decode_shares(open_box(real.BOX_KEY, real.BOX_INFO, raw))


def _shares(raw: bytes) -> object:
    """Shares of five openers, as many of them as there are bytes for, from whoever dealt them."""
    size = 4 * DEFAULT.degree
    rows = [decode_shares(raw[start : start + size]) for start in range(0, min(len(raw), 5 * size), size)]
    return recover(range(1, len(rows) + 1), np.array(rows, dtype=np.uint32), 3, 77)


def _state(raw: bytes) -> object:
    state = ModelState.from_bytes(raw, 1 << 20)
    return state.digest


# --- files --------------------------------------------------------------------------------------------------


def _ledger(raw: bytes) -> object:
    return verify_export(read_file(io.BytesIO(raw)), verifier=Gullible()).described()


def _entries(raw: bytes) -> object:
    return verify_lines(raw.splitlines(keepends=True)).head


def _report_signature(raw: bytes) -> object:
    read_signature(raw)
    return verify_report(real.report()[0], raw)


def _in_a_file(read: Callable[[Path], object]) -> Callable[[bytes], object]:
    def written(raw: bytes) -> object:
        with tempfile.NamedTemporaryFile() as file:
            file.write(raw)
            file.flush()
            return read(Path(file.name))

    return written


def _sealed(raw: bytes) -> object:
    # A derivation costs what it is meant to cost: only headers that were altered are of interest.
    if raw[:200] in {seed[:200] for seed in real.sealed_files()}:
        return None
    return open_secret(raw, "a passphrase")


TARGETS: dict[str, Target] = {
    "canonical": Target(parse, real.vectors),
    "messages": Target(_message, real.signed),
    "charters": Target(_charter, lambda: real.of(messages.Charter)),
    "campaigns": Target(_campaign, lambda: real.of(messages.Campaign)),
    "plans": Target(_plan, lambda: real.of(messages.Plan)),
    "enrolments": Target(_enrolment, real.enrolment_requests),
    "frames": Target(_frame, lambda: [frame(raw, bytes(40)) for raw in real.signed()]),
    "headers": Target(_claims, real.headers),
    "problems": Target(_problem, lambda: list(real.PROBLEMS)),
    "answers": Target(_answer, lambda: [*real.round_document(), b'{"missing":[0,1]}', b'{"manifests":[{}]}']),
    "operator-answers": Target(_operators_answer, real.round_document),
    "shards": Target(_shard, lambda: [bytes(32768), bytes(32760) + b"\xff" * 8]),
    "boxes": Target(_box, lambda: [seal_box(real.BOX_KEY.public_bytes, real.BOX_INFO, bytes(4 * DEFAULT.degree))]),
    "keys": Target(check_public_key, lambda: [real.BOX_KEY.public_bytes, bytes(PUBLIC_BYTES)]),
    "shares": Target(_shares, real.dealt),
    "seal-containers": Target(ciphertext_words, real.containers),
    "states": Target(_state, real.states),
    "ledgers": Target(_ledger, lambda: [b"".join(small_export()), b"".join(small_own_export())]),
    "entries": Target(_entries, real.entry_lines),
    "report-signatures": Target(_report_signature, lambda: [real.report()[1]]),
    "reports": Target(returned.report, lambda: [returned.report_json()]),
    "handed-back": Target(lambda raw: returned.handed(raw, Gullible()), returned.handed_back_files),
    "backup-manifests": Target(returned.manifest, lambda: [returned.backup_manifest()]),
    "sealed-files": Target(_sealed, real.sealed_files),
    "officer-keys": Target(_in_a_file(public_key), real.officer_keys),
    "partner-toml": Target(_in_a_file(load_settings), lambda: [real.PARTNER_TOML]),
    "draft-toml": Target(_in_a_file(read_draft), lambda: [real.DRAFT_TOML]),
    "campaign-toml": Target(_in_a_file(read_campaign_file), lambda: [real.CAMPAIGN_TOML]),
}
