"""The signed form of a message: {body, signatures by signer}. `signing` makes and verifies signatures."""

from __future__ import annotations

from functools import cached_property
from typing import Annotated, Generic, TypeVar, cast

from pydantic import Field, ValidationError

from privacy.errors import MalformedMessage
from privacy.protocol.body import Body
from privacy.protocol.canonical import MAX_MESSAGE_BYTES, canonical, parse
from privacy.protocol.identifiers import Model

BodyT = TypeVar("BodyT", bound=Body)


class SignaturePair(Model):
    ed25519: Annotated[str, Field(pattern=r"^[0-9a-f]{128}$")]
    ml_dsa_65: Annotated[str, Field(pattern=r"^[0-9a-f]{6618}$")]


class Signed(Model, Generic[BodyT]):
    """A body and its signatures, by signer: a partner id, "operator" or "server"."""

    body: BodyT
    signatures: Annotated[dict[str, SignaturePair], Field(min_length=1, max_length=4)]

    @cached_property
    def canonical_bytes(self) -> bytes:
        return canonical(self.model_dump(mode="json"))

    @property
    def digest(self) -> str:
        """The body's digest: what other messages refer to."""
        return self.body.digest


def signed_model(body: type[BodyT]) -> type[Signed[BodyT]]:
    """The concrete model of a signed message whose body is of this type."""
    return cast("type[Signed[BodyT]]", Signed.__class_getitem__(body))


def parse_signed(body: type[BodyT], raw: bytes, limit: int = MAX_MESSAGE_BYTES) -> Signed[BodyT]:
    """Read a signed message of one type; its signatures are *not* verified here (see `signing.verify`)."""
    value = parse(raw, limit)
    signed = _validate(signed_model(body), raw)
    # A default filled in by the model would make the hash differ from the bytes that were sent.
    if signed.model_dump(mode="json") != value:
        raise MalformedMessage(
            f"every field of {body.__name__} written out",
            "a message with fields left to defaults",
            "send the message as the schema in docs/protocol.md spells it",
        )
    # `raw` is canonical and says what the models say, so these are the bytes they would compute. The end is
    # reckoned and not searched for: a signer may be called "signatures".
    vars(signed)["canonical_bytes"] = raw
    end = len(raw) - len(b',"signatures":') - len(canonical(value["signatures"])) - len(b"}")
    vars(signed.body)["canonical_bytes"] = raw[len(b'{"body":') : end]
    return signed


ModelT = TypeVar("ModelT", bound=Model)


def _validate(model: type[ModelT], raw: bytes) -> ModelT:
    try:
        return model.model_validate_json(raw)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise MalformedMessage(
            f"a message of schema {model.__name__}",
            f"{where}: {first['msg']}",
            "compare with docs/protocol.md",
        ) from None
