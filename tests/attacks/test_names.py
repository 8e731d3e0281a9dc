"""Adversary: whoever answers for a name that the operator wrote, or lies about where it is: it leads the service
to an address inside. A name is resolved once and every address that it has is judged, before a connection is made
to one of these (decision 22); the certificate is checked, for the name.
"""

from __future__ import annotations

import datetime
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from pydantic import ValidationError
from structlog.testing import capture_logs

from aggregator.console.provider import Provider
from aggregator.outgoing import Outgoing
from aggregator.settings import Oidc, Settings
from aggregator.storage.service import Service
from privacy.clock import SystemClock
from privacy.errors import ServiceUnavailable
from tests.attacks.alarmed import sending


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


def lead(monkeypatch: pytest.MonkeyPatch, **names: str) -> list[str]:
    """From now on these names (with _ for .) have this address; what was asked for is in the list."""
    honest, asked = socket.getaddrinfo, []

    def resolve(host: Any, service: Any, *rest: Any, **more: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else str(host)
        asked.append(name)
        return honest(names.get(name.replace(".", "_"), host), service, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    return asked


INSIDE_ADDRESSES = (
    "127.0.0.1",
    "0.0.0.0",
    "10.1.2.3",
    "172.31.255.255",
    "192.168.0.1",
    "169.254.169.254",
    "100.64.0.1",
    "224.0.0.1",
    "255.255.255.255",
    "::1",
    "::",
    "fe80::1",
    "fd00:ec2::254",
    "fec0::1",
    "ff02::1",
    "::ffff:10.0.0.1",
    "64:ff9b::169.254.169.254",
    "2002:7f00:1::1",
    "2001:0:7f00:1::1",
)
OUTSIDE_ADDRESSES = ("93.184.215.14", "2606:2800:21f:cb07:6820:80da:af6b:8b2c", "64:ff9b::5db8:d70e")


def connecting(url: str, addresses: list[str], names_inside: tuple[str, ...] = ()) -> list[str]:
    """To which addresses a request of this name would go; none answers."""
    tried: list[str] = []

    class Line(httpx.HTTPTransport):
        def handle_request(self, request: httpx.Request) -> httpx.Response:
            assert request.headers["host"] == httpx.URL(url).netloc.decode()
            assert request.extensions["sni_hostname"] == httpx.URL(url).host
            tried.append(request.url.host)
            raise httpx.ConnectError("nobody is there", request=request)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(httpx, "HTTPTransport", Line)
        with httpx.Client(transport=Outgoing(names_inside, lambda name, port: addresses)) as http:
            with pytest.raises(httpx.ConnectError):
                http.post(url, content=b"{}")
    return tried


@pytest.mark.parametrize("address", INSIDE_ADDRESSES)
def test_a_name_with_one_address_inside_is_gone_to_at_none(address: str) -> None:
    url = "https://alarms.example:8443/hook"
    for found in ([address], [OUTSIDE_ADDRESSES[0], address], [address, *OUTSIDE_ADDRESSES], []):
        assert connecting(url, found) == []
    assert connecting(url, [address], ("alarms.example",)) == [
        str(httpx.URL("//[::]").copy_with(host=address).host)
    ]
    assert connecting(url, [address], ("other.example", "example")) == []


def test_a_name_outside_is_gone_to_at_each_address_that_was_judged() -> None:
    assert connecting("https://alarms.example/hook", list(OUTSIDE_ADDRESSES)) == list(OUTSIDE_ADDRESSES)
    assert connecting("https://10.0.0.1/hook", []) == ["10.0.0.1"]  # the operator's own word
    assert connecting("http://localhost:9/hook", ["127.0.0.1", "::1"]) == ["127.0.0.1", "::1"]
    assert connecting("http://localhost:9/hook", ["127.0.0.1", OUTSIDE_ADDRESSES[0]]) == []
    assert connecting("http://localhost:9/hook", ["10.0.0.1"], ("localhost",)) == []


@pytest.mark.parametrize("neighbour", ["plain HTTP", "its own certificate", "a trusted one of its own name"])
def test_a_name_that_leads_inside_tells_nobody_there_anything(
    alarmed: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, neighbour: str
) -> None:
    """No connection is made. Where the operator lets the name lead inside, the certificate is in the way still."""
    context = None
    if neighbour != "plain HTTP":
        context = certified(tmp_path, "alarms.example" if "own certificate" in neighbour else "metadata.internal")
    if "trusted" in neighbour:
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "cert.pem"))
    with listening(context) as (port, came):
        asked = lead(monkeypatch, alarms_example="127.0.0.1", metadata_internal="127.0.0.1")
        url = f"https://alarms.example:{port}/hook"
        assert sending(alarmed, url).turn() == 0
        assert came == []
        assert asked == ["alarms.example"]
        alarmed.clock.seconds += 10  # type: ignore[attr-defined]
        assert sending(alarmed, url, "alarms.example").turn() == 0
        assert not any(b"POST" in heard or b"opening_refused" in heard for heard in came)
        assert bool(came) == (neighbour == "plain HTTP")  # a handshake's first message
        # The neighbour does listen: under the name that it has a certificate for it is spoken to.
        if "trusted" in neighbour:
            assert sending(alarmed, f"https://metadata.internal:{port}/hook", "metadata.internal").turn() == 1
            assert came[-1].startswith(b"POST /hook")


def test_what_a_name_server_says_the_second_time_changes_nothing(
    alarmed: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rebinding: an address outside for whoever judges, loopback for whoever connects."""
    with listening(None) as (port, came):
        answers = iter([OUTSIDE_ADDRESSES[:1], ["127.0.0.1"], ["127.0.0.1"]])
        connected: list[str] = []

        def connect(address: tuple[str, int], *rest: Any, **more: Any) -> socket.socket:
            connected.append(address[0])
            raise OSError("no way out of a test")

        monkeypatch.setattr(socket, "create_connection", connect)
        transport = Outgoing((), lambda name, port: next(answers))
        hooks = sending(alarmed, f"https://alarms.example:{port}/hook")
        hooks._transport = transport
        assert hooks.turn() == 0
        assert connected == list(OUTSIDE_ADDRESSES[:1])
        assert came == []


def test_an_identity_provider_that_leads_inside_is_not_gone_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever signs in learns no address; the operator, in the log, learns what to do."""
    with listening(None) as (port, came):
        lead(monkeypatch, id_example="127.0.0.1")
        oidc = Oidc.model_validate(
            {"issuer": f"https://id.example:{port}", "client_id": "chorale", "client_secret": "s" * 32}
        )
        for inside in ((), ("id.example",)):
            settings = Settings(
                folder=tmp_path, public_url="https://chorale.example", oidc=oidc, names_inside=inside
            )
            made = Provider(oidc, settings, SystemClock())
            with capture_logs() as logged, pytest.raises(ServiceUnavailable) as refused:
                made.authorization_url("s" * 64, "n" * 64, "v" * 64)
            made.close()
            assert "127.0.0.1" not in str(refused.value)
            assert bool(came) == bool(inside)  # a handshake's first message
            assert any("names_inside" in str(line.get("why")) for line in logged) != bool(inside)


@pytest.mark.parametrize(
    "name", ["", "a b", "https://id.example", "id.example/", "-x", "a" * 300, "\u0430.example"]
)
def test_what_may_lead_inside_is_named_whole(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValidationError):
        Settings(folder=tmp_path, names_inside=(name,))
