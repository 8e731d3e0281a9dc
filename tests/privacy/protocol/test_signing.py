"""Both signatures, exactly the named signers, and no second chance for a changed body."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from privacy.errors import BadSignature, MalformedMessage
from privacy.protocol.canonical import canonical
from privacy.protocol.messages import Abort, CharterAcceptance, SignaturePair, Signed, parse_signed
from privacy.protocol.signing import SigningKey, Verifier, countersign, sign, verify, verify_request
from privacy.randomness import SystemRandom

KEY = SigningKey.generate(SystemRandom())
OTHER = SigningKey.generate(SystemRandom())
BODY = CharterAcceptance(charter="ab" * 32, partner="alpha")


def test_a_signed_message_survives_the_wire() -> None:
    signed = sign(BODY, "alpha", KEY)
    again = parse_signed(CharterAcceptance, signed.canonical_bytes)
    assert verify(again, {"alpha": KEY.public}) == BODY


@pytest.mark.parametrize("algorithm", ["ed25519", "ml_dsa_65"])
def test_either_signature_alone_is_not_enough(algorithm: str) -> None:
    good = sign(BODY, "alpha", KEY).signatures["alpha"]
    stranger = sign(BODY, "alpha", OTHER).signatures["alpha"]
    mixed = SignaturePair(**{**good.model_dump(), algorithm: getattr(stranger, algorithm)})
    with pytest.raises(BadSignature, match=algorithm):
        verify(Signed[CharterAcceptance](body=BODY, signatures={"alpha": mixed}), {"alpha": KEY.public})


def test_a_changed_body_or_another_type_is_refused() -> None:
    pair = sign(BODY, "alpha", KEY).signatures
    changed = Signed[CharterAcceptance](body=BODY.model_copy(update={"partner": "beta"}), signatures=pair)
    with pytest.raises(BadSignature):
        verify(changed, {"alpha": KEY.public})
    with pytest.raises(MalformedMessage):
        parse_signed(Abort, sign(BODY, "alpha", KEY).canonical_bytes)


def test_signers_must_be_exactly_those_asked_for() -> None:
    both = countersign(sign(BODY, "alpha", KEY), "operator", OTHER)
    assert verify(both, {"alpha": KEY.public, "operator": OTHER.public}) == BODY
    with pytest.raises(BadSignature):
        verify(both, {"alpha": KEY.public})
    with pytest.raises(BadSignature):
        verify(sign(BODY, "alpha", KEY), {"alpha": KEY.public, "operator": OTHER.public})


def test_a_verifier_remembers_per_key_not_per_name() -> None:
    verifier = Verifier(capacity=1)
    signed = sign(BODY, "alpha", KEY)
    verifier.verify(signed, {"alpha": KEY.public})
    with pytest.raises(BadSignature):
        verifier.verify(signed, {"alpha": OTHER.public})
    verifier.verify(signed, {"alpha": KEY.public})


def test_a_request_signature_is_for_its_text_alone() -> None:
    signature = KEY.sign_request(b"GET\n/v1/ledger")
    verify_request(b"GET\n/v1/ledger", signature, KEY.public)
    for text, hexed in ((b"PUT\n/v1/ledger", signature), (b"GET\n/v1/ledger", signature[:-2]), (b"x", "zz")):
        with pytest.raises(BadSignature):
            verify_request(text, hexed, KEY.public)


def test_private_keys_do_not_show_themselves() -> None:
    assert KEY.private_bytes().hex() not in repr(KEY)


def test_a_message_with_a_field_left_to_its_default_is_refused() -> None:
    raw = sign(BODY, "alpha", KEY).canonical_bytes
    without_type = raw.replace(b',"type":"chorale/1 charter-acceptance"', b"")
    assert without_type != raw
    with pytest.raises(MalformedMessage):
        parse_signed(CharterAcceptance, without_type)


@pytest.mark.parametrize("name", ["Alpha", "аlpha", "a", "alpha--x", "../x", "a" * 33, "alpha\n"])
def test_names_that_could_pass_for_another_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="partner"):
        CharterAcceptance(charter="ab" * 32, partner=name)


def test_a_changed_copy_has_a_digest_of_its_own() -> None:
    before = BODY.digest
    changed = BODY.model_copy(update={"partner": "beta"})
    assert changed.digest != before
    assert changed.digest == CharterAcceptance(charter=BODY.charter, partner="beta").digest
    assert BODY.model_copy().digest == before
    assert BODY.model_copy() == BODY, "what was computed is no part of a body"


@given(st.text(min_size=1, max_size=60))
def test_what_parsing_takes_from_the_wire_is_what_the_models_compute(reason: str) -> None:
    body = Abort(charter="ab" * 32, plan="cd" * 32, reason=reason + ',"signatures":{')
    parsed = parse_signed(Abort, sign(body, "operator", KEY).canonical_bytes)
    assert parsed.body.canonical_bytes == body.canonical_bytes
    assert parsed.canonical_bytes == canonical(parsed.model_dump(mode="json"))
    assert verify(parsed, {"operator": KEY.public}) == body


@given(st.lists(st.sampled_from(["alpha", "body", "operator", "signatures", "server"]), min_size=1, max_size=4))
def test_signers_may_be_called_as_the_signed_form_calls_its_parts(names: list[str]) -> None:
    first, *others = dict.fromkeys(names)
    signed = sign(BODY, first, KEY)
    for name in others:
        signed = countersign(signed, name, KEY)
    parsed = parse_signed(CharterAcceptance, signed.canonical_bytes)
    assert parsed.body.canonical_bytes == canonical(BODY.model_dump(mode="json"))
    assert verify(parsed, dict.fromkeys(names, KEY.public)) == BODY
