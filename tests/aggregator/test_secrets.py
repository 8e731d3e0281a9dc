"""Secrets show nowhere: not in logs and traces at any level, not in the service's folder, not in a failing test.

The console and the API run with what people type marked, a round with all that partners keep to themselves marked;
both meet failures whose traces are logged. Not tried: values of local variables, which no log of ours prints.
"""

from __future__ import annotations

import io
import logging
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import structlog
from sqlalchemy import text

import client_sdk.opening
import client_sdk.upload
from aggregator.app import QUIET, configure_logging
from aggregator.rounds.webhooks import Webhooks
from aggregator.storage.alarms import raise_alarm
from aggregator.storage.folder import SERVER_KEY_FILE
from client_sdk.attempt import Outcome
from client_sdk.keystore import load_keys
from privacy.errors import ChoraleError
from privacy.he.boxes import BoxKey
from privacy.protocol.identifiers import OPERATOR
from privacy.randomness import SystemRandom
from tests.aggregator.conftest import Running
from tests.aggregator.console.browser import (
    account_link,
    link_for,
    send,
    sign_in,
    take_into_use,
    visit,
    without_cookies,
)
from tests.client_sdk.choir import PASSPHRASE, Choir, choir, take_part, together, values_for
from tests.consortium import done
from tests.marks import MarkingSource, Marks, forms

ROOT = Path(__file__).parents[2]
TYPED = "a password that nobody may read"
HOOK = "https://alarms.example/hook/T0K3N-of-the-address"


@dataclass
class Logged:
    """What the service's own logging wrote, with the root logger at DEBUG."""

    stream: io.StringIO

    @property
    def text(self) -> str:
        return self.stream.getvalue()


@pytest.fixture
def logged() -> Iterator[Logged]:
    root, before = logging.getLogger(), structlog.get_config()
    handlers, level = root.handlers, root.level
    levels = {name: logging.getLogger(name).level for name in QUIET}
    configure_logging()
    # Cached loggers would outlive this test.
    structlog.configure(cache_logger_on_first_use=False)
    stream = io.StringIO()
    handler = root.handlers[0]
    assert isinstance(handler, logging.StreamHandler)
    handler.setStream(stream)
    root.setLevel(logging.DEBUG)
    yield Logged(stream)
    root.handlers = handlers
    root.setLevel(level)
    for name, was in levels.items():
        logging.getLogger(name).setLevel(was)
    structlog.configure(**before)


@pytest.mark.parametrize("place", range(9))
def test_a_secret_is_found_in_each_of_its_forms(place: int) -> None:
    marks = Marks()
    secret = SystemRandom().bytes(64)
    marks.add("planted", secret)
    shown = list(forms(secret))[place]
    # A number has no ends of its own: it is found where the whole secret is as short as a window.
    if shown.isdigit():
        marks.add("planted", secret[:20])
        shown = list(forms(secret[:20]))[place]
    assert marks.found_in(b"before " + shown + b" after") == {"planted"}
    assert marks.found_in(SystemRandom().bytes(4096)) == set()


def test_signing_in_and_what_fails_on_the_way_log_and_store_no_secret(
    running: Running, logged: Logged, capfd: pytest.CaptureFixture[str]
) -> None:
    marks = Marks()
    marks.add("the service's key", running.service.keys.server.private_bytes())
    marks.add("the operator's key", running.consortium.operator.private_bytes())
    operator = running.consortium.client(running.http, OPERATOR)
    invited = done(operator.post("/v1/invitations", {"partner": "aster", "expires_in_seconds": 3600}), 201)
    marks.add("an invitation's token", invited["token"])
    wrong = running.http.post("/v1/enrolments", json={"token": invited["token"], "enrolment": {"body": 1}})
    assert wrong.status_code == 422
    link = account_link(running)
    marks.add("a link", link)
    kim = take_into_use(running, link, password=TYPED)
    marks.add("a password", kim.password)
    marks.add("a second factor", kim.secret)
    for code in kim.recovery:
        marks.add("a recovery code", code.replace(" ", ""))
    visiting = link_for(running)
    marks.add("a link", visiting)
    assert running.http.get(f"/console/sign-in?link={visiting}").status_code == 200
    visit(running)
    mark_cookies(running, marks)
    without_cookies(running)
    wrong_word = "another password that was typed"
    marks.add("a wrong password", wrong_word)
    assert sign_in(running, kim, password=wrong_word).status_code == 401
    running.consortium.clock.seconds += 30
    assert sign_in(running, kim).status_code == 303
    mark_cookies(running, marks)
    # Statements that fail, with what a person typed among their values, and their traces in the log.
    with running.service.database.write() as session:
        for what, table in (("UPDATE OF password", "accounts"), ("INSERT", "console_sessions")):
            session.execute(
                text(
                    f"CREATE TRIGGER planted_{table} BEFORE {what} ON {table} "
                    "BEGIN SELECT RAISE(ABORT, 'planted'); END"
                )
            )
    running.consortium.clock.seconds += 60
    new = "a newer password that nobody may read"
    marks.add("a password", new)
    marks.add("a password's hash", "$argon2id$v=19$")
    fields = {"current": TYPED, "password": new, "again": new, "code": kim.code(running)}
    assert send(running, "/console/account/password", fields, page="/console/account").status_code == 500
    other = link_for(running)
    marks.add("a link", other)
    assert send(running, "/console/sign-in", {"link": other}).status_code == 500
    assert "Traceback" in logged.text
    assert "planted" in logged.text
    assert marks.found_in(logged.text, *capfd.readouterr()) == set()
    kept = marks.found_under(running.settings.folder, but=(SERVER_KEY_FILE,))
    assert {line for line in kept if not line.startswith("a password's hash")} == set()


def mark_cookies(running: Running, marks: Marks) -> None:
    for cookie in running.http.cookies.jar:
        if cookie.value and len(cookie.value) > 20:
            marks.add(f"cookie {cookie.name}", cookie.value)


def test_a_webhooks_address_is_not_logged_when_it_is_called(running: Running, logged: Logged) -> None:
    marks = Marks()
    marks.add("a webhook's address", HOOK)
    settings = running.settings.model_copy(update={"alarm_webhooks": (HOOK,)})
    assert marks.found_in(repr(settings)) == set()
    with running.service.database.write() as session:
        detail = {"plan": "ab" * 32, "round": 3, "attempt": 1, "check": 6, "reason": "planted"}
        raise_alarm(session, "opening_refused", "aster", detail, running.service.now())
    service = replace(running.service, settings=settings)
    assert Webhooks(service, httpx.MockTransport(lambda request: httpx.Response(204))).turn() == 1
    assert marks.found_in(logged.text) == set()


def mark_partners(marks: Marks, monkeypatch: pytest.MonkeyPatch) -> None:
    """All that a partner's machine makes and keeps to itself in a round."""

    def marking(module: Any, name: str, kind: str, of: Any) -> None:
        act = getattr(module, name)

        def marked(*arguments: Any, **named: Any) -> Any:
            given = act(*arguments, **named)
            marks.add(kind, of(arguments, given))
            return given

        monkeypatch.setattr(module, name, marked)

    marking(client_sdk.upload, "contribution_seed", "an upload's seed", lambda arguments, given: given)
    marking(client_sdk.upload, "deal", "an upload's key", lambda arguments, given: arguments[0].tobytes())
    marking(client_sdk.upload, "encode_shares", "a share", lambda arguments, given: given)
    marking(client_sdk.opening, "encode_shares", "a summed share", lambda arguments, given: given)
    generate = BoxKey.generate

    def generated() -> BoxKey:
        key = generate()
        marks.add("a box's key", key.private_bytes)
        return key

    monkeypatch.setattr(BoxKey, "generate", generated)


def test_a_round_and_its_failures_log_and_store_nothing_that_is_a_partners_own(
    tmp_path: Path, logged: Logged, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    marks = Marks()
    mark_partners(marks, monkeypatch)
    marks.add("a passphrase", PASSPHRASE)
    with choir(tmp_path) as three:
        _, campaign, state = three.constitute()
        for name in three.names:
            keys = keys_of(three, name)
            marks.add("a signing key", keys.signing.private_bytes())
            marks.add("a result key", keys.result.private_bytes)
            marks.add("a device's secret", keys.device_secret)
            marks.add("an update", values_for(name).tobytes())
        marks.add("a state's salt", state.salt)
        three.post_plan(campaign, state.digest)

        def act(name: str) -> Outcome:
            with three.agent(name, source=MarkingSource(SystemRandom(), marks)) as agent:
                if name == three.names[0]:
                    fail_once(agent)
                return take_part(agent, campaign)

        outcomes = together(three.names, act)
        assert all(outcome.confirmed for outcome in outcomes.values())
        summed = outcomes[three.names[0]].summed_key
        assert summed is not None
        marks.add("the sum's key", summed)
        marks.add("the new state's salt", outcomes[three.names[0]].state.salt)
        log_failure(lambda: three.agent(three.names[0], wrong="argument"))
    kinds = set(marks.known.values())
    assert {"a share", "a summed share", "an upload's seed", "an upload's key", "a box's key"} <= kinds
    assert "Traceback" in logged.text
    assert marks.found_in(logged.text, *capfd.readouterr()) == set()
    assert marks.found_under(tmp_path / "server", but=(SERVER_KEY_FILE,)) == set()


def keys_of(three: Choir, name: str) -> Any:
    with three.partner(name) as partner:
        return partner.keys


def fail_once(agent: Any) -> None:
    """A vector of another shape, and a request that the service refuses: their traces go to the log."""
    log_failure(lambda: agent.partner.service.own_upload("00" * 32))
    log_failure(lambda: load_keys(agent.folder, lambda: "a wrong passphrase"))


def log_failure(act: Any) -> None:
    try:
        act()
    except (ChoraleError, TypeError, AttributeError):
        logging.getLogger("partner").exception("failed")


@pytest.mark.full
def test_a_failing_test_shows_no_secret_of_the_objects_that_it_holds(tmp_path: Path) -> None:
    """pytest prints the local variables of a failing test, each by its repr."""
    planted = tmp_path / "test_planted.py"
    planted.write_text(HOLDER, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-l", "--tb=long", "-p", "no:cacheprovider", "-c", "/dev/null"]
    done_ = subprocess.run([*command, str(planted)], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert "1 failed" in done_.stdout, done_.stdout
    assert "withheld" in done_.stdout
    marks = Marks()
    marks.add("a seed", bytes(range(64)))
    marks.add("a box's key", bytes(range(96)))
    marks.add("a token", "t0ken-t0ken-t0ken")
    assert marks.found_in(done_.stdout, done_.stderr) == set()


HOLDER = """
from aggregator.api.models import EnrolmentRequest, Invitation, OfficerLink
from aggregator.console.admission import Typed, Whence
from aggregator.settings import Settings
from client_sdk.keystore import PartnerKeys
from privacy.he.boxes import BoxKey
from privacy.he.envelope import OneTimeKey
from privacy.protocol.signing import SigningKey
from privacy.randomness import Keystream

TOKEN = "t0ken-t0ken-" + "t0ken"

def test_holds_secrets():
    signing = SigningKey(bytes(range(64)))
    stream = Keystream(bytes(range(32)))
    box = BoxKey.from_private_bytes(bytes(range(96)))
    keys = PartnerKeys(signing, box, bytes(range(32)))
    one_time = OneTimeKey(bytes(range(32)))
    typed, whence = Typed("kim", TOKEN, TOKEN), Whence("127.0.0.1", TOKEN, TOKEN)
    invitation = Invitation(partner="aster", token=TOKEN, expires=1)
    enrolment = EnrolmentRequest(token=TOKEN, enrolment={})
    link = OfficerLink(url=TOKEN, expires=1)
    settings = Settings(folder="/tmp", database_url=TOKEN, alarm_webhooks=("https://a.example/" + TOKEN,))
    assert keys is None
"""
