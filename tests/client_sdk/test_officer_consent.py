"""A charter is accepted only with the officer's consent, where this machine's policy asks for it."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from client_sdk.cli import app
from client_sdk.enrolment import accept_charter, offered_charter
from client_sdk.officer_consent import KEPT, PASSPHRASE_VARIABLE, give_consent, load_officer_key
from privacy.errors import BadSignature, ChoraleError, ConfigurationError, KeystoreLocked, PolicyRefused
from privacy.protocol.signing import SigningKey
from tests.client_sdk.choir import Choir, choir

NAME = "partner-02"


def command(*arguments: str) -> None:
    done = CliRunner().invoke(app, ["charter", *arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output


def accept(three: Choir, consent: Path | None) -> None:
    with three.partner(NAME) as partner:
        offered = offered_charter(partner)
        accept_charter(partner, offered, offered.charter.digest, consent)


def test_an_officer_consents_to_one_charter_of_one_partner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "passphrase").write_text("the officer's own")
    monkeypatch.setenv(PASSPHRASE_VARIABLE, str(tmp_path / "passphrase"))
    key, public, consent = tmp_path / "officer.key", tmp_path / "officer.pub", tmp_path / "consent.json"
    with choir(tmp_path) as three:
        config = three.config(NAME)
        config.write_text(config.read_text() + 'officer_key = "../officer.pub"\n')
        three.enrol_all()
        digest = three.draft_charter().digest
        with pytest.raises(PolicyRefused, match="officer's consent"):
            accept(three, None)
        command("officer-key", str(key), str(public))
        for partner, charter in ((NAME, "ab" * 32), ("partner-01", digest)):
            command("consent", str(key), str(consent), "--partner", partner, "--digest", charter, "--yes")
            with pytest.raises(BadSignature, match="a consent to charter"):
                accept(three, consent)
        command("consent", str(key), str(consent), "--partner", NAME, "--digest", digest, "--yes")
        signed = consent.read_bytes()
        for altered in (signed.replace(b'"ed25519":"', b'"ed25519":"00', 1), signed[:-9], b"", b"{}"):
            consent.write_bytes(altered)
            with pytest.raises(ChoraleError):
                accept(three, consent)
        with three.partner(NAME) as partner:
            assert partner.journal.fact(KEPT + digest) is None
        consent.write_bytes(signed)
        other = (tmp_path / "other.key", tmp_path / "other.pub")
        command("officer-key", *(str(path) for path in other))
        public.rename(tmp_path / "kept.pub")
        with pytest.raises(ConfigurationError, match="officer's public key"):
            accept(three, consent)
        other[1].rename(public)
        with pytest.raises(BadSignature):
            accept(three, consent)
        (tmp_path / "kept.pub").rename(public)
        accept(three, consent)
        accept(three, None)  # the journal holds the consent
        with three.partner(NAME) as partner:
            assert partner.journal.fact(KEPT + digest) == signed.removesuffix(b"\n")
            assert partner.charter.digest == digest


def test_the_officers_key_is_not_made_twice_and_opens_under_its_passphrase_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "passphrase").write_text("the officer's own")
    monkeypatch.setenv(PASSPHRASE_VARIABLE, str(tmp_path / "passphrase"))
    key, public = tmp_path / "officer.key", tmp_path / "officer.pub"
    command("officer-key", str(key), str(public))
    with pytest.raises(ConfigurationError, match="exists"):
        command("officer-key", str(key), str(tmp_path / "else.pub"))
    (tmp_path / "passphrase").write_text("a guess")
    with pytest.raises(KeystoreLocked):
        load_officer_key(key, None)


@pytest.mark.parametrize(("charter", "partner"), [("ab", NAME), ("AB" * 32, NAME), ("ab" * 32, "Aster")])
def test_a_consent_to_nothing_is_refused(charter: str, partner: str) -> None:
    with pytest.raises(ConfigurationError, match="hash and a partner"):
        give_consent(charter, partner, SigningKey(bytes(64)))
