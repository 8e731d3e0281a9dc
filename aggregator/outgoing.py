"""Where a request of the service's own goes: the name that the operator wrote, at an address that was judged.

Rules (decision 22):
1. A name is resolved once, every address that it has is judged, and the connection is made to one of these: what a
   name server says a second time changes nothing.
2. A name leads to the open internet alone, unless the settings list it in `names_inside`; `localhost` leads to
   loopback alone. One address that may not be refuses the name.
3. An address in place of a name is the operator's own word, and is taken as it is.
4. The certificate is checked for the name, and so is every request's: no two names share a connection.
Which names there may be at all is the settings' and the caller's matter. No proxy stands between, whatever the
environment names: it would resolve names of its own.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterable, Sequence
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Any, Final

import httpx

from privacy.errors import NotAllowed

Address = IPv4Address | IPv6Address
Resolve = Callable[[str, int], Iterable[str]]

LOOPBACK_NAME: Final = "localhost"
_NAT64: Final = IPv6Network("64:ff9b::/96")


def resolved(name: str, port: int) -> list[str]:
    """The system's answer. Raises OSError."""
    found = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]).partition("%")[0] for entry in found))


class Outgoing(httpx.BaseTransport):
    """names_inside: those that may lead to an address that is not of the open internet."""

    def __init__(self, names_inside: Sequence[str] = (), resolve: Resolve = resolved, **line: Any) -> None:
        """line: what each connection's transport is made with, as httpx.HTTPTransport takes it."""
        self._inside = frozenset(name.lower() for name in names_inside)
        self._resolve = resolve
        self._line = line
        self._lines: dict[str, httpx.HTTPTransport] = {}
        self._lock = threading.Lock()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Raises httpx.ConnectError where the name leads nowhere that it may."""
        name = request.url.raw_host.decode("ascii").lower()
        addresses = self._addresses(name, request)
        line = self._line_of(name)
        extensions = {**request.extensions, "sni_hostname": name}
        for place, address in enumerate(addresses, start=1):
            to = httpx.Request(
                request.method,
                request.url.copy_with(host=address),
                headers=request.headers,  # `host` among them, of the name
                stream=request.stream,
                extensions=extensions,
            )
            try:
                return line.handle_request(to)
            except (httpx.ConnectError, httpx.ConnectTimeout):
                # Nothing was sent yet.
                if place == len(addresses):
                    raise
        raise AssertionError("a name has an address, or was refused")

    def close(self) -> None:
        for line in self._lines.values():
            line.close()

    def _line_of(self, name: str) -> httpx.HTTPTransport:
        with self._lock:
            if name not in self._lines:
                self._lines[name] = httpx.HTTPTransport(**self._line)
            return self._lines[name]

    def _addresses(self, name: str, request: httpx.Request) -> list[str]:
        if _literal(name) is not None:
            return [name]
        try:
            found = list(self._resolve(name, request.url.port or (443 if request.url.scheme == "https" else 80)))
            check_addresses(name, found, self._inside)
        except (OSError, NotAllowed) as error:
            raise httpx.ConnectError(str(error), request=request) from error
        return found


def check_addresses(name: str, addresses: Sequence[str], names_inside: Iterable[str] = ()) -> None:
    """Rule 2. Raises NotAllowed."""
    judged = [ip_address(address) for address in addresses]
    if name == LOOPBACK_NAME:
        allowed, expected = all(address.is_loopback for address in judged), "loopback"
    else:
        allowed = name in names_inside or all(map(is_outside, judged))
        expected = "addresses of the open internet alone"
    if not judged or not allowed:
        raise NotAllowed(
            f"{name} at {expected}",
            ", ".join(map(str, judged)) or "none",
            "if it is meant, write the name into names_inside; if not, ask whoever answers for the name",
        )


def is_outside(address: Address) -> bool:
    """Whether it is of the open internet; what stands for an IPv4 address is judged as that one."""
    if isinstance(address, IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if inner is None and address in _NAT64:
            inner = IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return is_outside(inner)
        if address.teredo is not None or address.is_site_local:
            return False
    return address.is_global and not address.is_multicast and not address.is_reserved


def _literal(host: str) -> Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None
