"""The frozen vectors of messages: reproduced to the byte, and the bad ones refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from privacy.errors import BadSignature, LedgerBroken, MalformedMessage
from privacy.ledger.chain import verify_lines
from privacy.protocol.canonical import parse
from privacy.protocol.http_contract import split_frame
from privacy.protocol.messages import CharterAcceptance, SigningKeys, parse_signed
from privacy.protocol.signing import verify, verify_request
from tests.vectors.make_protocol import PATH, build, kept_messages

VECTORS: dict[str, Any] = json.loads(PATH.read_text())
KEYS = SigningKeys(ed25519=VECTORS["signing"]["ed25519_public"], ml_dsa_65=VECTORS["signing"]["ml_dsa_65_public"])


def test_everything_comes_out_as_it_was_frozen() -> None:
    assert json.loads(json.dumps(build(kept_messages()))) == VECTORS


@pytest.mark.parametrize("refused", VECTORS["canonical_refused"])
def test_what_is_not_canonical_is_refused(refused: str) -> None:
    with pytest.raises(MalformedMessage):
        parse(bytes.fromhex(refused))


def test_the_frozen_signature_verifies_and_any_changed_byte_of_it_does_not() -> None:
    raw = bytes.fromhex(VECTORS["signing"]["message"])
    assert verify(parse_signed(CharterAcceptance, raw), {"alpha": KEYS}).digest == VECTORS["signing"]["body_digest"]
    for position in range(0, len(raw), 97):
        changed = raw[:position] + bytes([raw[position] ^ 1]) + raw[position + 1 :]
        with pytest.raises((BadSignature, MalformedMessage)):
            verify(parse_signed(CharterAcceptance, changed), {"alpha": KEYS})


def test_two_signers_verify_whatever_they_are_called() -> None:
    vector = VECTORS["countersigning"]
    parsed = parse_signed(CharterAcceptance, bytes.fromhex(vector["message"]))
    assert verify(parsed, dict.fromkeys(vector["signers"], KEYS)).digest == vector["body_digest"]


def test_the_frozen_request_and_frame() -> None:
    verify_request(bytes.fromhex(VECTORS["request"]["text"]), VECTORS["request"]["ed25519"], KEYS)
    message, attachment = split_frame(bytes.fromhex(VECTORS["frame"]["frame"]))
    assert (message.hex(), attachment.hex()) == (VECTORS["frame"]["message"], VECTORS["frame"]["attachment"])
    for raw in (b"", b"\x00\x00\x00", b"\x05\x00\x00\x00abcd", b"\xff\xff\xff\xff" + bytes(8)):
        with pytest.raises(MalformedMessage):
            split_frame(raw)


def test_the_frozen_ledger_verifies_and_a_line_less_does_not() -> None:
    lines = [bytes.fromhex(line) for line in VECTORS["ledger"]]
    assert verify_lines(lines).head.count == len(lines)
    for missing in range(len(lines) - 1):
        with pytest.raises(LedgerBroken) as caught:
            verify_lines(lines[:missing] + lines[missing + 1 :])
        assert caught.value.line == missing + 1
