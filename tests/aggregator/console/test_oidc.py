"""Signing in through an identity provider that lies, that is away, or that is set up wrongly."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from fastapi.testclient import TestClient
from joserfc import jwt
from joserfc.jwk import OctKey, RSAKey
from pydantic import ValidationError

from aggregator.console.cookies import PROVIDER_COOKIE, SESSION_COOKIE
from aggregator.console.provider import AGAIN_SECONDS, MAX_ANSWER_BYTES, Provider
from aggregator.settings import Settings
from privacy.clock import SystemClock
from privacy.errors import ConfigurationError
from tests import oidc
from tests.aggregator.conftest import Running
from tests.aggregator.console.lying_provider import BACK, ISSUER, Liar, account, install, new_key, settings_with
from tests.consortium import TestConsortium


@pytest.fixture
def liar(running: Running, tmp_path: Path) -> Liar:
    liar = Liar(running)
    install(running, liar, tmp_path)
    account(running.service, "kim", subject="kim")
    return liar


def test_a_right_answer_opens_the_account_and_nothing_more(running: Running, liar: Liar) -> None:
    answer = liar.sign_in()
    assert answer.status_code == 200
    assert 'content="0; url=/console"' in answer.text
    assert running.http.get("/console").status_code == 200
    # The account is an auditor's, whatever the claims say.
    liar.claims = {"role": "officer", "scope": "consortium", "groups": ["officers"]}
    liar.sign_in()
    assert "Auditor" in running.http.get("/console/account").text
    token = next(request for request in liar.asked if request.url.path == "/token")
    user, _, secret = base64.b64decode(token.headers["authorization"].split()[1]).decode().partition(":")
    assert (user, secret) == ("chorale", "a+secret+%26+of+%2B+the+client%25")
    fields = parse_qs(token.content.decode())
    assert len(fields["code_verifier"][0]) == 64
    assert fields["redirect_uri"] == [BACK]


def _unsigned(claims: dict[str, Any]) -> str:
    parts = ({"alg": "none"}, claims)
    return (
        ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts) + "."
    )


def _by_stranger(claims: dict[str, Any]) -> str:
    return jwt.encode({"alg": "RS256", "kid": "one"}, claims, RSAKey.generate_key(2048))


def _by_secret(claims: dict[str, Any]) -> str:
    return jwt.encode({"alg": "HS256"}, claims, OctKey.import_key(oidc.CLIENT_SECRET))


@pytest.mark.parametrize(
    "lie",
    [
        {"claims": {"iss": "https://elsewhere.example"}},
        {"claims": {"aud": "another-client"}},
        {"claims": {"aud": ["chorale", "another-client"]}},
        {"claims": {"aud": ["chorale", "another-client"], "azp": "another-client"}},
        {"claims": {"nonce": "another"}},
        {"claims": {"exp": 1_700_000_000}},
        {"claims": {"iat": 1_900_000_000}},
        {"claims": {"at_hash": "AAAA"}},
        {"claims": {"sub": "stranger"}},
        {"claims": {"sub": ""}},
        {"claims": {"sub": ["kim"]}},
        {"claims": {"sub": "kim\x00"}},
        {"without": ("nonce",)},
        {"without": ("aud",)},
        {"without": ("exp",)},
        {"without": ("sub",)},
        {"sign": _unsigned},
        {"sign": _by_stranger},
        {"sign": _by_secret},
        {"sign": lambda claims: "no.token.atall"},
        {"metadata": {"issuer": f"{ISSUER}/"}},
        {"metadata": {"token_endpoint": "http://169.254.169.254/latest"}},
        {"metadata": {"token_endpoint": "https://elsewhere.example/token"}},
        {"metadata": {"token_endpoint": f"{ISSUER}:8443/token"}},
        {"metadata": {"jwks_uri": "file:///etc/passwd"}},
        {"metadata": {"jwks_uri": 7}},
        {"metadata": {"authorization_endpoint": "javascript:alert(1)"}},
        {"metadata": {"authorization_endpoint": "https://elsewhere.example/auth"}},
        {"answers": {"/token": lambda: httpx.Response(400, json={"error": "invalid_grant"})}},
        {"answers": {"/token": lambda: httpx.Response(200, text="<html>")}},
        {"answers": {"/token": lambda: httpx.Response(200, json=["x"])}},
        {"answers": {"/token": lambda: httpx.Response(307, headers={"location": "https://elsewhere.example"})}},
        {"answers": {"/token": lambda: httpx.Response(200, content=b" " * (MAX_ANSWER_BYTES + 1))}},
        {"answers": {"/token": lambda: httpx.Response(502)}},
        {"answers": {"/keys": lambda: httpx.Response(200, json={"keys": 7})}},
        {"answers": {"/.well-known/openid-configuration": lambda: httpx.Response(200, json=[])}},
    ],
)
def test_whatever_is_not_right_opens_nothing(running: Running, liar: Liar, lie: dict[str, Any]) -> None:
    for name, value in lie.items():
        setattr(liar, name, value)
    answer = liar.sign_in()
    assert answer.status_code in (401, 503), answer.text
    assert answer.headers["content-type"].startswith("text/html")
    assert SESSION_COOKIE not in running.http.cookies
    assert {request.url.host for request in liar.asked} <= {"id.example"}
    assert {request.url.port for request in liar.asked} == {None}


def test_a_provider_that_does_not_answer_is_said_so(running: Running, liar: Liar) -> None:
    def fails(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("no route", request=request)

    assert running.http.get("/console/oidc", follow_redirects=False).status_code == 302
    running.http.app.state.provider._http = httpx.Client(transport=httpx.MockTransport(fails))  # type: ignore[attr-defined]
    assert liar.sign_in().status_code == 503


def test_one_that_is_away_is_asked_now_and_then_alone(running: Running, liar: Liar) -> None:
    liar.answers["/.well-known/openid-configuration"] = lambda: httpx.Response(503)
    for _ in range(5):
        assert liar.sign_in().status_code == 503
    assert len(liar.asked) == 1
    running.consortium.clock.seconds += AGAIN_SECONDS
    del liar.answers["/.well-known/openid-configuration"]
    assert liar.sign_in().status_code == 200


def test_new_keys_of_the_provider_are_fetched_and_not_at_every_request(running: Running, liar: Liar) -> None:
    assert liar.sign_in().status_code == 200
    liar.key = new_key("two")
    assert liar.sign_in().status_code == 401
    running.consortium.clock.seconds += 61
    assert liar.sign_in().status_code == 200
    assert sum(request.url.path == "/keys" for request in liar.asked) == 2


def test_an_email_counts_only_as_verified_and_is_bound_to_its_first_subject(running: Running, liar: Liar) -> None:
    account(running.service, "lee", email="Lee@aster.example")
    liar.claims = {"sub": "lee-1"}
    for told, status in (
        ({"sub": "lee-1", "email": "lee@aster.example", "email_verified": False}, 401),
        ({"sub": "lee-1", "email": "lee@aster.example", "email_verified": "true"}, 401),
        ({"sub": "lee-2", "email": "lee@aster.example", "email_verified": True}, 401),
        ({"sub": "lee-1", "email": "lee@aster.example", "email_verified": True}, 200),
        ({"sub": "lee-1", "email": "moved@aster.example", "email_verified": True}, 200),
    ):
        liar.userinfo = told
        assert liar.sign_in().status_code == status, told
    # Who gets the address later is somebody else.
    liar.claims = {"sub": "lee-3", "email": "lee@aster.example", "email_verified": True}
    assert liar.sign_in().status_code == 401


def test_a_demanded_way_of_signing_in_is_demanded(running: Running, liar: Liar, tmp_path: Path) -> None:
    install(running, liar, tmp_path, required_amr=["mfa"])
    for amr, status in ((None, 401), (["pwd"], 401), ("mfa", 401), (["pwd", "mfa"], 200)):
        liar.claims = {} if amr is None else {"amr": amr}
        assert liar.sign_in().status_code == status, amr


def test_state_is_of_this_browser_and_the_issuer_is_the_one(running: Running, liar: Liar) -> None:
    out = running.http.get("/console/oidc", follow_redirects=False)
    cookie = out.headers["set-cookie"].lower()
    assert PROVIDER_COOKIE in cookie
    assert "samesite=lax" in cookie
    assert "httponly" in cookie
    query = parse_qs(urlsplit(out.headers["location"]).query)
    liar.nonce, state = query["nonce"][0], query["state"][0]
    secret = out.cookies[PROVIDER_COOKIE]

    def browser() -> TestClient:
        return TestClient(running.http.app, cookies={PROVIDER_COOKIE: secret})

    for wrong in (
        {"code": "c"},
        {"state": state},
        {"code": "c", "state": "f" * 64},
        {"code": "c", "state": "\ud55c"},
        {"code": "c", "state": state, "iss": "https://elsewhere.example"},
        {"error": "access_denied", "state": state},
    ):
        assert browser().get("/console/oidc/return", params=wrong).status_code == 401, wrong
    right = {"code": "c", "state": state, "iss": ISSUER}
    assert TestClient(running.http.app).get("/console/oidc/return", params=right).status_code == 401
    assert browser().get("/console/oidc/return", params=right).status_code == 200


def test_an_account_of_the_provider_has_no_password_and_without_a_provider_there_is_no_way(
    running: Running,
) -> None:
    assert running.http.get("/console/oidc").status_code == 404
    assert running.http.get("/console/oidc/return").status_code == 404
    assert "oidc" not in running.http.get("/console/sign-in").text


def test_the_clients_secret_is_kept_close(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    TestConsortium().server_folder(tmp_path)
    toml = tmp_path / "chorale-server.toml"
    given = '\n[oidc]\nissuer = "https://id.example"\nclient_id = "chorale"\n'
    toml.write_text(toml.read_text() + given)
    loaded = Settings.load(tmp_path).oidc
    assert loaded is not None
    with pytest.raises(ConfigurationError, match="CHORALE_OIDC__CLIENT_SECRET"):
        loaded.secret(tmp_path)
    monkeypatch.setenv("CHORALE_OIDC__CLIENT_SECRET", "very secret")
    settings = Settings.load(tmp_path)
    assert settings.oidc is not None
    assert settings.oidc.secret(tmp_path) == "very secret"
    assert "very secret" not in repr(settings)
    monkeypatch.delenv("CHORALE_OIDC__CLIENT_SECRET")
    toml.write_text(toml.read_text() + 'client_secret_file = "oidc.secret"\n')
    file = tmp_path / "oidc.secret"
    file.write_text("from a file\n")
    file.chmod(0o644)
    loaded = Settings.load(tmp_path).oidc
    assert loaded is not None
    with pytest.raises(ConfigurationError, match="0644"):
        loaded.secret(tmp_path)
    file.chmod(0o600)
    assert loaded.secret(tmp_path) == "from a file"
    monkeypatch.setenv("CHORALE_OIDC__CLIENT_SECRET", "x" * 20)
    monkeypatch.setenv("CHORALE_OIDC__REQUIRED_AMR", "not json and very secret")
    with pytest.raises(ConfigurationError) as refused:
        Settings.load(tmp_path)
    assert "x" * 20 not in str(refused.value)


@pytest.mark.parametrize("issuer", ["http://id.example", "ftp://id.example", "https://", "id.example"])
def test_an_issuer_is_reached_by_https(tmp_path: Path, issuer: str) -> None:
    def reached() -> Provider:
        settings = settings_with(tmp_path, issuer=issuer)
        assert settings.oidc is not None
        return Provider(settings.oidc, settings, SystemClock())

    with pytest.raises((ConfigurationError, ValidationError)):
        reached()
