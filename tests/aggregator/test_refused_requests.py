"""Requests, plans and charters that the service refuses: status, code, and what to do."""

from __future__ import annotations

from typing import Any

import pytest

from privacy.protocol.canonical import canonical
from privacy.protocol.identifiers import OPERATOR
from privacy.protocol.messages import Deadlines, VectorLayout
from privacy.protocol.signing import SigningKey, sign
from tests.aggregator.conftest import Running
from tests.aggregator.driver import RoundDriver
from tests.consortium import EVENT, START, SeededSource, done, refused
from tests.signed_client import SignedClient

# --- whose routes ---------------------------------------------------------------------------------------


def test_the_operators_routes_are_the_operators(driver: RoundDriver) -> None:
    client = driver.client(driver.names[0])
    refused(client.get("/v1/enrolments"), 403, "not-allowed")
    refused(client.post("/v1/rounds", driver.consortium.by_operator(driver.plan)), 403, "not-allowed")
    refused(driver.client(OPERATOR).post(f"{driver.base}/voids", {"a": 1}), 403, "not-allowed")


def test_who_is_on_no_roster_sees_nothing_of_a_consortium(driver: RoundDriver) -> None:
    consortium, http = driver.consortium, driver.http
    key = SigningKey.generate(SeededSource("newcomer"))
    token = done(
        driver.client(OPERATOR).post("/v1/invitations", {"partner": "newcomer", "expires_in_seconds": 3600}), 201
    )["token"]
    known = consortium.enrolment(driver.names[0], token).body
    enrolment = sign(known.model_copy(update={"partner": "newcomer", "signing_keys": key.public}), "newcomer", key)
    body = canonical({"token": token, "enrolment": enrolment.model_dump(mode="json")})
    done(http.post("/v1/enrolments", content=body), 201)
    newcomer = SignedClient(http, "newcomer", key, consortium.clock, consortium.source)
    done(newcomer.get("/v1/enrolments/newcomer"))
    refused(newcomer.get("/v1/campaigns"), 403, "not-allowed")
    done(driver.client(OPERATOR).post("/v1/enrolments/newcomer/approval"))
    driver.to_opening()
    campaign = f"/v1/campaigns/{driver.campaign.digest}"
    of_rounds = ("", "/cohort", "/uploads", "/openings", "/confirmations", "/sum/digests", "/sum/shards/0")
    for target in (
        *(f"{driver.base}{rest}" for rest in of_rounds),
        campaign,
        f"{campaign}/rounds",
        f"{campaign}/state-requests",
        f"{campaign}/state-boxes/{driver.campaign.genesis}",
        "/v1/ledger",
        "/v1/ledger/checkpoint",
        "/v1/budget",
        f"/v1/enrolments/{driver.names[0]}",
    ):
        refused(newcomer.get(target), 403, "not-allowed")
        assert driver.client(driver.names[0]).get(target).status_code == 200, target
    assert done(newcomer.get("/v1/campaigns")) == {"campaigns": []}


@pytest.mark.parametrize(
    ("method", "target", "status", "code"),
    [
        ("GET", "/v1/nowhere", 404, "not-found"),
        ("DELETE", "/v1/about", 405, "not-found"),
        ("GET", "/v1/rounds/../../etc/passwd", 404, "not-found"),
        ("GET", "/v1/rounds/" + "ab" * 32, 404, "not-found"),
        ("GET", "/v1/rounds/xyz", 422, "malformed-message"),
        ("GET", "/v1/ledger?after=-1", 422, "malformed-message"),
        ("GET", "/v1/ledger?limit=many", 422, "malformed-message"),
        ("GET", "/v1/charters/latest?wait=1000", 422, "malformed-message"),
    ],
)
def test_routes_that_are_none(driver: RoundDriver, method: str, target: str, status: int, code: str) -> None:
    refused(driver.client(OPERATOR).send(method, target), status, code)


@pytest.mark.parametrize(
    ("target", "allowed"),
    [("/v1/about", "GET"), ("/v1/enrolments", "GET, POST"), (f"/v1/rounds/{'ab' * 32}/joins", "POST")],
)
@pytest.mark.parametrize("method", ["DELETE", "PATCH", "TRACE", "BREW"])
def test_a_method_that_is_none_is_told_which_there_are(
    running: Running, method: str, target: str, allowed: str
) -> None:
    answer = running.http.request(method, target)
    refused(answer, 405, "not-found")
    assert answer.headers["allow"] == allowed


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[" * 100,
        b'{"body":1}',
        b'{"a":1, "b":2}',
        b"\xff\xfe",
        b'{"a":1,"a":2}',
        b"null",
        b'{"\\ud800":1}',
    ],
)
def test_what_is_no_message(driver: RoundDriver, body: bytes) -> None:
    answer = driver.client(driver.names[0]).send("POST", f"{driver.base}/joins", body)
    refused(answer, 422, "malformed-message")


def test_a_body_beyond_every_limit(driver: RoundDriver, running: Running) -> None:
    body = b" " * (running.settings.message_bytes + 1)
    refused(driver.client(driver.names[0]).send("POST", f"{driver.base}/joins", body), 413, "too-large")


# --- plans --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        ({"event": EVENT.model_copy(update={"noise_multiplier": 1.9})}, 422, "weaker-than-charter"),
        ({"event": EVENT.model_copy(update={"sampling_rate": 0.06})}, 422, "weaker-than-charter"),
        (
            {"layout": VectorLayout(parameters=20_000, probes=10, lane_width=24, shift=8)},
            422,
            "weaker-than-charter",
        ),
        (
            {"layout": VectorLayout(parameters=19_999, probes=1024, lane_width=24, shift=8)},
            422,
            "weaker-than-charter",
        ),
        (
            {"layout": VectorLayout(parameters=20_000, probes=1024, lane_width=12, shift=0)},
            422,
            "unsafe-parameters",
        ),
        ({"charter": "ab" * 32}, 422, "weaker-than-charter"),
        ({"base_state": "ab" * 32}, 404, "not-found"),
        ({"attempt": 1, "base_state": "cd" * 32}, 409, "conflict"),
        ({"deadlines": Deadlines(join=START + 9, upload=START + 9, open=START + 10)}, 422, "configuration"),
        ({"deadlines": Deadlines(join=START - 9, upload=START + 9, open=START + 10)}, 409, "deadline-passed"),
    ],
)
def test_plans_that_are_refused(driver: RoundDriver, changes: dict[str, Any], status: int, code: str) -> None:
    done(driver.abort("next"))
    plan = driver.consortium.plan(driver.charter, driver.campaign, attempt=2).model_copy(update=changes)
    refused(driver.client(OPERATOR).post("/v1/rounds", driver.consortium.by_operator(plan)), status, code)


def test_a_second_open_attempt(driver: RoundDriver) -> None:
    plan = driver.consortium.plan(driver.charter, driver.campaign, attempt=2)
    answer = driver.client(OPERATOR).post("/v1/rounds", driver.consortium.by_operator(plan))
    refused(answer, 409, "wrong-state")


def test_a_plan_by_a_stranger(driver: RoundDriver) -> None:
    done(driver.abort("next"))
    plan = driver.consortium.plan(driver.charter, driver.campaign, attempt=2)
    signed = sign(plan, OPERATOR, SigningKey.generate(SeededSource("stranger")))
    refused(driver.client(OPERATOR).post("/v1/rounds", signed), 401, "bad-signature")


# --- constituting -------------------------------------------------------------------------------------


def test_an_invitation_is_used_once_and_expires(running: Running) -> None:
    consortium = running.consortium
    operator = consortium.client(running.http, OPERATOR)
    name = consortium.names[0]

    def invite() -> str:
        answer = operator.post("/v1/invitations", {"partner": name, "expires_in_seconds": 60})
        token: str = done(answer, 201)["token"]
        return token

    def enrol(token: str, named: str) -> Any:
        message = consortium.enrolment(name, named).model_dump(mode="json")
        return running.http.post("/v1/enrolments", content=canonical({"token": token, "enrolment": message}))

    late = invite()
    consortium.clock.seconds += 61
    refused(enrol(late, late), 401, "not-authenticated")
    refused(enrol("0" * 64, "0" * 64), 401, "not-authenticated")
    token, other = invite(), invite()
    refused(enrol(token, late), 401, "not-authenticated")
    again = {"partner": name, "expires_in_seconds": 60, "again": True}
    refused(operator.post("/v1/invitations", again), 404, "not-found")
    done(enrol(token, token), 201)
    done(enrol(token, token), 201)
    refused(enrol(other, other), 409, "conflict")
    refused(operator.post("/v1/invitations", {"partner": name, "expires_in_seconds": 60}), 409, "conflict")


def test_charters_that_are_refused(running: Running) -> None:
    consortium = running.consortium
    charter, _ = consortium.constitute(running.http)
    operator = consortium.client(running.http, OPERATOR)
    stranger = SigningKey.generate(SeededSource("stranger")).public
    cases: list[tuple[dict[str, Any], int, str]] = [
        ({}, 201, ""),
        ({"epoch": 3, "previous": charter.digest}, 409, "conflict"),
        ({"epoch": 2}, 409, "conflict"),
        ({"n_min": 2}, 422, "unsafe-parameters"),
        ({"server_keys": stranger}, 422, "weaker-than-charter"),
        (
            {"roster": (charter.roster[0].model_copy(update={"signing_keys": stranger}), *charter.roster[1:])},
            422,
            "weaker-than-charter",
        ),
    ]
    for changes, status, code in cases:
        answer = operator.post("/v1/charters", consortium.by_operator(consortium.charter(**changes)))
        if code:
            refused(answer, status, code)
        else:
            done(answer, status)
