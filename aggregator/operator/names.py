"""Names and addresses that an operator types, checked before anything is made or asked of the service.

The service checks them again; what is said here is for a person who does not know the patterns.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from ipaddress import ip_address

from pydantic import TypeAdapter, ValidationError

from aggregator.names import ACCOUNT_PATTERN
from privacy.errors import ConfigurationError
from privacy.protocol.identifiers import PartnerId
from privacy.web_address import is_web_address

_PARTNER: TypeAdapter[str] = TypeAdapter(PartnerId)
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?")


def service_address(host: str, port: int, public_url: str) -> str:
    """Where others reach a service that listens there. Raises ConfigurationError."""
    if not _is_host(host):
        raise ConfigurationError("a host name or an IP address", repr(host), "correct --host: no scheme, no port")
    inside = f"[{host}]" if ":" in host else host
    url = public_url or f"http://{inside}:{port}"
    if not is_web_address(url):
        raise ConfigurationError(
            "an address such as https://choir.example.org: http or https, a host, no path",
            repr(url),
            "correct --public-url",
        )
    return url.rstrip("/")


def check_partners(names: Sequence[str]) -> None:
    """Raises ConfigurationError unless each is a partner id, and none comes twice."""
    for name in names:
        try:
            _PARTNER.validate_python(name)
        except ValidationError:
            raise ConfigurationError(
                "a partner id: small letters, digits, hyphens; 2 to 32 of them, a letter first",
                repr(name),
                "choose such an id; the full name stands in the partner's own settings",
            ) from None
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigurationError("each partner id once", f"{', '.join(twice)} twice", "name each partner once")


def check_account(name: str) -> None:
    """Raises ConfigurationError."""
    if re.fullmatch(ACCOUNT_PATTERN, name) is None:
        raise ConfigurationError(
            "an account name: small letters, digits, . _ @ + -; at most 64 of them",
            repr(name),
            "choose such a name, j.kim for one",
        )


def _is_host(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return _HOST.fullmatch(host) is not None
    return True
