"""TOML that a person wrote (settings, drafts, campaigns), and whatever else lies under its name.

The parser recurses into nested values and converts digits of any number: size is bounded before it, and what it
raises beside its own error is an error of ours too. No schema is known here.
"""

from __future__ import annotations

import tomllib
from typing import Any

from privacy.errors import ConfigurationError

MAX_TOML_BYTES = 1 << 20


def parse_toml(raw: bytes, expected: str) -> dict[str, Any]:
    """The document. expected: what it should be and where it lies, for the ConfigurationError that is raised."""
    try:
        if len(raw) > MAX_TOML_BYTES:
            raise ValueError(f"{len(raw)} bytes")
        return tomllib.loads(raw.decode("utf-8"))
    except RecursionError:
        raise ConfigurationError(expected, "deeply nested values", "correct the file") from None
    except ValueError as error:
        raise ConfigurationError(expected, str(error)[:300], "correct the file") from None
