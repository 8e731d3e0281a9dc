"""How many requests in how short a time: a token bucket for each identity, or for an address where there is none.

Rules:
1. A bucket holds at most `burst` tokens and gains `per_second`; a request takes one, or is refused with the seconds
   until there is one. What is refused takes nothing.
2. Who proved to be somebody is counted as that, and as nothing else: a stranger at the same address, or one who
   claims the name without its key, takes nothing from it.
3. Whoever is nobody yet is counted by address, an IPv6 network by its first 64 bits.
4. Buckets live in memory, at most MOST_BUCKETS: those that are full again go first. A restart fills all.
Guesses at passwords are counted apart, in the database (attempts.py): a restart must not forgive those.
"""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass
from typing import Literal

from aggregator.settings import Rate, Rates
from privacy.errors import TooManyRequests

Kind = Literal["partner", "operator", "session", "address"]
MOST_BUCKETS = 20_000


@dataclass
class _Bucket:
    tokens: float
    at: float

    def fill(self, rate: Rate, now: float) -> None:
        # A clock that was set back gives nothing, and takes nothing away.
        self.tokens = min(rate.burst, self.tokens + rate.per_second * max(0.0, now - self.at))
        self.at = now


class RequestRates:
    """Thread-safe. `now` in seconds, by the service's clock."""

    def __init__(self, rates: Rates) -> None:
        self._rates: dict[Kind, Rate] = {
            "partner": rates.partner,
            "operator": rates.operator,
            "session": rates.session,
            "address": rates.address,
        }
        self._buckets: dict[tuple[Kind, str], _Bucket] = {}
        self._lock = threading.Lock()

    def take(self, kind: Kind, key: str, now: float) -> None:
        """Count a request. Raises TooManyRequests."""
        with self._lock:
            bucket = self._filled(kind, key, now)
            if bucket.tokens < 1.0:
                raise self._refusal(kind, bucket)
            bucket.tokens -= 1.0

    def require(self, kind: Kind, key: str, now: float) -> None:
        """Raises TooManyRequests where `take` would; counts nothing."""
        with self._lock:
            bucket = self._filled(kind, key, now)
            if bucket.tokens < 1.0:
                raise self._refusal(kind, bucket)

    def knows(self, kind: Kind, key: str) -> bool:
        """Whether this one was counted before, not long ago."""
        return (kind, key) in self._buckets

    def meet(self, kind: Kind, key: str, now: float) -> None:
        """From now on this one is known."""
        with self._lock:
            self._filled(kind, key, now)

    def _filled(self, kind: Kind, key: str, now: float) -> _Bucket:
        rate = self._rates[kind]
        bucket = self._buckets.get((kind, key))
        if bucket is None:
            if len(self._buckets) >= MOST_BUCKETS:
                self._make_room(now)
            bucket = self._buckets[kind, key] = _Bucket(rate.burst, now)
        bucket.fill(rate, now)
        return bucket

    def _make_room(self, now: float) -> None:
        for (kind, _), bucket in self._buckets.items():
            bucket.fill(self._rates[kind], now)
        spent = {
            place: bucket for place, bucket in self._buckets.items() if bucket.tokens < self._rates[place[0]].burst
        }
        # Where all are under way, the half that was met first goes: a flood from everywhere fills no memory.
        kept = list(spent.items())[-(MOST_BUCKETS // 2) :]
        self._buckets = dict(kept)

    def _refusal(self, kind: Kind, bucket: _Bucket) -> TooManyRequests:
        rate = self._rates[kind]
        seconds = math.ceil((1.0 - bucket.tokens) / rate.per_second)
        return TooManyRequests(
            f"at most {rate.per_second:g} requests a second from one {kind}, after a burst of {rate.burst:g}",
            "more",
            f"wait {seconds} s, then send it again",
            retry_after=seconds,
        )
