"""Passwords: what one may be, and how it is kept and compared.

Rules:
1. Kept as argon2id (RFC 9106) with the parameters of HASHER, which are here alone. A hash of other parameters still
   verifies, and is made anew at the next sign-in.
2. Whether there is such an account or not, a comparison costs the same: a name without a hash is compared with one
   that nothing matches.
3. At most AT_ONCE are computed at a time, 64 MiB each; who waits longer than PATIENCE_SECONDS is sent away.
4. At least MIN_LENGTH characters, at most MAX_LENGTH, and not made of the name; nothing else is asked of it
   (NIST SP 800-63B, 5.1.1.2). Compared after NFKC, so that two keyboards write one password.
"""

from __future__ import annotations

import threading
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Literal

from argon2 import PasswordHasher, Type
from argon2.exceptions import InvalidHashError, VerificationError

from privacy.errors import ServiceUnavailable
from privacy.randomness import RandomSource

MIN_LENGTH = 12
MAX_LENGTH = 256
AT_ONCE = 2
PATIENCE_SECONDS = 5.0
SALT_BYTES = 16
# RFC 9106, section 4, second recommended option: 64 MiB, three passes, four lanes.
HASHER = PasswordHasher(time_cost=3, memory_cost=65536, parallelism=4, hash_len=32, type=Type.ID)

Fault = Literal["too_short", "too_long", "of_name"]
_turns = threading.BoundedSemaphore(AT_ONCE)


def fault_of(password: str, name: str) -> Fault | None:
    """Why this cannot be the password of this account; None if it can."""
    normal = _normal(password)
    if len(normal) < MIN_LENGTH:
        return "too_short"
    if len(normal) > MAX_LENGTH:
        return "too_long"
    # What is left without the name must be a password in itself: "j.kimj.kimj.kim1" is not one.
    if len(normal.casefold().replace(name.casefold(), "")) < MIN_LENGTH:
        return "of_name"
    return None


def hash_password(password: str, source: RandomSource) -> str:
    """Raises ServiceUnavailable while too many others are computed."""
    with _turn():
        return HASHER.hash(_normal(password), salt=source.bytes(SALT_BYTES))


def matches(kept: str | None, password: str) -> bool:
    """Rules 2 and 3. Raises ServiceUnavailable while too many others are compared."""
    with _turn():
        try:
            HASHER.verify(kept or _nobodys(), _normal(password[: 4 * MAX_LENGTH]))
        except (VerificationError, InvalidHashError):
            return False
    return kept is not None


def outdated(kept: str) -> bool:
    """Made with other parameters than today's."""
    return HASHER.check_needs_rehash(kept)


@lru_cache
def _nobodys() -> str:
    # What matches it is refused all the same, so its salt need not be random.
    return HASHER.hash("nobody's", salt=bytes(SALT_BYTES))


def _normal(password: str) -> str:
    return unicodedata.normalize("NFKC", password)


@contextmanager
def _turn() -> Iterator[None]:
    if not _turns.acquire(timeout=PATIENCE_SECONDS):
        raise ServiceUnavailable("a free turn to compare a password", "none in time", "try again in a moment")
    try:
        yield
    finally:
        _turns.release()
