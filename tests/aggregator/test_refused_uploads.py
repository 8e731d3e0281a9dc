"""Uploads, openings and confirmations that the service refuses: status, code, and nothing lost."""

from __future__ import annotations

import errno
import hashlib
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import event

from aggregator.storage.blobs import LocalBlobWriter
from privacy.he.addition import MODULUS
from privacy.he.boxes import BoxKey
from privacy.ledger.chain import verify_lines
from privacy.protocol.http_contract import FRAME_TYPE, frame
from privacy.protocol.identifiers import OPERATOR, ZERO_DIGEST
from privacy.protocol.merkle import root
from privacy.protocol.messages import ChainHead, ProbeFigures, ShardRoot
from tests.aggregator.conftest import Running
from tests.aggregator.driver import SHARD_BYTES, RoundDriver
from tests.consortium import done, refused


@pytest.fixture
def uploading(driver: RoundDriver) -> RoundDriver:
    driver.join_all()
    driver.announce(driver.names[0])
    return driver


def _nothing_lost(driver: RoundDriver) -> None:
    """The upload that was refused goes through when it is sent as it should be."""
    name = driver.names[0]
    driver.upload(name)
    assert name in driver.document()["receipts"]


# --- uploads ------------------------------------------------------------------------------------------


def test_a_truncated_shard(uploading: RoundDriver) -> None:
    client = uploading.client(uploading.names[0])
    target, shard = f"{uploading.base}/uploads/mine/shards/0", uploading.shards(uploading.names[0])[0]
    digest = hashlib.sha256(shard).hexdigest()
    body = shard[:-8]
    refused(client.send("PUT", target, body, digest=digest), 422, "malformed-message")
    refused(client.send("PUT", target, shard[:-3], digest=digest), 422, "malformed-message")
    _nothing_lost(uploading)


def test_an_oversized_shard(uploading: RoundDriver) -> None:
    client = uploading.client(uploading.names[0])
    target, shard = f"{uploading.base}/uploads/mine/shards/0", uploading.shards(uploading.names[0])[0]
    digest = hashlib.sha256(shard).hexdigest()
    refused(client.send("PUT", target, shard + bytes(8), digest=digest), 413, "too-large")
    _nothing_lost(uploading)


def test_a_shard_without_its_length(uploading: RoundDriver) -> None:
    client = uploading.client(uploading.names[0])
    target, shard = f"{uploading.base}/uploads/mine/shards/0", uploading.shards(uploading.names[0])[0]
    headers = client.headers("PUT", target, shard)
    refused(uploading.http.put(target, content=iter([shard]), headers=headers), 422, "malformed-message")
    _nothing_lost(uploading)


def test_a_shard_of_another_digest(uploading: RoundDriver) -> None:
    name = uploading.names[0]
    other = bytes(SHARD_BYTES)
    refused(uploading.put(name, 0, other), 422, "digest-mismatch")
    right = hashlib.sha256(uploading.shards(name)[0]).hexdigest()
    target = f"{uploading.base}/uploads/mine/shards/0"
    refused(uploading.client(name).send("PUT", target, other, digest=right), 422, "digest-mismatch")
    _nothing_lost(uploading)


def test_a_shard_that_the_manifest_does_not_count(uploading: RoundDriver) -> None:
    name = uploading.names[0]
    refused(uploading.put(name, 99, uploading.shards(name)[0]), 404, "not-found")


def test_a_word_beyond_q(driver: RoundDriver, running: Running) -> None:
    driver.join_all()
    name = driver.names[0]
    driver.vector(name)[7] = MODULUS
    missing = driver.announce(name)
    problem = refused(driver.put(name, missing[0]), 422, "out-of-range")
    assert "word 7" in problem["came"]
    assert not (running.settings.blobs / "rounds" / driver.plan.digest / "uploads").exists()
    assert not list((running.settings.blobs / "incoming").iterdir())
    assert driver.announce(name) == missing


def test_a_second_differing_upload(uploading: RoundDriver) -> None:
    name = uploading.names[0]
    other, attachment = uploading.manifest(name)
    answer = uploading.client(name).post_frame(f"{uploading.base}/uploads", other, attachment)
    refused(answer, 409, "conflict")
    _nothing_lost(uploading)


def _coefficients(driver: RoundDriver) -> dict[str, Any]:
    return {"coefficients": driver.words + 1}


def _other_shards(driver: RoundDriver) -> dict[str, Any]:
    return {"shards": ShardRoot(root=root([bytes(32)]), count=1, shard_bytes=SHARD_BYTES)}


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        (lambda driver: {"plan": "ab" * 32}, 409, "conflict"),
        (lambda driver: {"cohort": "ab" * 32}, 409, "conflict"),
        (lambda driver: {"partner": driver.names[1]}, 409, "conflict"),
        (_coefficients, 422, "malformed-message"),
        (_other_shards, 422, "malformed-message"),
        (lambda driver: {"boxes": driver.boxes(driver.names)[0]}, 422, "digest-mismatch"),
        (lambda driver: {"boxes": driver.boxes(driver.names[:2])[0]}, 422, "malformed-message"),
    ],
)
def test_manifests_that_are_refused(
    driver: RoundDriver, changes: Callable[[RoundDriver], dict[str, Any]], status: int, code: str
) -> None:
    driver.join_all()
    name = driver.names[0]
    signed, attachment = driver.manifest(name, **changes(driver))
    refused(driver.client(name).post_frame(f"{driver.base}/uploads", signed, attachment), status, code)
    _nothing_lost(driver)


def test_frames_that_are_cut_short(driver: RoundDriver) -> None:
    driver.join_all()
    name = driver.names[0]
    signed, attachment = driver.manifest(name)
    whole = frame(signed.canonical_bytes, attachment)
    for body in (b"", whole[:3], whole[:100], whole[:-1], whole + b"x"):
        answer = driver.client(name).send("POST", f"{driver.base}/uploads", body, FRAME_TYPE)
        refused(answer, 422, "malformed-message")
    false_root = bytes(32) + attachment[32:]
    refused(driver.client(name).post_frame(f"{driver.base}/uploads", signed, false_root), 422, "digest-mismatch")
    _nothing_lost(driver)


def test_a_receipt_before_the_shards(uploading: RoundDriver) -> None:
    refused(uploading.receipt(uploading.names[0]), 409, "wrong-state")


def test_a_full_disk(uploading: RoundDriver, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(writer: LocalBlobWriter, piece: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(LocalBlobWriter, "write", full)
        refused(uploading.put(uploading.names[0], 0), 507, "storage-full")
    _nothing_lost(uploading)


def test_a_full_disk_under_the_database(driver: RoundDriver, running: Running) -> None:
    """Nothing of a join that did not fit is kept, and it goes through once there is room."""
    engine = running.service.database.engine

    def full(connection: Any, record: object, proxy: object) -> None:
        # It may not grow by a page, and the join's message alone takes three.
        connection.execute("PRAGMA max_page_count = 1")

    event.listen(engine, "checkout", full)
    name = driver.names[0]
    target, signed = f"{driver.base}/joins", driver.consortium.join(driver.plan, name, BoxKey.generate())
    for _ in range(3):
        refused(driver.client(name).post(target, signed), 507, "storage-full")
    event.remove(engine, "checkout", full)
    engine.dispose()
    lines = done(driver.client(OPERATOR).get("/v1/ledger")).splitlines(keepends=True)
    assert verify_lines(lines).totals.row(driver.charter.digest, name, "training").reserved == 0
    assert driver.document()["joined"] == []
    done(driver.client(name).post(target, signed), 201)


# --- after the seal -----------------------------------------------------------------------------------


def test_openings_that_are_refused(driver: RoundDriver) -> None:
    driver.to_opening()
    name = driver.names[0]
    target = f"{driver.base}/openings"
    cases: list[tuple[dict[str, Any], int, str]] = [
        ({"seal": "ab" * 32}, 409, "conflict"),
        ({"fingerprint": None}, 422, "malformed-message"),
        ({"boxes": driver.boxes(driver.names[:2])[0]}, 422, "malformed-message"),
        ({"boxes": driver.boxes(driver.names)[0]}, 422, "digest-mismatch"),
    ]
    for changes, status, code in cases:
        signed, boxes = driver.opening(name, **changes)
        refused(driver.client(name).post_frame(target, signed, boxes), status, code)
    signed, boxes = driver.opening(name)
    refused(driver.client(name).post_frame(target, signed, boxes[:-1]), 422, "malformed-message")
    done(driver.client(name).post_frame(target, signed, boxes), 201)
    refused(driver.open(name), 409, "conflict")
    assert driver.document()["openings"] == [name]


def test_confirmations_that_are_refused(driver: RoundDriver) -> None:
    driver.to_opening()
    name = driver.names[0]
    target = f"{driver.base}/confirmations"
    off_chain = driver.confirmation(name, checkpoint=ChainHead(count=2, head="ab" * 32))
    refused(driver.client(name).post(target, off_chain), 422, "ledger-broken")
    beyond = driver.confirmation(name, checkpoint=ChainHead(count=999, head="ab" * 32))
    refused(driver.client(name).post(target, beyond), 422, "ledger-broken")
    refused(driver.client(name).post(target, driver.confirmation(name, seal="ab" * 32)), 409, "conflict")
    few = ProbeFigures(ratio=1.0, total_ratio=1.0, total_probes=driver.plan.layout.probes - 1)
    for probes in (None, few):
        refused(
            driver.client(name).post(target, driver.confirmation(name, probes=probes)), 422, "malformed-message"
        )
    empty = driver.confirmation(name, checkpoint=ChainHead(count=0, head=ZERO_DIGEST))
    done(driver.client(name).post(target, empty), 201)
    refused(driver.confirm(name, "ef" * 32), 409, "conflict")


def test_a_void_vote_without_openings(driver: RoundDriver) -> None:
    driver.to_opening()
    refused(driver.void(driver.names[0]), 409, "not-enough-openings")


def test_messages_out_of_their_time(driver: RoundDriver) -> None:
    name = driver.names[0]
    refused(driver.client(name).get(f"{driver.base}/cohort"), 409, "wrong-state")
    refused(driver.client(name).get(f"{driver.base}/uploads"), 409, "wrong-state")
    refused(driver.client(name).get(f"{driver.base}/sum/digests"), 404, "not-found")
    refused(driver.client(name).get(f"{driver.base}/uploads/mine"), 404, "not-found")
