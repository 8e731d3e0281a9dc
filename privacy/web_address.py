"""The address of a service, as a person typed it into a settings file or a command."""

from __future__ import annotations

from urllib.parse import urlsplit


def is_web_address(url: str) -> bool:
    """http or https, a host, perhaps a port; no path but "/", no query, no user: signed requests name their own."""
    if not url.isascii() or not url.isprintable() or " " in url:
        return False
    try:
        parts = urlsplit(url)
        named = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a bracket or a port that is none
        return False
    return named and parts.path in ("", "/") and not {"@", "?", "#"} & set(url)
