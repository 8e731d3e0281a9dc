"""Adversary: whoever can name an address that the service or a partner goes to, or where a name leads: an identity
provider, the receiver of an alarm, a name server, the service itself. It wants requests made from inside (SSRF): to
a cloud's metadata, to loopback, to a neighbour. Addresses are the operator's or the partner's own; nothing that
comes over the wire adds one. Where a name leads is the matter of test_names.py.
"""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import ValidationError

from aggregator.console.provider import Provider
from aggregator.operator.signed_http import SignedHttp
from aggregator.settings import Oidc, Settings
from aggregator.storage.service import Service
from privacy.clock import SystemClock
from privacy.errors import ChoraleError, ConfigurationError
from privacy.protocol.signing import SigningKey
from privacy.randomness import SystemRandom
from tests.attacks.alarmed import sending
from tests.attacks.test_transport import answering
from tests.consortium import SeededSource

ISSUER = "https://id.example"
INSIDE = (
    "http://169.254.169.254/latest/meta-data/",
    "http://[fe80::1]/",
    "http://10.0.0.1/",
    "http://192.168.0.1:8080/",
    "http://0.0.0.0/",
    "http://metadata.google.internal/",
    "http://2130706433/",
    "http://0x7f000001/",
    "http://127.1/",
    "http://127.0.0.1.example/",
    "http://localhost.example/",
    "http://127.0.0.1@id.example/",
    "http://127.0.0.1\\@id.example/",
    "http://id.example/",
    "file:///etc/passwd",
    "gopher://127.0.0.1:6379/_INFO",
    "ftp://127.0.0.1/",
    "//id.example/",
    "https:///etc/passwd",
    "",
)


# --- what the operator may set --------------------------------------------------------------------------


@pytest.mark.parametrize("url", INSIDE)
def test_a_webhook_goes_to_https_or_to_loopback_by_name(url: str, tmp_path: Path) -> None:
    with pytest.raises(ValidationError):
        Settings(folder=tmp_path, alarm_webhooks=(url,))


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:9#@id.example", "http://127.0.0.1:9/?@id.example", "http://[::1]:9/x", "http://localhost:9"],
)
def test_what_is_checked_is_where_the_request_goes(url: str, tmp_path: Path) -> None:
    """Two readers of an address must not differ about its host."""
    (taken,) = Settings(folder=tmp_path, alarm_webhooks=(url,)).alarm_webhooks
    assert httpx.URL(taken).host in ("127.0.0.1", "::1", "localhost")


# --- redirects ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"])
def test_no_redirect_leads_an_alarm_or_the_operator_elsewhere(alarmed: Service, status: str) -> None:
    """The partner's requests are tried in test_transport.py."""
    with answering(b"{}") as (inside, asked), answering(b"", status, f"location: {inside}/x\r\n") as (url, outside):
        assert sending(alarmed, f"{url}/hook").turn() == 0
        assert len(outside) == 1
        key = SigningKey.generate(SeededSource("operator"))
        operator = SignedHttp(url, key, SystemClock(), SystemRandom(), lambda _: None, patience=0.0)
        with pytest.raises(ChoraleError):
            operator.request("GET", "/v1/about")
        operator.close()
        assert asked == []


# --- an identity provider that names addresses ----------------------------------------------------------

ENDPOINTS = ("authorization_endpoint", "token_endpoint", "jwks_uri")


def provider(
    folder: Path, document: dict[str, Any], asked: list[str], issuer: str = ISSUER, **answer: Any
) -> Provider:
    def answers(request: httpx.Request) -> httpx.Response:
        asked.append(str(request.url))
        if request.url.path.endswith("openid-configuration"):
            return httpx.Response(200, json=document)
        return httpx.Response(**{"status_code": 200, "json": {"keys": []}, **answer})

    oidc = Oidc.model_validate({"issuer": issuer, "client_id": "chorale", "client_secret": "s" * 32})
    settings = Settings(folder=folder, public_url="https://chorale.example", oidc=oidc)
    return Provider(oidc, settings, SystemClock(), httpx.MockTransport(answers))


def signs_in(made: Provider) -> None:
    made.authorization_url("s" * 64, "n" * 64, "v" * 64)
    made.identity("code", "n" * 64, "v" * 64)


def discovery(**changes: str) -> dict[str, Any]:
    return {"issuer": ISSUER, **{name: f"{ISSUER}/{name}" for name in ENDPOINTS}, **changes}


@pytest.mark.parametrize(
    "url", [*INSIDE, "https://10.0.0.1/", "https://id.example.evil/", "https://id.example:444/"]
)
@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_an_identity_provider_leads_the_service_to_no_other_host(tmp_path: Path, endpoint: str, url: str) -> None:
    asked: list[str] = []
    made = provider(tmp_path, discovery(**{endpoint: url}), asked)
    with pytest.raises(ChoraleError):
        signs_in(made)
    made.close()
    assert all(httpx.URL(one).host == "id.example" and one.startswith(ISSUER + "/") for one in asked), asked


def test_the_issuer_is_no_address_inside_either(tmp_path: Path) -> None:
    for url in INSIDE:
        with pytest.raises((ValidationError, ConfigurationError)):
            provider(tmp_path, discovery(), [], url)


@pytest.mark.parametrize("encoding", ["gzip", "gzip, gzip", "deflate", "br", "zstd"])
def test_a_compressed_answer_of_the_identity_provider_is_refused_before_a_byte_is_unpacked(
    tmp_path: Path, encoding: str
) -> None:
    """As in test_transport.py: what is unpacked is counted too late."""
    bomb = gzip.compress(gzip.compress(json.dumps({"keys": []}).encode() + b" " * (4 << 20)))
    headers = {"content-encoding": encoding, "content-type": "application/json"}
    made = provider(tmp_path, discovery(), [], json=None, stream=httpx.ByteStream(bomb), headers=headers)
    with pytest.raises(ChoraleError, match="a compressed one"):
        made.authorization_url("s" * 64, "n" * 64, "v" * 64)
    made.close()
