"""The security officer's consent to a charter: a key of the officer's own, and a signature that `accept` asks for.

Rules:
1. The officer's private key is under the officer's own passphrase, in a file that need not be on this machine; the
   partner's settings name the public key (policy.officer_key).
2. A consent is of one charter's hash and one partner; it is verified here, with nothing from the service.
3. What was accepted on is kept in the journal before the acceptance is signed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from pydantic import ValidationError

from client_sdk.durable import write_durably
from client_sdk.keystore import Passphrase, ask
from client_sdk.partner import Partner
from privacy.errors import BadSignature, ChoraleError, ConfigurationError, KeystoreLocked, PolicyRefused
from privacy.protocol.canonical import canonical, parse
from privacy.protocol.identifiers import OFFICER
from privacy.protocol.messages import Charter, OfficerConsent, Signed, SigningKeys, parse_signed
from privacy.protocol.sealed_file import open_secret, seal_secret
from privacy.protocol.signing import SEED_BYTES, SigningKey, sign, verify
from privacy.randomness import RandomSource
from privacy.typed_paths import writing

PASSPHRASE_VARIABLE: Final = "CHORALE_OFFICER_PASSPHRASE_FILE"  # noqa: S105 - the name of a variable
KEPT: Final = "officer consent "
_VERSION: Final = b"chorale/1 officer key\x00"
_ROOM: Final = 1 << 20


def create_officer_key(private: Path, public: Path, prompt: Passphrase | None, source: RandomSource) -> SigningKeys:
    """New key files. Raises ConfigurationError where one of them is there already."""
    for path in (private, public):
        if path.exists():
            raise ConfigurationError("a new file for the officer's key", f"{path}, which exists", "name another")
    key = SigningKey.generate(source)
    secret = seal_secret(_VERSION + key.private_bytes(), ask(prompt, PASSPHRASE_VARIABLE), source)
    with writing(private):
        write_durably(private, secret)
    with writing(public):
        write_durably(public, canonical(key.public.model_dump(mode="json")) + b"\n")
    return key.public


def load_officer_key(private: Path, prompt: Passphrase | None) -> SigningKey:
    """Raises ConfigurationError, KeystoreLocked."""
    secret = open_secret(_read(private, "the officer's key"), ask(prompt, PASSPHRASE_VARIABLE))
    if len(secret) != len(_VERSION) + SEED_BYTES or not secret.startswith(_VERSION):
        raise KeystoreLocked("an officer's key", "another secret", f"put the officer's own file at {private}")
    return SigningKey(secret[len(_VERSION) :])


def give_consent(charter: str, partner: str, key: SigningKey) -> Signed[OfficerConsent]:
    """Raises ConfigurationError where these are no hash and no partner's id."""
    try:
        body = OfficerConsent(charter=charter, partner=partner)
    except ValidationError as error:
        field = error.errors(include_url=False, include_input=False)[0]
        raise ConfigurationError(
            "a charter's hash and a partner's id", f"{field['loc'][0]}: {field['msg']}", "see `charter show`"
        ) from None
    return sign(body, OFFICER, key)


def require_consent(partner: Partner, charter: Charter, given: Path | None) -> None:
    """Nothing where the policy asks for none. Raises PolicyRefused, BadSignature, ConfigurationError."""
    if partner.officer_key is None:
        return
    kept = partner.journal.fact(KEPT + charter.digest)
    raw = kept if given is None else _read(given, "the officer's consent").removesuffix(b"\n")
    if raw is None:
        raise PolicyRefused(
            f"the officer's consent to charter {charter.digest}, as this machine's policy asks",
            "none",
            "have the officer run `chorale-partner charter consent`, and pass its file by --consent",
        )
    signed = parse_signed(OfficerConsent, raw)
    body = verify(signed, {OFFICER: public_key(partner.officer_key)})
    if (body.charter, body.partner) != (charter.digest, partner.name):
        raise BadSignature(
            f"a consent to charter {charter.digest[:16]} for {partner.name}",
            f"one to {body.charter[:16]} for {body.partner}",
            "have the officer consent to the charter that is offered now",
        )
    if raw != kept:
        partner.journal.set_fact(KEPT + charter.digest, raw)


def public_key(path: Path) -> SigningKeys:
    """Raises ConfigurationError."""
    try:
        return SigningKeys.model_validate(parse(_read(path, "the officer's public key").removesuffix(b"\n")))
    except (ChoraleError, ValueError) as error:
        raise ConfigurationError(
            f"an officer's public key at {path}",
            str(error).splitlines()[0],
            "put the file there that `chorale-partner charter officer-key` wrote",
        ) from None


def _read(path: Path, what: str) -> bytes:
    try:
        with path.open("rb") as stream:
            return stream.read(_ROOM)
    except OSError as error:
        raise ConfigurationError(f"{what} at {path}", str(error.strerror), "check the path") from None
