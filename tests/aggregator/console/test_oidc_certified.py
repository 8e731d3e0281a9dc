"""Signing in through an identity provider that is certified: npm's oidc-provider."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from fastapi.testclient import TestClient

from aggregator.app import create_app
from aggregator.storage import accounts
from aggregator.storage.service import Service
from privacy.clock import SystemClock
from privacy.randomness import SystemRandom
from tests import oidc
from tests.aggregator.console.lying_provider import BACK, account, settings_with
from tests.consortium import TestConsortium


@pytest.fixture(params=[False, True], ids=["email in the token", "email at userinfo"])
def served(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[TestClient]:
    folder = oidc.installed(request.config.cache.mkdir("oidc-provider"))
    with oidc.provider(folder, BACK, by_userinfo=request.param) as issuer:
        TestConsortium().server_folder(tmp_path / "server")
        settings = settings_with(tmp_path / "server", issuer=issuer, name="Aster")
        with ThreadPoolExecutor(1) as pool:
            app = create_app(settings, SystemClock(), SystemRandom(), pool)
            with TestClient(app, raise_server_exceptions=False, follow_redirects=False) as http:
                yield http


@pytest.mark.full
def test_end_to_end_with_a_certified_provider(served: TestClient) -> None:
    service: Service = served.app.state.service  # type: ignore[attr-defined]
    account(service, "kim", email="kim@aster.example")
    account(service, "lee", subject="lee")
    assert 'href="/console/oidc"' in served.get("/console/sign-in").text
    for login, status in (
        ("kim", 200),
        ("lee", 200),
        ("kim", 200),  # now by the subject that the email was bound to
        ("stranger", 401),
        ("unverified-kim", 401),
    ):
        served.cookies.clear()
        start = served.get("/console/oidc").headers["location"]
        query = parse_qs(urlsplit(start).query)
        assert query["code_challenge_method"] == ["S256"]
        assert query["scope"] == ["openid email"]
        back = oidc.walk(start, login, BACK)
        answer = served.get(back)
        assert answer.status_code == status, answer.text
        assert served.get("/console").status_code == status
        # Used once: the cookie is gone, and the provider refuses the code as well.
        assert served.get(back).status_code == 401
    served.cookies.clear()
    with service.database.write() as session:
        accounts.disable(session, "kim", service.clock.now())
    start = served.get("/console/oidc").headers["location"]
    assert served.get(oidc.walk(start, "kim", BACK)).status_code == 401


@pytest.mark.full
def test_a_code_brought_to_another_browser_is_refused(served: TestClient) -> None:
    service: Service = served.app.state.service  # type: ignore[attr-defined]
    account(service, "kim", subject="kim")
    back = oidc.walk(served.get("/console/oidc").headers["location"], "kim", BACK)
    own = dict(served.cookies)
    served.cookies.clear()
    assert served.get(back).status_code == 401
    served.get("/console/oidc")  # a sign-in of this other browser's own
    assert served.get(back).status_code == 401
    served.cookies.clear()
    served.cookies.update(own)
    # The code is unspent: only where it belongs does it open anything.
    assert served.get(back).status_code == 200
