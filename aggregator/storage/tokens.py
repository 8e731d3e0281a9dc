"""Bearer tokens for invitations, sign-in links and sessions: shown once, stored as their SHA-256.

A digest is looked up by equality: its bits tell nothing of a token of 256 random bits, so no timing does.
"""

from __future__ import annotations

import hashlib

from privacy.randomness import RandomSource

TOKEN_BYTES = 32


def new_token(source: RandomSource) -> str:
    """64 hex characters."""
    return source.bytes(TOKEN_BYTES).hex()


def token_digest(token: str) -> str:
    return hashlib.sha256(b"chorale/1 token\x00" + token.encode()).hexdigest()
