"""What one process of the service holds, and passes to whatever works for it.

Rules:
1. Everything that has an effect is here and typed: database, blobs, keys, clock, entropy, news. Nothing is global.
2. Stored messages were verified when they came; `stored` reads them again without verifying, and remembers a few.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from aggregator.settings import Settings
from aggregator.storage.blobs import BlobStore
from aggregator.storage.database import Database
from aggregator.storage.folder import ServiceKeys
from aggregator.storage.nonces import NonceStore
from aggregator.storage.notifier import Notifier
from aggregator.storage.rates import RequestRates
from aggregator.storage.reports import ReportDesk
from aggregator.storage.under_way import UnderWay
from privacy.clock import Clock
from privacy.protocol.messages import BodyT, Signed, SigningKeys, signed_model
from privacy.protocol.signing import Verifier
from privacy.randomness import RandomSource


class KnownKeys:
    """Keys by identity. What was read before an identity was forgotten is not remembered after it."""

    def __init__(self) -> None:
        self._keys: dict[str, SigningKeys] = {}
        self._forgotten = 0
        self._lock = threading.Lock()

    def find(self, identity: str) -> SigningKeys | None:
        return self._keys.get(identity)

    def asked(self) -> int:
        """To be had before the database is read, and given back with what it said."""
        return self._forgotten

    def remember(self, identity: str, keys: SigningKeys, asked: int) -> None:
        with self._lock:
            if asked == self._forgotten:
                self._keys[identity] = keys

    def forget(self, identity: str) -> None:
        with self._lock:
            self._forgotten += 1
            self._keys.pop(identity, None)


@dataclass(frozen=True)
class Service:
    """Shared by requests and the lifecycle; found by pages and routes at `app.state.service`."""

    settings: Settings
    database: Database
    blobs: BlobStore
    keys: ServiceKeys
    clock: Clock
    source: RandomSource
    notifier: Notifier
    nonces: NonceStore
    rates: RequestRates
    bodies: UnderWay
    polls: UnderWay
    verifier: Verifier = field(default_factory=Verifier)
    reports: ReportDesk = field(default_factory=ReportDesk)
    documents: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    """The newest round document of each attempt, with its version; kept by aggregator.rounds.document."""
    enrolled: KnownKeys = field(default_factory=KnownKeys)
    """Partners' keys as they were read from the database."""

    def now(self) -> int:
        """Whole seconds since 1970 UTC."""
        return int(self.clock.now())


def stored(body: type[BodyT], raw: bytes) -> Signed[BodyT]:
    """A message from the database."""
    signed: Signed[BodyT] = _stored(body, raw)
    return signed


@lru_cache(maxsize=256)
def _stored(body: Any, raw: bytes) -> Any:
    return signed_model(body).model_validate_json(raw)
