"""Each form of the console under fields that no page would send, from somebody who is signed in and may send it.

Rules:
1. The form's own token is right: what stands behind it is reached, by an account of each role in turn.
2. An example is what the page would send, with some fields left out, replaced or added; or bytes that are no form.
3. Every answer is a page or a redirect, none is an error of ours, and no page holds what the policy would block.
Examples are the same in each run; FUZZ_EXAMPLES asks for more of them a form.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote_from_bytes, urlencode

import pytest
from argon2 import PasswordHasher
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aggregator.app import create_app
from aggregator.console.cookies import CSRF_FIELD
from aggregator.settings import Rate, Rates
from aggregator.storage import passwords
from tests.aggregator.conftest import Running
from tests.aggregator.console.browser import form_token
from tests.aggregator.console.strict_page import StrictPage
from tests.aggregator.driver import SHARD_BYTES, RoundDriver
from tests.attacks.console_scene import OWN, USES, Scene, Someone, enter, made
from tests.consortium import SeededSource, TestConsortium
from tests.fuzzing.mutation import mutated

pytestmark = pytest.mark.full

FORMS = sorted(key.removeprefix("POST ") for key in USES if key.startswith("POST "))
EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "30"))
WITHOUT_END = Rate(per_second=1, burst=1e9)
# Beside what console_scene sends: fields that these forms have, with values that their checks let pass.
MORE: Mapping[str, Mapping[str, str]] = {
    "/console/sign-in": {"name": "kim", "password": "a choir of many voices", "code": "123456"},
    "/console/set-up": {"password": "many voices in a choir", "again": "many voices in a choir", "code": "123456"},
    "/console/account/password": {
        "current": "a choir of many voices",
        "code": "123456",
        "password": "many voices in a choir",
        "again": "many voices in a choir",
    },
    "/console/account/authenticator": {"current": "a choir of many voices", "code": "123456"},
    "/console/account/authenticator/code": {"code": "123456"},
    "/console/reports": {"from": "2025-10-09", "to": "2025-10-10", "in": "ko"},
}
ODD = (
    "",
    "0",
    "-1",
    "nan",
    "inf",
    "-inf",
    "1e999",
    "5e-324",
    "1" * 400,
    "\u0661\u0662",
    "0x10",
    "1_0",
    "9999-12-31",
    "0000-00-00",
    "2025-02-30",
    "10000-01-01",
    "csv",
    "pdf",
    "html",
    "partner-02",
    "operator",
    "../../server.key",
    "a\r\nset-cookie: b=c",
    "\x00",
    "\ud7ff\ufffe\U0010ffff",
    "\u202e\u0430dmin",
    "'; --",
    "{{7*7}}<script>alert(1)</script>",
    "x" * 3000,
    "\N{HANGUL SYLLABLE GAG}" * 400,
)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    consortium = TestConsortium()
    folder = consortium.server_folder(tmp_path_factory.mktemp("forms") / "server", SHARD_BYTES)
    # The clock stands still, so no bucket would ever fill again.
    chosen = folder.model_copy(update={"rates": Rates(**dict.fromkeys(Rates.model_fields, WITHOUT_END))})
    with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(1) as pool:
        patch.setattr(passwords, "HASHER", PasswordHasher(time_cost=1, memory_cost=1024, parallelism=1))
        passwords._nobodys.cache_clear()
        app = create_app(chosen, consortium.clock, SeededSource("service"), pool)
        with TestClient(app, raise_server_exceptions=False) as http:
            driver = RoundDriver(consortium, http, *consortium.constitute(http))
            yield made(Running(http, app.state.service, consortium, chosen), driver)
        passwords._nobodys.cache_clear()


@pytest.fixture(scope="module")
def reached() -> dict[str, set[int]]:
    """The statuses that each form answered."""
    return {}


def body(fields: Mapping[str, str], token: str, chance: random.Random) -> bytes:
    """Rule 2."""
    sent = list(fields.items())
    for _ in range(chance.choice((0, 1, 1, 2, 4))):
        kind, place = chance.randrange(5), chance.randrange(len(sent) + 1)
        if kind == 0:
            sent[place : place + 1] = []
        elif kind == 1:
            sent[place:place] = [(chance.choice((*fields, "", "link", CSRF_FIELD, "page")), chance.choice(ODD))]
        else:
            name = sent[place][0] if place < len(sent) else chance.choice(tuple(fields))
            sent[place : place + 1] = [(name, chance.choice(ODD))]
    whole = urlencode([(CSRF_FIELD, token), *sent]).encode()
    if chance.random() < 0.8:
        return whole
    head, _, rest = whole.partition(b"&")
    altered = mutated(rest, [b"reason=%ff%fe", b"=&==&%", b"a=b;c=d"], chance)
    return head + b"&" + (altered if chance.random() < 0.5 else quote_from_bytes(altered, "=&%+").encode())


@pytest.mark.parametrize("route", FORMS)
def test_a_form(scene: Scene, reached: dict[str, set[int]], route: str) -> None:
    running, use = scene.running, USES[f"POST {route}"]

    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.integers(0, 1 << 32))
    def holds(drawn: int) -> None:
        chance = random.Random(drawn)
        role = chance.choice(("officer", "officer", "operator", "auditor"))
        who = Someone(setting_up=True) if use == "set-up" else Someone(role)  # type: ignore[arg-type]
        enter(running, who)
        token = form_token(running, who.page)
        if chance.random() < 0.1:
            running.consortium.clock.seconds += 30
        sent = body({**scene.fields(route, OWN), **MORE.get(route, {})}, token, chance)
        answer = running.http.post(
            scene.path(route, OWN),
            content=sent,
            headers={"content-type": "application/x-www-form-urlencoded"},
            follow_redirects=False,
        )
        reached.setdefault(route, set()).add(answer.status_code)
        assert answer.status_code < 500, (sent, answer.text)
        if answer.status_code == 303:
            assert answer.headers["location"].startswith("/console")
            assert "b=c" not in answer.headers.get("set-cookie", "")
            return
        assert answer.headers["content-type"].startswith("text/html"), sent
        page = StrictPage()
        page.feed(answer.text)
        assert page.faults == [], sent

    holds()


def test_forms_were_taken_and_refused(reached: dict[str, set[int]]) -> None:
    """Or all of the above would say no more than that a token is needed."""
    assert set(reached) == set(FORMS), "run with the rest of this file"
    taken = {route for route, statuses in reached.items() if statuses & {200, 303}}
    assert len(taken) >= 8, reached
    assert all(statuses - {403} for statuses in reached.values()), reached
