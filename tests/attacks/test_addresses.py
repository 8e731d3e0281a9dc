"""Adversary: whoever can name an address that the service or a partner goes to, or where a name leads: an identity
provider, the receiver of an alarm, a name server, the service itself. It wants requests made from inside (SSRF): to
a cloud's metadata, to loopback, to a neighbour. Addresses are the operator's or the partner's own; nothing that
comes over the wire adds one. At connect time the certificate is checked, for the name. Where the name leads is not
judged: a name that leads inside reaches nobody who could answer for it.
"""

from __future__ import annotations

import datetime
import gzip
import json
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from pydantic import ValidationError

from aggregator.console.provider import Provider
from aggregator.operator.signed_http import SignedHttp
from aggregator.rounds.webhooks import Webhooks
from aggregator.settings import Oidc, Settings
from aggregator.storage.alarms import raise_alarm
from aggregator.storage.service import Service
from privacy.clock import SystemClock
from privacy.errors import ChoraleError, ConfigurationError
from privacy.protocol.signing import SigningKey
from privacy.randomness import SystemRandom
from tests.aggregator.conftest import Running
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


# --- where a name leads ---------------------------------------------------------------------------------


@pytest.fixture
def alarmed(running: Running) -> Service:
    with running.service.database.write() as session:
        detail = {"plan": "ab" * 32, "round": 3, "attempt": 1, "check": 6, "reason": "box"}
        raise_alarm(session, "opening_refused", "aster", detail, running.service.now())
    return running.service


def sending(service: Service, url: str) -> Webhooks:
    return Webhooks(replace(service, settings=service.settings.model_copy(update={"alarm_webhooks": (url,)})))


@contextmanager
def listening(context: ssl.SSLContext | None) -> Iterator[tuple[int, list[bytes]]]:
    """A neighbour, with TLS or without; its port, and the first bytes of what each connection could say to it."""
    came: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as bound:

        def serve() -> None:
            while True:
                try:
                    connection, _ = bound.accept()
                except OSError:
                    return
                connection.settimeout(5)
                with connection, suppress(OSError):  # a handshake that the caller breaks off
                    line = connection if context is None else context.wrap_socket(connection, server_side=True)
                    heard = line.recv(65536)
                    came.append(heard)
                    while context is not None and heard and not heard.endswith(b"}"):
                        heard = line.recv(65536)
                    line.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
                    line.close()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield bound.getsockname()[1], came
        bound.shutdown(socket.SHUT_RDWR)
    thread.join(timeout=10)


def certified(folder: Path, name: str) -> ssl.SSLContext:
    """A server that has a certificate for this name, by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    begin = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(begin)
        .not_valid_after(begin + datetime.timedelta(days=36500))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return context


def lead(monkeypatch: pytest.MonkeyPatch, name: str, port: int) -> None:
    """From now on this name is at 127.0.0.1, and its port 443 at `port`: what a lying name server can do."""
    honest = socket.getaddrinfo

    def resolve(host: Any, service: Any, *rest: Any, **more: Any) -> Any:
        if host in (name, name.encode()):
            return honest("127.0.0.1", port, *rest, **more)
        return honest(host, service, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)


@pytest.mark.parametrize("neighbour", ["plain HTTP", "its own certificate", "a trusted one of its own name"])
def test_a_name_that_leads_inside_tells_nobody_there_anything(
    alarmed: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, neighbour: str
) -> None:
    context = None
    if neighbour != "plain HTTP":
        context = certified(tmp_path, "alarms.example" if "own certificate" in neighbour else "metadata.internal")
    if "trusted" in neighbour:
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "cert.pem"))
    with listening(context) as (port, came):
        lead(monkeypatch, "alarms.example", port)
        assert sending(alarmed, "https://alarms.example/hook").turn() == 0
        assert not any(b"POST" in heard or b"opening_refused" in heard for heard in came)
        assert bool(came) == (neighbour == "plain HTTP")  # a handshake's first message
        # The neighbour does listen: under the name that it has a certificate for, or without one, it is spoken to.
        if "trusted" in neighbour:
            lead(monkeypatch, "metadata.internal", port)
            assert sending(alarmed, "https://metadata.internal/hook").turn() == 1
            assert came[-1].startswith(b"POST /hook")


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
