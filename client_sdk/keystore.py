"""A partner's long-lived keys, in one file under a passphrase (protocol 5.3).

Rules:
1. One secret of fixed width: 64 bytes of signing seed, 96 of the result key, 32 of device secret.
2. Written once, whole and fsynced, under a temporary name, then renamed: a half-written file never stands.
3. The passphrase comes from the file that CHORALE_PASSPHRASE_FILE names, else from whoever is asked.
A round's keys are not here (round_keys): what is here may be backed up, what is there must not.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from client_sdk.durable import write_durably
from privacy.errors import ConfigurationError, KeystoreLocked
from privacy.he.boxes import PRIVATE_BYTES, BoxKey
from privacy.protocol.sealed_file import open_secret, seal_secret
from privacy.protocol.signing import SEED_BYTES, SigningKey
from privacy.randomness import RandomSource

PASSPHRASE_VARIABLE: Final = "CHORALE_PASSPHRASE_FILE"  # noqa: S105 - the name of a variable
KEYSTORE_NAME: Final = "keys.sealed"
DEVICE_SECRET_BYTES: Final = 32
_VERSION: Final = b"chorale/1 partner keys\x00"

Passphrase = Callable[[], str]
"""Asked once, when the keystore is opened or made."""


@dataclass(frozen=True, repr=False)
class PartnerKeys:
    """The signing pair, the key to which results are sealed, and the secret that hedges every seed."""

    signing: SigningKey
    result: BoxKey
    device_secret: bytes

    @classmethod
    def generate(cls, source: RandomSource) -> PartnerKeys:
        return cls(SigningKey.generate(source), BoxKey.generate(), source.bytes(DEVICE_SECRET_BYTES))

    def __repr__(self) -> str:
        return f"PartnerKeys(<withheld>, public ed25519 {self.signing.public.ed25519[:16]}...)"


def passphrase_from_environment(variable: str = PASSPHRASE_VARIABLE) -> str | None:
    """The first line of the file that this variable names, or None where it names none."""
    named = os.environ.get(variable)
    if not named:
        return None
    try:
        first, _, _ = Path(named).read_text(encoding="utf-8").partition("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"a readable passphrase file at {named}", str(error), f"correct {variable}"
        ) from None
    return first.rstrip("\r")


def ask(prompt: Passphrase | None, variable: str = PASSPHRASE_VARIABLE) -> str:
    """The passphrase, from the environment's file or else from `prompt`."""
    found = passphrase_from_environment(variable)
    if found is not None:
        return found
    if prompt is None:
        raise KeystoreLocked(
            "a passphrase",
            f"none: {variable} is not set and nobody can be asked",
            f"let {variable} name a file that holds it",
        )
    return prompt()


def load_keys(folder: Path, prompt: Passphrase | None) -> PartnerKeys:
    """The keys in this folder. Raises ConfigurationError if there are none, KeystoreLocked if they stay shut."""
    path = folder / KEYSTORE_NAME
    try:
        raw = path.read_bytes()
    except OSError:
        raise ConfigurationError(
            f"a keystore at {path}", "none that can be read", "enrol first, or restore it from its backup"
        ) from None
    secret = open_secret(raw, ask(prompt))
    if len(secret) != len(_VERSION) + SEED_BYTES + PRIVATE_BYTES + DEVICE_SECRET_BYTES or not secret.startswith(
        _VERSION
    ):
        raise KeystoreLocked(
            "a partner's keys of this version", "another secret", f"put the partner's own file at {path}"
        )
    body = secret[len(_VERSION) :]
    return PartnerKeys(
        SigningKey(body[:SEED_BYTES]),
        BoxKey.from_private_bytes(body[SEED_BYTES : SEED_BYTES + PRIVATE_BYTES]),
        body[SEED_BYTES + PRIVATE_BYTES :],
    )


def create_keys(folder: Path, prompt: Passphrase | None, source: RandomSource) -> PartnerKeys:
    """New keys, written before they are used. Raises ConfigurationError if the folder already holds some."""
    path = folder / KEYSTORE_NAME
    if path.exists():
        raise ConfigurationError(
            "a folder without keys", f"a keystore at {path}", "use it, or choose an empty folder"
        )
    keys = PartnerKeys.generate(source)
    secret = _VERSION + keys.signing.private_bytes() + keys.result.private_bytes + keys.device_secret
    write_durably(path, seal_secret(secret, ask(prompt), source))
    return keys
