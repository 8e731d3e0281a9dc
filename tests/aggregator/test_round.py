"""Whole rounds over HTTP: the sum is exact, the ledger verifies, and every step may be repeated."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from fastapi.testclient import TestClient

from aggregator.app import create_app
from aggregator.rounds.lifecycle import advance
from aggregator.rounds.seal import make_seal
from privacy.he.addition import MODULUS
from privacy.he.boxes import SHARE_BOX_BYTES, BoxKey
from privacy.ledger.chain import verify_lines
from privacy.protocol import merkle
from privacy.protocol.canonical import canonical
from privacy.protocol.identifiers import OPERATOR, SERVER
from privacy.protocol.messages import Cohort, Receipt, Refusal, Seal, StateBox, StateRequest, parse_signed
from privacy.protocol.signing import verify
from tests.aggregator.conftest import Running
from tests.aggregator.driver import SHARD_BYTES, STATE, RoundDriver
from tests.consortium import SeededSource, TestConsortium, done, refused


def test_the_published_sum_is_the_sum_of_the_uploads(driver: RoundDriver) -> None:
    shown = driver.to_opening()
    assert_the_sum_is_published(driver)
    seal = parse_signed(Seal, canonical(shown["seal"]))
    verify(seal, {SERVER: driver.charter.server_keys})
    assert seal.body.partners == tuple(driver.names)


def assert_the_sum_is_published(driver: RoundDriver) -> None:
    shown = driver.document()
    expected = np.zeros(driver.words, dtype=object)
    for name in driver.names:
        expected = (expected + driver.vector(name).astype(object)) % MODULUS
    client = driver.client(driver.names[0])
    digests = done(client.get(f"{driver.base}/sum/digests"))
    count = shown["seal"]["body"]["sum"]["count"]
    assert len(digests) == 32 * count
    assert count == -(-driver.words * 8 // SHARD_BYTES)
    shards = [done(client.get(f"{driver.base}/sum/shards/{index}")) for index in range(count)]
    assert [hashlib.sha256(shard).digest() for shard in shards] == [
        digests[32 * i : 32 * i + 32] for i in range(count)
    ]
    merkle.check_root([merkle.shard_digest(shard) for shard in shards], shown["seal"]["body"]["sum"]["root"], count)
    published = np.frombuffer(b"".join(shards), dtype="<u8")
    assert published.tolist() == expected.tolist()


def test_a_round_ends_confirmed_and_its_ledger_verifies(driver: RoundDriver) -> None:
    shown = driver.to_confirmed()
    assert shown["confirmations"] == dict.fromkeys(driver.names, STATE)
    honest = {"ratio": 1.0, "total_ratio": 1.0, "total_probes": 1024, "deviations": 0.0, "total_deviations": 0.0}
    assert shown["probes"] == dict.fromkeys(driver.names, honest)
    assert list(shown["seconds"]) == ["joining", "uploading", "summing", "opening"]
    lines = done(driver.client(driver.names[0]).get("/v1/ledger")).splitlines(keepends=True)
    chain = verify_lines(lines)
    checkpoint = done(driver.client(driver.names[0]).get("/v1/ledger/checkpoint"))
    assert checkpoint["body"]["chain"] == {"count": chain.head.count, "head": chain.head.head}
    page = done(driver.client(driver.names[0]).get("/v1/ledger?after=1&limit=2")).splitlines(keepends=True)
    assert page == lines[1:3]
    budget = done(driver.client(OPERATOR).get("/v1/budget"))["participants"]
    assert [one["rows"][0]["charged"] for one in budget] == [1, 1, 1]


def test_cohort_manifests_and_boxes_reach_whom_they_are_for(driver: RoundDriver) -> None:
    driver.to_opening()
    first, second = driver.names[:2]
    answer = done(driver.client(first).get(f"{driver.base}/cohort"))
    cohort = parse_signed(Cohort, canonical(answer["cohort"]))
    verify(cohort, {SERVER: driver.charter.server_keys})
    assert [one["body"]["partner"] for one in answer["joins"]] == driver.names
    manifests = done(driver.client(first).get(f"{driver.base}/uploads"))["manifests"]
    sent, attachment = driver.frames[second]
    assert manifests[1] == sent.model_dump(mode="json")
    box = done(driver.client(first).get(f"{driver.base}/boxes?of={second}"))
    start = 32 * sent.body.shards.count
    assert box == attachment[start : start + SHARE_BOX_BYTES]
    shard = done(driver.client(first).get(f"{driver.base}/uploads/{second}/shards/0"))
    assert shard == driver.shards(second)[0]
    signed, boxes = driver.opening(second)
    done(driver.client(second).post_frame(f"{driver.base}/openings", signed, boxes), 201)
    assert done(driver.client(first).get(f"{driver.base}/openings/boxes?of={second}")) == boxes[:SHARE_BOX_BYTES]
    assert len(done(driver.client(first).get(f"{driver.base}/openings"))["openings"]) == 1


def test_every_step_may_be_repeated(driver: RoundDriver) -> None:
    name = driver.names[0]
    join = driver.consortium.join(driver.plan, name, BoxKey.generate())
    client = driver.client(name)
    done(client.post(f"{driver.base}/joins", join), 201)
    done(client.post(f"{driver.base}/joins", join), 201)
    assert done(client.get("/v1/budget"))["participants"][0]["rows"][0]["reserved"] == 1
    done(driver.client(OPERATOR).post("/v1/rounds", driver.consortium.by_operator(driver.plan)), 201)
    for other in driver.names[1:]:
        done(driver.join(other), 201)
    driver.wait_for("uploading")
    missing = driver.announce(name)
    done(driver.put(name, missing[0]), 201)
    assert driver.announce(name) == missing[1:]
    done(driver.put(name, missing[0]), 201)
    for index in missing[1:]:
        done(driver.put(name, index), 201)
    first = done(driver.receipt(name))
    assert done(driver.receipt(name)) == first
    mine = done(client.get(f"{driver.base}/uploads/mine"))
    assert mine["receipt"] == first
    assert mine["missing"] == []
    verify(parse_signed(Receipt, canonical(first)), {SERVER: driver.charter.server_keys})
    for other in driver.names[1:]:
        driver.upload(other)
    driver.wait_for("opening")
    signed, boxes = driver.opening(name)
    for _ in range(2):
        done(client.post_frame(f"{driver.base}/openings", signed, boxes), 201)
    confirmation = driver.confirmation(name)
    for _ in range(2):
        done(client.post(f"{driver.base}/confirmations", confirmation), 201)


def test_a_sum_that_a_crash_cut_off_is_made_again_alike(tmp_path: Path) -> None:
    consortium = TestConsortium()
    settings = consortium.server_folder(tmp_path / "server")
    with ThreadPoolExecutor(1) as pool:
        app = create_app(settings, consortium.clock, SeededSource("first"), pool)
        # Without its lifespan the service takes requests but moves nothing on: the moment before the crash.
        http = TestClient(app)
        driver = RoundDriver(consortium, http, *consortium.constitute(http))
        for name in driver.names:
            done(driver.join(name), 201)
        advance(app.state.service)
        for name in driver.names:
            driver.upload(name)
        assert advance(app.state.service) == [driver.plan.digest]
        assert driver.document()["state"] == "summing"
        half = app.state.service.blobs.writer(f"rounds/{driver.plan.digest}/sum/0")
        half.write(b"half a shard")
        app.state.service.database.close()
        again = create_app(settings, consortium.clock, SeededSource("second"), pool)
        with TestClient(again) as restarted:
            driver.http = restarted
            shown = driver.wait_for("opening")
            make_seal(again.state.service, driver.plan.digest, pool)
            assert driver.document()["seal"] == shown["seal"]
            assert not list((settings.blobs / "incoming").iterdir())


class Together(Executor):
    """Takes a job only once as many as `jobs` are there."""

    def __init__(self, jobs: int) -> None:
        self._all = threading.Barrier(jobs)

    def submit(self, job: Callable[..., Any], /, *given: Any, **named: Any) -> Future[Any]:
        self._all.wait(20)
        ended: Future[Any] = Future()
        ended.set_result(job(*given, **named))
        return ended


def test_as_many_shards_are_added_at_once_as_there_are_workers(tmp_path: Path) -> None:
    consortium = TestConsortium()
    settings = consortium.server_folder(tmp_path / "server").model_copy(update={"sum_workers": 3})
    pool = Together(3)
    app = create_app(settings, consortium.clock, SeededSource("together"), pool)
    http = TestClient(app)  # without its lifespan: nothing moves on by itself
    driver = RoundDriver(consortium, http, *consortium.constitute(http))
    assert len(driver.shards(driver.names[0])) == 3
    for name in driver.names:
        done(driver.join(name), 201)
    advance(app.state.service)
    for name in driver.names:
        driver.upload(name)
    advance(app.state.service)
    make_seal(app.state.service, driver.plan.digest, pool)
    assert_the_sum_is_published(driver)


def test_a_deadline_makes_a_cohort_of_those_who_came(tmp_path: Path) -> None:
    consortium = TestConsortium(size=4)
    settings = consortium.server_folder(tmp_path / "server")
    with ThreadPoolExecutor(1) as pool:
        with TestClient(create_app(settings, consortium.clock, SeededSource("service"), pool)) as http:
            driver = RoundDriver(consortium, http, *consortium.constitute(http))
            shown = driver.join_all(driver.names[:3])
            assert shown["joined"] == driver.names[:3]
            late = driver.names[3]
            refused(driver.join(late), 409, "wrong-state")
            refused(driver.client(late).get(f"{driver.base}/boxes?of={driver.names[0]}"), 403, "not-allowed")


def test_a_refusal_is_shown_to_everyone(driver: RoundDriver) -> None:
    driver.to_opening()
    name = driver.names[0]
    body = Refusal(charter=driver.charter.digest, plan=driver.plan.digest, partner=name, check=6, reason="a box")
    done(driver.client(name).post(f"{driver.base}/refusals", driver.consortium.by(name, body)), 201)
    assert driver.document()["refusals"][0]["body"]["check"] == 6


def test_what_is_no_longer_needed_is_deleted(driver: RoundDriver, running: Running) -> None:
    driver.to_confirmed()
    rounds = running.settings.blobs / "rounds"
    first = rounds / driver.plan.digest
    _until(lambda: not (first / "sum").exists())
    assert (first / "uploads").exists()
    later = RoundDriver(driver.consortium, driver.http, driver.charter, driver.campaign, round=2, base_state=STATE)
    later.to_confirmed(hashlib.sha256(b"state 2").hexdigest())
    _until(lambda: not (first / "uploads").exists())
    refused(driver.client(driver.names[0]).get(f"{driver.base}/sum/shards/0"), 404, "not-found")


def test_states_travel_in_boxes_to_whom_they_are_addressed(driver: RoundDriver) -> None:
    lead, other = driver.names[:2]
    base = f"/v1/campaigns/{driver.campaign.digest}"
    genesis = driver.campaign.genesis
    ask = StateRequest(charter=driver.charter.digest, campaign=driver.campaign.digest, partner=other, state=genesis)
    done(driver.client(other).post(f"{base}/state-requests", driver.consortium.by(other, ask)), 201)
    assert len(done(driver.client(lead).get(f"{base}/state-requests"))["requests"]) == 1
    box = driver.consortium.source.bytes(3 << 20)
    body = StateBox(
        charter=driver.charter.digest,
        campaign=driver.campaign.digest,
        sender=lead,
        receiver=other,
        state=genesis,
        box=hashlib.sha256(box).hexdigest(),
    )
    signed = driver.consortium.by(lead, body)
    for _ in range(2):
        done(driver.client(lead).post_frame(f"{base}/state-boxes", signed, box), 201)
    assert done(driver.client(lead).get(f"{base}/state-requests"))["requests"] == []
    assert done(driver.client(lead).get(f"{base}/state-boxes/{genesis}"))["boxes"] == []
    assert len(done(driver.client(other).get(f"{base}/state-boxes/{genesis}"))["boxes"]) == 1
    assert done(driver.client(other).get(f"{base}/state-boxes/{genesis}/{lead}")) == box
    refused(driver.client(lead).get(f"{base}/state-boxes/{genesis}/{lead}"), 404, "not-found")
    unknown = body.model_copy(update={"state": "ab" * 32})
    signed = driver.consortium.by(lead, unknown)
    refused(driver.client(lead).post_frame(f"{base}/state-boxes", signed, box), 403, "not-allowed")


def _until(true: Callable[[], bool], seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if true():
            return
        time.sleep(0.05)
    raise AssertionError("it did not come true")
