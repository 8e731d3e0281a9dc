"""A provider that answers as told, in the place of the one that the console is set up with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
from joserfc import jwt
from joserfc.jwk import RSAKey

from aggregator.console.provider import Provider
from aggregator.settings import Oidc, Settings
from aggregator.storage import accounts
from aggregator.storage.service import Service
from tests import oidc
from tests.aggregator.conftest import Running

ISSUER = "https://id.example"
SITE = "http://testserver"
BACK = f"{SITE}/console/oidc/return"


def settings_with(folder: Path, **provider: Any) -> Settings:
    given = {"issuer": ISSUER, "client_id": oidc.CLIENT_ID, "client_secret": oidc.CLIENT_SECRET} | provider
    return Settings(folder=folder, sum_workers=1, public_url=SITE, oidc=Oidc.model_validate(given))


def account(service: Service, name: str = "kim", **identity: str) -> None:
    with service.database.write() as session:
        accounts.create(session, name, "auditor", "consortium", service.clock.now(), **identity)


@lru_cache
def new_key(name: str) -> RSAKey:
    return RSAKey.generate_key(2048, parameters={"kid": name, "use": "sig"})


@dataclass
class Liar:
    """A provider that answers as told; right unless told otherwise."""

    running: Running
    key: RSAKey = field(default_factory=lambda: new_key("one"))
    metadata: dict[str, Any] = field(default_factory=dict)
    claims: dict[str, Any] = field(default_factory=dict)
    without: tuple[str, ...] = ()
    sign: Callable[[dict[str, Any]], str] | None = None
    userinfo: dict[str, Any] = field(default_factory=lambda: {"sub": "kim"})
    answers: dict[str, Callable[[], httpx.Response]] = field(default_factory=dict)
    asked: list[httpx.Request] = field(default_factory=list)
    nonce: str = ""

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        path = request.url.path
        if path in self.answers:
            return self.answers[path]()
        if path == "/.well-known/openid-configuration":
            found = {
                "issuer": ISSUER,
                "authorization_endpoint": f"{ISSUER}/auth",
                "token_endpoint": f"{ISSUER}/token",
                "jwks_uri": f"{ISSUER}/keys",
                "userinfo_endpoint": f"{ISSUER}/me",
            }
            return httpx.Response(200, json=found | self.metadata)
        if path == "/keys":
            return httpx.Response(200, json={"keys": [self.key.as_dict(private=False)]})
        if path == "/token":
            token = {"access_token": "at", "token_type": "Bearer", "id_token": self.id_token()}
            return httpx.Response(200, json=token)
        if path == "/me":
            return httpx.Response(200, json=self.userinfo)
        return httpx.Response(404)

    def id_token(self) -> str:
        now = self.running.service.now()
        right = {
            "iss": ISSUER,
            "aud": oidc.CLIENT_ID,
            "sub": "kim",
            "nonce": self.nonce,
            "iat": now,
            "exp": now + 60,
        }
        claims = {name: value for name, value in (right | self.claims).items() if name not in self.without}
        if self.sign is not None:
            return self.sign(claims)
        return jwt.encode({"alg": "RS256", "kid": self.key.kid}, claims, self.key)

    def sign_in(self) -> httpx.Response:
        """Out and back, with a code that the provider takes."""
        http = self.running.http
        out = http.get("/console/oidc", follow_redirects=False)
        if out.status_code != 302:
            return out
        query = parse_qs(urlsplit(out.headers["location"]).query)
        self.nonce = query["nonce"][0]
        return http.get("/console/oidc/return", params={"code": "c", "state": query["state"][0]})


def install(running: Running, liar: Liar, folder: Path, **changes: Any) -> None:
    settings = settings_with(folder, **changes)
    assert settings.oidc is not None
    running.http.app.state.provider = Provider(  # type: ignore[attr-defined]
        settings.oidc, settings, running.consortium.clock, httpx.MockTransport(liar)
    )
