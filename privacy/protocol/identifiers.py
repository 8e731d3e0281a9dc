"""Identifiers and small value types that messages are made of."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, StringConstraints

from privacy.protocol.printable import Printable

# ASCII alone: a name in another script could look like a rival's.
PartnerId = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9]*(-[a-z0-9]+)*$", min_length=2, max_length=32)]
Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Ed25519Key = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
MlDsa65Key = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{3904}$")]
BoxPublicKey = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{2432}$")]
FingerprintWord = Annotated[str, StringConstraints(pattern=r"^(0|[1-9][0-9]{0,18})$")]
# What a report may bear that somebody made of whatever they had; messages bear a DisplayName.
AnyName = Annotated[str, StringConstraints(min_length=1, max_length=80)]
DisplayName = Annotated[AnyName, Printable]
Reason = Annotated[str, StringConstraints(min_length=1, max_length=500)]

OPERATOR = "operator"
SERVER = "server"
OFFICER = "officer"
ZERO_DIGEST = "0" * 64


class Model(BaseModel):
    """Immutable, no unknown fields, no coercion, no NaN: what is hashed is what was read."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)
