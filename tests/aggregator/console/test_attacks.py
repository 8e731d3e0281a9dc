"""Whatever is sent to the sign-in pages, however many at once: a page says no, and nothing is opened."""

from __future__ import annotations

import threading

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aggregator.console.admission import Typed, Whence, by_password
from aggregator.console.cookies import SESSION_COOKIE
from aggregator.storage import accounts
from aggregator.storage.sessions import CONSORTIUM, Role
from aggregator.storage.sign_in_limits import ONE_PLACE
from privacy.errors import NotAuthenticated, TooManyAttempts
from tests.aggregator.conftest import Running
from tests.aggregator.console.browser import (
    account_link,
    form_token,
    send,
    sign_in_as,
    take_into_use,
    without_cookies,
)
from tests.aggregator.driver import RoundDriver

FORMS = ("sign-in", "set-up", "account/password", "account/authenticator", "account/authenticator/code")
FIELDS = ("name", "password", "again", "current", "code", "link", "csrf")


@pytest.mark.parametrize("path", [*FORMS, "sign-out", "sign-out-everywhere"])
def test_a_form_from_elsewhere_is_refused(running: Running, path: str) -> None:
    session = sign_in_as(running)
    token = form_token(running, "/console")
    for headers, fields in (
        ({}, {}),
        ({"origin": "https://elsewhere.example"}, {}),
        ({"sec-fetch-site": "cross-site"}, {"csrf": token}),
        ({"sec-fetch-site": "same-site"}, {"csrf": token}),
    ):
        answer = running.http.post(f"/console/{path}", data=fields, headers=headers)
        assert answer.status_code == 403, (headers, fields)
        # Nor does it end the session that is there.
        assert running.http.cookies[SESSION_COOKIE] == session
        assert running.http.get("/console").status_code == 200


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    path=st.sampled_from(FORMS),
    fields=st.dictionaries(st.sampled_from(FIELDS), st.text(max_size=40), max_size=5),
    signed=st.booleans(),
)
def test_no_text_in_a_form_is_an_error_of_ours(
    running: Running, path: str, fields: dict[str, str], signed: bool
) -> None:
    without_cookies(running)
    if signed:
        sign_in_as(running, account="lee")
        with running.service.database.write() as session:
            if "lee" not in {account.name for account in accounts.everyone(session)}:
                accounts.create(session, "lee", "officer", CONSORTIUM, 0.0)
    given_fields = {"csrf": form_token(running, "/console" if signed else "/console/sign-in")} | fields
    encoded = {name: value.encode("utf-8", "surrogatepass") for name, value in given_fields.items()}
    answer = running.http.post(f"/console/{path}", data=encoded, follow_redirects=False)
    assert answer.status_code in (401, 403, 422, 429), answer.text
    assert answer.headers["content-type"].startswith("text/html")


@pytest.mark.parametrize(
    "body", [b"csrf", b"=&=&=", b"a=1" + b"&a=1" * 20, b"csrf=%00", b"csrf=%ff", b"\xff", b"&" * 4000]
)
def test_no_body_of_a_form_is_an_error_of_ours(running: Running, body: bytes) -> None:
    form_token(running, "/console/sign-in")
    for path in FORMS:
        answer = running.http.post(f"/console/{path}", content=body)
        assert answer.status_code in (401, 403, 413, 422), (path, answer.status_code)


def test_many_guesses_at_once_are_no_more_than_one_after_another(running: Running) -> None:
    take_into_use(running, account_link(running))
    outcomes: list[type[Exception]] = []

    def guess(at: int) -> None:
        try:
            by_password(running.service, Typed("kim", f"guess number {at}", "000000"), Whence("192.0.2.1", "", ""))
        except (NotAuthenticated, TooManyAttempts) as error:
            outcomes.append(type(error))

    threads = [threading.Thread(target=guess, args=(at,)) for at in range(24)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(outcomes) == 24
    assert outcomes.count(NotAuthenticated) == ONE_PLACE.free + 1


def test_a_link_of_another_site_to_a_page_ends_no_session(running: Running) -> None:
    """A browser that comes from elsewhere withholds the strict cookie: it must not be told to forget it."""
    answer = running.http.get("/console")
    assert answer.status_code == 401
    assert not any(cookie.startswith(f"{SESSION_COOKIE}=") for cookie in answer.headers.get_list("set-cookie"))
    running.http.cookies.set(SESSION_COOKIE, "f" * 64, domain="testserver.local", path="/console")
    answer = running.http.get("/console")
    assert any(cookie.startswith(f"{SESSION_COOKIE}=") for cookie in answer.headers.get_list("set-cookie"))


def test_links_of_many_cannot_be_had_for_one_account(running: Running) -> None:
    """Of two who open an account's link, the second holds nothing, and the first alone takes it into use."""
    link = account_link(running)
    first = send(running, "/console/sign-in", {"link": link})
    assert first.status_code == 303
    without_cookies(running)
    assert send(running, "/console/sign-in", {"link": link}).status_code == 401
    assert running.http.get("/console/set-up").status_code == 401


@pytest.mark.parametrize("role", ["officer", "operator", "auditor"])
def test_no_role_sees_beyond_its_scope(running: Running, driver: RoundDriver, role: Role) -> None:
    own, other = driver.names[0], driver.names[1]
    sign_in_as(running, role, own)
    text = running.http.get("/console").text
    assert f'id="name-{own}"' in text
    assert f'id="name-{other}"' not in text
    for change in (f"?scope={other}", "?scope=consortium", f"?participant={other}", "?role=officer"):
        assert f'id="name-{other}"' not in running.http.get(f"/console{change}").text


def test_a_scope_or_role_in_a_form_is_nothing(running: Running) -> None:
    link = account_link(running, "lee", "auditor", "partner-01")
    person = take_into_use(running, link, "lee")
    without_cookies(running)
    fields = person.fields(running) | {"role": "officer", "scope": CONSORTIUM, "account": "kim"}
    assert send(running, "/console/sign-in", fields, page="/console/sign-in").status_code == 303
    with running.service.database.read() as session:
        account = accounts.find(session, "lee")
    assert (account.role, account.scope) == ("auditor", "partner-01")
    assert "Auditor" in running.http.get("/console/account").text
