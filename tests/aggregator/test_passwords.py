"""How passwords are kept, with the parameters that hold; and what a second factor takes."""

from __future__ import annotations

import re

import pyotp
import pytest
from argon2 import extract_parameters
from argon2.profiles import RFC_9106_LOW_MEMORY

from aggregator.storage import passwords, second_factor
from privacy.errors import ConfigurationError, ServiceUnavailable
from privacy.protocol.signing import SigningKey
from tests.consortium import SeededSource

SOURCE = SeededSource("passwords")


def test_a_password_is_kept_as_rfc_9106_recommends_and_two_of_the_same_differ() -> None:
    one, other = (passwords.hash_password("a choir of many voices", SOURCE) for _ in range(2))
    assert one != other
    assert extract_parameters(one) == RFC_9106_LOW_MEMORY
    assert passwords.matches(one, "a choir of many voices")
    assert not passwords.matches(one, "a choir of many voice")
    assert not passwords.matches(None, "nobody's")
    assert not passwords.outdated(one)


def test_two_keyboards_write_one_password() -> None:
    kept = passwords.hash_password("\u1112\u1161\u11ab\uae00 \uff21bcdefgh", SOURCE)
    assert passwords.matches(kept, "\ud55c\uae00 Abcdefgh")


def test_who_waits_too_long_is_sent_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords, "PATIENCE_SECONDS", 0.01)
    with passwords._turn(), passwords._turn(), pytest.raises(ServiceUnavailable):
        passwords.matches(None, "a password")
    assert not passwords.matches(None, "a password")


def test_codes_are_those_of_rfc_6238() -> None:
    """Appendix B, SHA-1, the last six of its eight digits."""
    secret = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
    for moment, code in ((59, "287082"), (1111111109, "081804"), (2000000000, "279037")):
        assert second_factor.step_of(secret, code, float(moment), 0) == moment // 30
        assert second_factor.step_of(secret, code, moment + 30.0, 0) == moment // 30
        assert second_factor.step_of(secret, code, moment + 60.0, 0) is None
        assert second_factor.step_of(secret, code, float(moment), moment // 30) is None
        assert second_factor.step_of(secret, "", float(moment), 0) is None


def test_a_secret_opens_under_its_key_and_for_its_account_alone() -> None:
    key, other = SigningKey.generate(SOURCE), SigningKey.generate(SOURCE)
    secret = second_factor.new_secret(SOURCE)
    sealed = second_factor.seal_secret(key, "kim", secret, SOURCE)
    assert secret.encode() not in sealed
    assert second_factor.open_secret(key, "kim", sealed) == secret
    for by, account in ((other, "kim"), (key, "lee")):
        with pytest.raises(ConfigurationError, match="account reset"):
            second_factor.open_secret(by, account, sealed)


def test_the_picture_says_what_the_address_says() -> None:
    uri = second_factor.enrolment_uri(second_factor.new_secret(SOURCE), "j.kim@aster.example", "Chorale")
    assert pyotp.parse_uri(uri).name == "j.kim@aster.example"
    side, path = second_factor.squares(uri)
    assert re.fullmatch(r"(M\d+ \d+h1v1h-1z)+", path)
    corners = {(4, 4), (side - 5, 4), (4, side - 5)}
    assert {(int(x), int(y)) for x, y in re.findall(r"M(\d+) (\d+)", path)} >= corners
