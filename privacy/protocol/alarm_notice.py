"""An alarm as it leaves the service: a signed message, sent to addresses that the operator has set.

Its receiver verifies it like every message, with the server's key of the pinned charter (`signing.verify`).
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from privacy.protocol.body import Body, UnixSeconds
from privacy.protocol.identifiers import Digest, PartnerId


class AlarmNotice(Body):
    """alarm: its id, the same at each try. detail: the figures of its kind (docs/http.md)."""

    type: Literal["chorale/1 alarm"] = "chorale/1 alarm"
    alarm: Digest
    kind: Annotated[str, Field(max_length=32)]
    grave: bool
    participant: PartnerId | None
    at: UnixSeconds
    detail: dict[str, str | int | float]
