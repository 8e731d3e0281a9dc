"""Whoever guesses at passwords and codes is slowed down, tells on itself, and holds up nobody else."""

from __future__ import annotations

import pytest

from aggregator.console.admission import Typed, Whence, by_password
from aggregator.console.cookies import BROWSER_COOKIE
from aggregator.storage.alarms import Alarm, alarms
from aggregator.storage.sign_in_limits import ACCOUNT, EVERYONE, ONE_PLACE, Bound, network
from privacy.errors import NotAuthenticated
from tests.aggregator.conftest import Running
from tests.aggregator.console.browser import Person, account_link, send, sign_in, take_into_use, without_cookies


def test_whoever_guesses_is_slowed_down_and_the_officers_own_browser_is_not(running: Running, kim: Person) -> None:
    assert sign_in(running, kim).status_code == 303
    own = running.http.cookies[BROWSER_COOKIE]
    without_cookies(running)
    running.consortium.clock.seconds += 60
    for _ in range(ONE_PLACE.free):
        assert sign_in(running, kim, code="000000").status_code == 401
        without_cookies(running)
    assert sign_in(running, kim, code="000000").status_code == 401
    without_cookies(running)
    # From now on nothing is looked at, right or wrong.
    for code in ("000000", kim.code(running)):
        answer = sign_in(running, kim, code=code)
        assert answer.status_code == 429
        assert "quarter of an hour" in answer.text
        without_cookies(running)
    running.http.cookies.set(BROWSER_COOKIE, own, domain="testserver.local", path="/console")
    assert sign_in(running, kim).status_code == 303
    without_cookies(running)
    running.consortium.clock.seconds += ONE_PLACE.first + 30
    assert sign_in(running, kim).status_code == 303


def test_guessing_raises_an_alarm_for_the_accounts_scope_once_a_day(running: Running) -> None:
    person = take_into_use(running, account_link(running, "lee", "officer", "partner-01"), "lee")
    without_cookies(running)

    def guess(times: int, **wrong: str) -> list[Alarm]:
        for _ in range(times):
            sign_in(running, person, **wrong)
            without_cookies(running)
            running.consortium.clock.seconds += 1000
        with running.service.database.read() as session:
            return alarms(session, "partner-01", 10)

    assert guess(ONE_PLACE.free, code="000000") == []
    # Right after five failures: the sixth attempt would begin a delay, and succeeds.
    assert guess(1) == []
    assert guess(2 * ONE_PLACE.free, name="nobody", code="000000") == []
    (alarm,) = guess(ONE_PLACE.free + 3, code="000000")
    assert (alarm.kind, alarm.detail["account"], alarm.participant) == ("locked_out", "lee", "partner-01")
    with running.service.database.read() as session:
        assert alarms(session, "partner-02", 10) == []


def test_a_name_that_is_no_account_is_slowed_down_alike(running: Running, kim: Person) -> None:
    statuses = []
    for name in ("kim", "nobody"):
        for _ in range(ONE_PLACE.free + 2):
            statuses.append((name, sign_in(running, kim, name=name, code="000000").status_code))
            without_cookies(running)
    assert [code for name, code in statuses if name == "kim"] == [
        code for name, code in statuses if name == "nobody"
    ]


def test_guessing_from_ever_new_addresses_meets_the_accounts_own_bound(running: Running, kim: Person) -> None:
    typed = Typed(kim.name, "another password", "000000")
    for at in range(ACCOUNT.free + 1):
        with pytest.raises(NotAuthenticated):
            by_password(running.service, typed, Whence(f"2001:db8:{at}::1", "", ""))
    without_cookies(running)
    assert sign_in(running, kim).status_code == 429
    # Delays never end for good: that they grow, and how far, is a bound's own matter.
    running.consortium.clock.seconds += ACCOUNT.longest
    assert sign_in(running, kim).status_code == 303


@pytest.mark.parametrize("bound", [ONE_PLACE, ACCOUNT, EVERYONE])
def test_delays_grow_and_end(bound: Bound) -> None:
    delays = [bound.delay(failures) for failures in range(bound.free + 200)]
    assert delays[: bound.free + 1] == [0.0] * (bound.free + 1)
    assert delays == sorted(delays)
    assert delays[-1] == bound.longest <= 900


def test_an_ipv6_host_is_its_network() -> None:
    assert network("2001:db8::1") == network("2001:db8::ffff") != network("2001:db8:0:1::1")
    assert network("192.0.2.1") != network("192.0.2.2")
    assert network("testclient") == "testclient"


def test_a_thief_of_a_session_cannot_guess_the_password_in_it(running: Running, kim: Person) -> None:
    sign_in(running, kim)
    running.consortium.clock.seconds += 30
    fields = {"current": "a guess of the thief", "code": "000000"}
    said = [
        send(running, "/console/account/authenticator", fields, page="/console/account").text
        for _ in range(ONE_PLACE.free + 2)
    ]
    assert "do not belong together" in said[0]
    assert "Too many attempts" in said[-1]
