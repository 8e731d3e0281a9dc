"""How often a password may be tried: growing delays, in which a stranger cannot lock an officer out.

Rules:
1. An attempt is counted as failed *before* it is looked at, and taken back if it succeeds: many at once get no more
   tries than one after another.
2. From a browser that this account signed in from before, tries are counted for that browser alone. From any other
   they are counted for account and address, for the account, and for everyone. So whoever guesses, from however
   many addresses, holds up new browsers only; the officer's own goes on.
3. After `free` failures each further one doubles a delay, from `first` up to `longest` seconds; none is for ever.
   After `forget` seconds without an attempt, all is forgotten.
4. A name that is no account's is counted like one that is.
While a delay lasts, attempts are refused uncounted, and no password is compared.
"""

from __future__ import annotations

import hashlib
import ipaddress
from dataclasses import dataclass

from sqlalchemy import delete, update
from sqlalchemy.orm import Session

from aggregator.storage.tables import AttemptLimitRow
from privacy.errors import TooManyAttempts

DAY = 86400.0


@dataclass(frozen=True)
class Bound:
    """Times in seconds."""

    free: int
    first: float
    longest: float
    forget: float

    def delay(self, failures: int) -> float:
        beyond = failures - self.free
        return 0.0 if beyond <= 0 else min(self.longest, self.first * 2.0 ** min(beyond - 1, 32))


ONE_PLACE = Bound(free=5, first=15.0, longest=900.0, forget=DAY)
ACCOUNT = Bound(free=20, first=15.0, longest=900.0, forget=DAY)
EVERYONE = Bound(free=300, first=2.0, longest=30.0, forget=600.0)


@dataclass(frozen=True)
class Attempt:
    """What an attempt is counted for: keys and their bounds."""

    counted: tuple[tuple[str, Bound], ...]


def from_known_browser(account: str, browser: str) -> Attempt:
    return Attempt(((_key("browser", account, browser), ONE_PLACE),))


def from_elsewhere(account: str, address: str) -> Attempt:
    return Attempt(
        (
            (_key("place", account, network(address)), ONE_PLACE),
            (_key("account", account), ACCOUNT),
            (_key("everyone"), EVERYONE),
        )
    )


def from_inside(account: str) -> Attempt:
    """The password asked for again, within a session."""
    return Attempt(((_key("inside", account), ONE_PLACE),))


def from_provider(address: str) -> Attempt:
    """What comes back from the identity provider, before anyone is known behind it."""
    return Attempt(((_key("provider", network(address)), ONE_PLACE),))


def network(address: str) -> str:
    """An IPv6 host has a whole /64 to itself; what is no address is itself."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return str(parsed)


def begin(session: Session, attempt: Attempt, now: float) -> int:
    """Count it as failed, in a write transaction. Raises TooManyAttempts while a delay lasts.

    Gives how many failures there are if, unless it succeeds, a delay begins with it; else 0.
    """
    rows = [(_row(session, key), bound) for key, bound in attempt.counted]
    wait = max(row.until for row, _ in rows) - now
    if wait > 0:
        raise TooManyAttempts(
            "an attempt after the delay", f"one {wait:.0f} s before its end", "wait, then try again"
        )
    for row, bound in rows:
        row.failures = 1 if now - row.last > bound.forget else row.failures + 1
        row.last = now
        row.until = now + bound.delay(row.failures)
    return max((row.failures for row, bound in rows if row.until > now and bound is not EVERYONE), default=0)


def succeeded(session: Session, attempt: Attempt, now: float) -> None:
    """Take the attempt back; the place that it came from starts anew."""
    for key, bound in attempt.counted:
        row = _row(session, key)
        row.failures = 0 if bound is ONE_PLACE else max(0, row.failures - 1)
        if row.failures <= bound.free:
            row.until = now


def forgive(session: Session, account: str) -> None:
    """Of the account as a whole: the operator has reset it."""
    session.execute(
        update(AttemptLimitRow).where(AttemptLimitRow.key == _key("account", account)).values(failures=0, until=0.0)
    )


def purge(session: Session, now: float) -> None:
    """Forget what no bound remembers."""
    session.execute(delete(AttemptLimitRow).where(AttemptLimitRow.last < now - DAY))


def _row(session: Session, key: str) -> AttemptLimitRow:
    row = session.get(AttemptLimitRow, key)
    if row is None:
        row = AttemptLimitRow(key=key, failures=0, last=0.0, until=0.0)
        session.add(row)
    return row


def _key(*parts: str) -> str:
    digest = hashlib.sha256(b"chorale/1 attempts")
    for part in parts:
        raw = part.encode("utf-8", "replace")
        digest.update(len(raw).to_bytes(8, "little") + raw)
    return digest.hexdigest()
