"""What the service answers, read strictly: lists, the round document, and the messages within (docs/http.md).

Read, not verified: signatures are for whoever relies on a message.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydantic import Field, TypeAdapter, ValidationError

from privacy.errors import MalformedMessage
from privacy.protocol.canonical import canonical
from privacy.protocol.http_contract import MAX_SHARD_BYTES
from privacy.protocol.identifiers import Digest, Model, PartnerId
from privacy.protocol.messages import BodyT, Close, Plan, Receipt, Seal, Signed, SigningKeys, parse_signed
from privacy.protocol.round_state import RoundState


class RoundLine(Model):
    """One line of a campaign's list of rounds, in the order posted."""

    round: Digest
    number: int
    attempt: int
    state: str


class CampaignLine(Model):
    """One line of the list of campaigns."""

    campaign: Digest
    name: str
    charter: Digest
    in_force: bool


class Limits(Model):
    shard_bytes: int = Field(ge=1, le=MAX_SHARD_BYTES)
    message_bytes: int


class About(Model):
    name: str
    version: str
    parameter_sets: list[str]
    server_keys: SigningKeys
    operator_keys: SigningKeys
    time: float
    limits: Limits


@dataclass(frozen=True)
class RoundDocument:
    """What everyone waits on."""

    round: str
    version: int
    state: RoundState
    plan: Signed[Plan]
    joined: tuple[str, ...]
    cohort: str | None
    seal: Signed[Seal] | None
    openings: tuple[str, ...]
    confirmations: Mapping[str, str]
    voids: tuple[str, ...]
    close: Signed[Close] | None
    receipts: tuple[str, ...]


@dataclass(frozen=True)
class OwnUploadStatus:
    missing: tuple[int, ...]
    receipt: Signed[Receipt] | None


_NAMES: Final = TypeAdapter(list[PartnerId])
_INDICES: Final = TypeAdapter(list[int])
_STATES: Final = TypeAdapter(dict[PartnerId, Digest])


def read_document(answer: dict[str, Any], round_digest: str) -> RoundDocument:
    try:
        document = RoundDocument(
            round=str(answer["round"]),
            version=int(answer["version"]),
            state=RoundState(answer["state"]),
            plan=read_message(Plan, answer["plan"]),
            joined=tuple(_NAMES.validate_python(answer["joined"])),
            cohort=answer["cohort"],
            seal=None if answer["seal"] is None else read_message(Seal, answer["seal"]),
            openings=tuple(_NAMES.validate_python(answer["openings"])),
            confirmations=_STATES.validate_python(answer["confirmations"]),
            voids=tuple(_NAMES.validate_python(answer["voids"])),
            close=None if answer["close"] is None else read_message(Close, answer["close"]),
            receipts=tuple(_NAMES.validate_python(answer["receipts"])),
        )
    except (KeyError, ValueError, TypeError, OverflowError) as error:
        raise MalformedMessage(
            "a round document", f"{type(error).__name__}: {str(error)[:200]}", "tell the operator"
        ) from None
    if document.round != round_digest or document.plan.digest != round_digest:
        raise MalformedMessage(
            f"the document of round {round_digest[:16]}", f"that of {document.round[:16]}", "tell the operator"
        )
    return document


def read_message(body: type[BodyT], value: object) -> Signed[BodyT]:
    return parse_signed(body, canonical(value))


def read_messages(body: type[BodyT], answer: dict[str, Any], name: str) -> list[Signed[BodyT]]:
    found = answer.get(name)
    if not isinstance(found, list):
        raise malformed(f"a list of {body.__name__}", name)
    return [read_message(body, value) for value in found]


def read_missing(answer: dict[str, Any]) -> tuple[int, ...]:
    try:
        return tuple(_INDICES.validate_python(answer.get("missing"), strict=True))
    except ValidationError:
        raise malformed("an upload", "missing") from None


def read_model(model: type[Any], value: object, where: str) -> Any:
    try:
        return model.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        name = ".".join(str(part) for part in first["loc"])
        raise MalformedMessage(f"an answer from {where}", f"{name}: {first['msg']}", "tell the operator") from None


def malformed(where: str, member: str) -> MalformedMessage:
    return MalformedMessage(f"{member} in {where}", "none", "check that server.url is the consortium's service")
