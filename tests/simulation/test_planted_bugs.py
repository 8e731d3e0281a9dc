"""The simulator finds bugs: each of these is put into a program, and a seed among the first few must fail of it."""

from __future__ import annotations

import dataclasses
import shutil
from base64 import b64encode
from collections.abc import Callable
from typing import Any
from urllib.parse import quote_from_bytes

import httpx
import pytest

import aggregator.rounds.join
import aggregator.rounds.seal
import client_sdk.decode
import client_sdk.states
import client_sdk.upload
from aggregator.rounds.blind_sum import sum_shard
from client_sdk.journal import Journal
from client_sdk.own_ledger import OwnLedger
from client_sdk.partner import Partner
from client_sdk.transport import Transport
from privacy.protocol.messages import Manifest, parse_signed
from tests.simulation.run import run
from tests.simulation.secrecy import leak

SEEDS = (1, 4, 5, 6, 7, 10, 14, 16)
"""Seeds with few partners and many faults, so that a bug that needs one is met soon."""
Plant = Callable[[pytest.MonkeyPatch], None]


def uploads_before_it_charges(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(OwnLedger, "next_charge", lambda self, plan, charter, at: None)


def shows_a_cohort_and_charges_nobody(patch: pytest.MonkeyPatch) -> None:
    settle = aggregator.rounds.join.ledger.settle

    def forgetful(session: Any, charter: Any, plan: Any, digest: str, charged: frozenset[str], at: int) -> None:
        settle(session, charter, plan, digest, frozenset(sorted(charged)[1:]), at)

    patch.setattr(aggregator.rounds.join.ledger, "settle", forgetful)


def seals_without_a_receipted_upload(patch: pytest.MonkeyPatch) -> None:
    move = aggregator.rounds.seal.move

    def dropping(session: Any, attempt: Any, target: Any, now: float) -> None:
        rows = session.query(aggregator.rounds.seal.UploadRow).filter_by(round=attempt.round, in_seal=True).all()
        if len(rows) > 3 and target == "summing":
            rows[0].in_seal = False
        move(session, attempt, target, now)

    patch.setattr(aggregator.rounds.seal, "move", dropping)


def forgets_the_cohort_it_accepted(patch: pytest.MonkeyPatch) -> None:
    """J is held in memory only."""
    record, accept = Journal.record, Journal.accept_cohort
    held: dict[str, tuple[str, bytes, bytes]] = {}

    def accepted(self: Journal, plan: str, *arguments: Any) -> None:
        accept(self, plan, *arguments)
        found = record(self, plan)
        assert found is not None
        held[str(id(self)) + plan] = (found.cohort or "", found.signed_cohort or b"", found.joins or b"")
        with self.transaction("forgetting") as database:
            database.execute("UPDATE attempt SET cohort = NULL, signed_cohort = NULL, joins = NULL")

    def recalled(self: Journal, plan: str) -> Any:
        found = record(self, plan)
        if found is None or str(id(self)) + plan not in held:
            return found
        cohort, signed, joins = held[str(id(self)) + plan]
        return dataclasses.replace(found, cohort=cohort, signed_cohort=signed, joins=joins)

    patch.setattr(Journal, "accept_cohort", accepted)
    patch.setattr(Journal, "record", recalled)


def resends_other_bytes(patch: pytest.MonkeyPatch) -> None:
    """The manifest is signed again at each try, and ML-DSA signs with fresh randomness."""
    send = client_sdk.upload._send_shards

    def signing(partner: Partner, record: Any, manifest: bytes, attachment: bytes) -> None:
        again = partner.sign(parse_signed(Manifest, manifest).body).canonical_bytes
        send(partner, record, again, attachment)

    patch.setattr(client_sdk.upload, "_send_shards", signing)


def opens_before_its_key_is_wiped(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Partner, "take_round_key", lambda self, round_digest: True)


def decodes_one_too_many(patch: pytest.MonkeyPatch) -> None:
    opened = client_sdk.decode.open_sum
    patch.setattr(client_sdk.decode, "open_sum", lambda *arguments: (part + 1 for part in opened(*arguments)))


def confirms_a_state_it_does_not_hold(patch: pytest.MonkeyPatch) -> None:
    keep = client_sdk.states.StateFolder.keep

    def forgetful(self: Any, state: Any) -> None:
        keep(self, state)
        if state.round:
            self._path(state.digest).unlink()

    patch.setattr(client_sdk.states.StateFolder, "keep", forgetful)


def publishes_a_false_sum(patch: pytest.MonkeyPatch) -> None:
    """One upload is left out of the sum: the fingerprint tells every partner, and no round ever ends."""
    patch.setattr(aggregator.rounds.seal, "sum_shard", lambda paths, *rest: sum_shard(paths[1:], *rest))


def loses_uploads_in_a_crash(patch: pytest.MonkeyPatch) -> None:
    """The manifest is written down before the ciphertext: what a crash leaves cannot be sent."""
    drop = client_sdk.upload._send_shards

    def losing(partner: Partner, record: Any, manifest: bytes, attachment: bytes) -> None:
        drop(partner, record, manifest, attachment)
        shutil.rmtree(partner.upload_folder(record.plan).path)

    patch.setattr(client_sdk.upload, "_send_shards", losing)


def _in_each_request(patch: pytest.MonkeyPatch, write: Callable[[Any, httpx.Request], None]) -> None:
    sign = Transport._sign

    def telling(self: Transport, identity: Any, request: httpx.Request, body: bytes) -> dict[str, str]:
        write(identity, request)
        return sign(self, identity, request, body)

    patch.setattr(Transport, "_sign", telling)


def shows_its_key_in_a_header(patch: pytest.MonkeyPatch) -> None:
    """As a tracing library might that was handed the wrong value."""

    def write(identity: Any, request: httpx.Request) -> None:
        request.headers["x-trace"] = b64encode(b"key=" + identity.key.private_bytes()).decode()

    _in_each_request(patch, write)


def shows_its_key_in_a_target(patch: pytest.MonkeyPatch) -> None:
    """Only where a request has no body: a long poll."""

    def write(identity: Any, request: httpx.Request) -> None:
        if request.method == "GET" and request.url.path.startswith("/v1/rounds/"):
            request.url = request.url.copy_merge_params({"seen": "0", "by": identity.key.private_bytes().hex()})

    _in_each_request(patch, write)


@pytest.mark.parametrize(
    ("plant", "promise"),
    [
        (shows_its_key_in_a_header, "P2: a secret in the header x-trace"),
        (shows_its_key_in_a_target, "P2: a secret in the request line of GET"),
        (uploads_before_it_charges, "P3"),
        pytest.param(opens_before_its_key_is_wiped, "P1", marks=pytest.mark.full),
        pytest.param(shows_a_cohort_and_charges_nobody, "P3", marks=pytest.mark.full),
        pytest.param(seals_without_a_receipted_upload, "P4", marks=pytest.mark.full),
        pytest.param(forgets_the_cohort_it_accepted, "P1", marks=pytest.mark.full),
        pytest.param(resends_other_bytes, "P1", marks=pytest.mark.full),
        pytest.param(decodes_one_too_many, "P4", marks=pytest.mark.full),
        pytest.param(confirms_a_state_it_does_not_hold, "P4", marks=pytest.mark.full),
        pytest.param(publishes_a_false_sum, "liveness", marks=pytest.mark.full),
        pytest.param(loses_uploads_in_a_crash, "liveness", marks=pytest.mark.full),
    ],
    ids=lambda value: value.partition(":")[0] if isinstance(value, str) else value.__name__,
)
def test_the_simulator_finds(plant: Plant, promise: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        plant(patch)
        for seed in SEEDS:
            result = run(seed)
            if result.broken is not None:
                assert result.broken.startswith(promise), result.broken
                return
    raise AssertionError(f"no seed among {SEEDS} fails")


@pytest.mark.parametrize("before", range(4))
@pytest.mark.parametrize(
    "write", [bytes, lambda raw: raw.hex().encode(), b64encode, lambda raw: quote_from_bytes(raw).encode()]
)
def test_a_secret_is_found_as_it_is_usually_written(write: Callable[[bytes], bytes], before: int) -> None:
    """Wherever it begins within what is written, and whatever follows."""
    secret = bytes(range(200, 248))
    sent = write(b"x" * before + secret + b"tail")
    assert leak([secret], "/v1/about", [(b"x-trace", sent)], b"") == "the header x-trace"
    assert leak([bytes(48)], "/v1/about", [(b"x-trace", sent)], sent) is None
