"""Joins that the service refuses, and joins sent at once: nothing is reserved that is not there."""

from __future__ import annotations

import threading

from privacy.he.boxes import BoxKey
from privacy.ledger.chain import verify_lines
from privacy.protocol.identifiers import OPERATOR
from tests.aggregator.conftest import Running
from tests.aggregator.driver import RoundDriver
from tests.consortium import done, refused


def test_joined_twice(driver: RoundDriver) -> None:
    done(driver.join(driver.names[0]), 201)
    refused(driver.join(driver.names[0]), 409, "conflict")
    budget = done(driver.client(driver.names[0]).get("/v1/budget"))["participants"][0]["rows"][0]
    assert budget["reserved"] == 1


def test_a_join_by_another(driver: RoundDriver) -> None:
    signed = driver.consortium.join(driver.plan, driver.names[1], BoxKey.generate())
    refused(driver.client(driver.names[0]).post(f"{driver.base}/joins", signed), 401, "bad-signature")


def test_a_join_for_another_round(driver: RoundDriver) -> None:
    other = driver.consortium.plan(driver.charter, driver.campaign, attempt=9)
    signed = driver.consortium.join(other, driver.names[0], BoxKey.generate())
    refused(driver.client(driver.names[0]).post(f"{driver.base}/joins", signed), 422, "weaker-than-charter")


def test_a_round_key_of_small_order(driver: RoundDriver) -> None:
    join = driver.consortium.join(driver.plan, driver.names[0], BoxKey.generate()).body
    false_key = join.round_key[: 2 * 1184] + "00" * 32
    signed = driver.consortium.by(driver.names[0], join.model_copy(update={"round_key": false_key}))
    refused(driver.client(driver.names[0]).post(f"{driver.base}/joins", signed), 422, "key-refused")


def test_a_join_after_the_deadline(driver: RoundDriver, running: Running) -> None:
    driver.consortium.clock.seconds = driver.plan.deadlines.join + 0.5
    done(driver.join(driver.names[0]), 201)
    driver.consortium.clock.seconds = driver.plan.deadlines.join + 1
    answer = driver.join(driver.names[1])
    assert answer.status_code == 409
    assert answer.json()["type"].rsplit(":", 1)[1] in ("deadline-passed", "wrong-state")


def test_a_budget_that_is_spent(driver: RoundDriver) -> None:
    for attempt in range(1, driver.consortium.count + 1):
        if attempt > 1:
            driver = RoundDriver(driver.consortium, driver.http, driver.charter, driver.campaign, attempt=attempt)
        driver.join_all()
        done(driver.abort("next"))
    driver = RoundDriver(
        driver.consortium, driver.http, driver.charter, driver.campaign, attempt=driver.consortium.count + 1
    )
    refused(driver.join(driver.names[0]), 409, "budget-exhausted")
    lines = done(driver.client(OPERATOR).get("/v1/ledger")).splitlines(keepends=True)
    totals = verify_lines(lines).totals.row(driver.charter.digest, driver.names[0], "training")
    assert (totals.charged, totals.reserved) == (driver.consortium.count, 0)


def test_concurrent_joins_of_one_partner_reserve_once(driver: RoundDriver) -> None:
    name = driver.names[0]
    messages = [driver.consortium.join(driver.plan, name, BoxKey.generate()) for _ in range(4)]
    clients = [driver.client(name) for _ in range(64)]
    bodies = [messages[place % 4].canonical_bytes for place in range(64)]
    headers = [
        client.headers("POST", f"{driver.base}/joins", body) for client, body in zip(clients, bodies, strict=True)
    ]
    statuses: list[int] = []

    def send(place: int) -> None:
        answer = driver.http.post(f"{driver.base}/joins", content=bodies[place], headers=headers[place])
        statuses.append(answer.status_code)

    threads = [threading.Thread(target=send, args=(place,)) for place in range(64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(set(statuses)) == [201, 409]
    assert statuses.count(201) == 16
    lines = done(driver.client(OPERATOR).get("/v1/ledger")).splitlines(keepends=True)
    assert verify_lines(lines).totals.row(driver.charter.digest, name, "training").reserved == 1
