"""The operator's routes for accounts: who may, what each does, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from privacy.protocol.identifiers import OPERATOR
from tests.aggregator.conftest import Running
from tests.aggregator.console.browser import send, sign_in_as, take_into_use
from tests.aggregator.driver import RoundDriver
from tests.consortium import done

KIM = {"name": "kim", "role": "officer", "scope": "consortium", "email": None, "subject": None}


def post(driver: RoundDriver, path: str, body: dict[str, Any] | None = None, by: str = OPERATOR) -> Any:
    return driver.client(by).post(path, body)


def test_an_account_is_made_used_reset_and_disabled(running: Running, driver: RoundDriver) -> None:
    made = done(post(driver, "/v1/accounts", KIM), 201)
    assert made["account"] == {**KIM, "state": "invited", "way": "password"}
    take_into_use(running, made["link"]["url"].split("link=")[1])
    assert running.http.get("/console").status_code == 200
    listed = done(driver.client(OPERATOR).get("/v1/accounts"))["accounts"]
    assert [(account["name"], account["state"]) for account in listed] == [("kim", "active")]
    reset = done(post(driver, "/v1/accounts/kim/reset"))
    assert reset["account"]["state"] == "invited"
    assert running.http.get("/console").status_code == 401
    assert done(post(driver, "/v1/accounts/kim/disabling"))["state"] == "disabled"
    void = reset["link"]["url"].split("link=")[1]
    assert send(running, "/console/sign-in", {"link": void}).status_code == 401
    reasons = driver.client(OPERATOR).get("/v1/ledger").text
    for said in ("account kim: officer, scope consortium", "account kim reset", "account kim disabled"):
        assert said in reasons


def test_nobody_but_the_operator_makes_or_sees_accounts(running: Running, driver: RoundDriver) -> None:
    partner = driver.names[0]
    for path, body in (("", KIM), ("/kim/reset", None), ("/kim/disabling", None)):
        assert post(driver, f"/v1/accounts{path}", body, by=partner).status_code == 403
    assert driver.client(partner).get("/v1/accounts").status_code == 403
    assert running.http.post("/v1/accounts", json=KIM).status_code == 401
    sign_in_as(running, "operator")
    assert running.http.post("/v1/accounts", json=KIM).status_code == 401


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"role": "root"}, 422),
        ({"scope": "stranger"}, 403),
        ({"scope": "../x"}, 422),
        ({"name": "Kim"}, 422),
        ({"name": "kim\n"}, 422),
        ({"name": ""}, 422),
        ({"name": "k" * 65}, 422),
        ({"name": "kim\r\nset-cookie: a=b"}, 422),
        ({"email": "no address"}, 422),
        ({"email": "a@b\r\nx: y"}, 422),
        ({"subject": "\u0000"}, 422),
        ({"password": "chosen by the operator"}, 422),
    ],
)
def test_what_is_no_account_is_refused(driver: RoundDriver, change: dict[str, Any], status: int) -> None:
    answer = post(driver, "/v1/accounts", KIM | change)
    assert answer.status_code == status, answer.text
    assert done(driver.client(OPERATOR).get("/v1/accounts"))["accounts"] == []


def test_names_and_identities_are_taken_once(driver: RoundDriver) -> None:
    done(post(driver, "/v1/accounts", KIM), 201)
    assert post(driver, "/v1/accounts", KIM).status_code == 409
    lee = KIM | {"name": "lee", "email": "Lee@Aster.example"}
    made = done(post(driver, "/v1/accounts", lee), 201)
    assert (made["link"], made["account"]["way"]) == (None, "provider")
    assert post(driver, "/v1/accounts", lee | {"name": "park", "email": "lee@aster.EXAMPLE"}).status_code == 409
    assert post(driver, "/v1/accounts/nobody/reset").status_code == 404
    assert post(driver, "/v1/accounts/nobody/disabling").status_code == 404
