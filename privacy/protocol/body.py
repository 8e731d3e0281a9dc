"""What every message body is made on: its type, its digest, and the value types they share.

A body's digest is SHA-256 of its canonical JSON. Lists that stand for sets are sorted by partner id and name
nobody twice; a body that is not is malformed. The messages themselves are in constitution.py and attempt.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Annotated, Any, Self

from pydantic import Field

from privacy.protocol.canonical import canonical, digest
from privacy.protocol.identifiers import Digest, Ed25519Key, MlDsa65Key, Model

Count = Annotated[int, Field(ge=0, le=2**53 - 1)]
Positive = Annotated[int, Field(ge=1, le=2**53 - 1)]
UnixSeconds = Annotated[int, Field(ge=0, le=2**40)]


class Body(Model):
    """What is signed. Its canonical bytes and digest are computed once: a body never changes."""

    type: str

    @cached_property
    def canonical_bytes(self) -> bytes:
        return canonical(self.model_dump(mode="json"))

    @cached_property
    def digest(self) -> str:
        return digest(self.canonical_bytes)

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """A changed copy must not inherit what was computed of the original."""
        copied = super().model_copy(update=update, deep=deep)
        copied.__dict__.pop("canonical_bytes", None)
        copied.__dict__.pop("digest", None)
        return copied


class CharteredBody(Body):
    charter: Digest


class SigningKeys(Model):
    """A signer's two public keys; both signatures must verify."""

    ed25519: Ed25519Key
    ml_dsa_65: MlDsa65Key


class ChainHead(Model):
    """How long a ledger chain is, and the hash of its last entry."""

    count: Count
    head: Digest


def require_sorted(what: str, names: Sequence[str]) -> None:
    if list(names) != sorted(set(names)):
        raise ValueError(f"{what} must be sorted by id and name nobody twice")
