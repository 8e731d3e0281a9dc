"""The operator's folder: the key that signs charters, campaigns and plans, and what the operator has decided.

Rules:
1. It is apart from the service's folder: the service's process never sees `operator.key` (protocol 3).
2. `operator.key` is the 64 bytes of signing seed in a sealed file, mode 0600; the passphrase is the first line of
   the file that CHORALE_PASSPHRASE_FILE names, or is asked for.
3. `operator.toml` names the service's address and pins its online keys by digest: a charter names those and no
   others, whatever an answer says.
4. `approvals.json` holds the digest of every enrolment approved here. A charter takes no other, so a service that
   swaps a partner's keys after the approval is noticed.
It signs nothing and speaks to nobody.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import TypeAdapter, ValidationError

from aggregator.folder_lock import held, in_turn
from aggregator.operator.durable import write_whole
from privacy.errors import ConfigurationError, FolderInUse, KeystoreLocked
from privacy.protocol.canonical import canonical, digest
from privacy.protocol.identifiers import Digest, Model, PartnerId
from privacy.protocol.messages import SigningKeys
from privacy.protocol.sealed_file import open_secret, seal_secret
from privacy.protocol.signing import SEED_BYTES, SigningKey
from privacy.protocol.toml_text import parse_toml
from privacy.randomness import RandomSource
from privacy.web_address import is_web_address

if TYPE_CHECKING:
    from collections.abc import Iterator

PASSPHRASE_VARIABLE = "CHORALE_PASSPHRASE_FILE"  # noqa: S105 - the name of a variable
KEY_FILE = "operator.key"
SETTINGS_FILE = "operator.toml"
APPROVALS_FILE = "approvals.json"
PLANS_FILE = "plans.jsonl"
_LOCK_FILE = "conductor.lock"
_APPROVALS_LOCK = "approvals.lock"
_APPROVALS: TypeAdapter[dict[str, str]] = TypeAdapter(dict[PartnerId, Digest])


class OperatorSettings(Model):
    """url: the service's address. server_keys: SHA-256 of the canonical JSON of its public keys."""

    url: str
    server_keys: Digest


def keys_digest(keys: SigningKeys) -> str:
    return digest(canonical(keys.model_dump(mode="json")))


def read_passphrase(ask: Callable[[], str] | None) -> str:
    """From the file that CHORALE_PASSPHRASE_FILE names, else from `ask`. Raises KeystoreLocked where neither is."""
    named = os.environ.get(PASSPHRASE_VARIABLE)
    if named:
        try:
            first, _, _ = Path(named).read_text(encoding="utf-8").partition("\n")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(
                f"a readable passphrase file at {named}", str(error), f"correct {PASSPHRASE_VARIABLE}"
            ) from None
        return first.rstrip("\r")
    if ask is None:
        raise KeystoreLocked(
            "a passphrase",
            f"none: {PASSPHRASE_VARIABLE} is not set and nobody can be asked",
            f"let {PASSPHRASE_VARIABLE} name a file that holds it",
        )
    return ask()


@dataclass(frozen=True)
class OperatorFolder:
    """An operator's folder that exists; made by `create_operator_folder`, found by `open_operator_folder`."""

    path: Path
    settings: OperatorSettings

    def load_key(self, passphrase: str) -> SigningKey:
        """Raises KeystoreLocked."""
        seed = open_secret((self.path / KEY_FILE).read_bytes(), passphrase)
        if len(seed) != SEED_BYTES:
            raise KeystoreLocked(
                f"a signing seed of {SEED_BYTES} bytes", f"{len(seed)}", "restore operator.key from its backup"
            )
        return SigningKey(seed)

    @property
    def plans(self) -> Path:
        return self.path / PLANS_FILE

    def approvals(self) -> dict[str, str]:
        """Approved enrolments' digests, by partner."""
        path = self.path / APPROVALS_FILE
        if not path.exists():
            return {}
        try:
            return _APPROVALS.validate_json(path.read_bytes())
        except ValidationError:
            raise ConfigurationError(
                f"partners and digests in {path}", "something else", "restore it, or approve the partners again"
            ) from None

    def remember_approval(self, partner: str, enrolment: str) -> None:
        """Two commands at once keep both approvals."""
        with in_turn(self.path / _APPROVALS_LOCK):
            write_whole(self.path / APPROVALS_FILE, canonical({**self.approvals(), partner: enrolment}))

    @property
    def conductor_name(self) -> str:
        """One name a folder and machine, for the lease: a conductor that crashed finds its own again."""
        return f"{socket.gethostname()[:48]}-{digest(str(self.path.resolve()).encode())[:12]}"

    @contextmanager
    def conducting(self) -> Iterator[None]:
        """Held by the one process that signs plans from this folder. Raises FolderInUse."""
        busy = FolderInUse(f"no other conductor in {self.path}", "one that runs", "stop it, or let it go on")
        with held(self.path / _LOCK_FILE, busy):
            yield


def create_operator_key(path: Path, passphrase: str, source: RandomSource) -> SigningKeys:
    """Make the folder and its key; gives the public keys. Raises ConfigurationError if a key is there already."""
    key_file = path / KEY_FILE
    if key_file.exists():
        raise ConfigurationError(
            "a folder without an operator key", str(key_file), "use this folder, or name another"
        )
    key = SigningKey.generate(source)
    sealed = seal_secret(key.private_bytes(), passphrase, source)
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise ConfigurationError(f"a folder at {path}", str(error), "choose another place") from None
    write_whole(key_file, sealed)
    return key.public


def write_settings(path: Path, url: str, server_keys: SigningKeys) -> OperatorFolder:
    """Point the folder at a service, and pin that service's keys."""
    settings = OperatorSettings(url=url, server_keys=keys_digest(server_keys))
    lines = [f"{name} = {json.dumps(value)}" for name, value in settings.model_dump().items()]
    write_whole(path / SETTINGS_FILE, ("\n".join(lines) + "\n").encode())
    return OperatorFolder(path, settings)


def open_operator_folder(path: Path) -> OperatorFolder:
    """Raises ConfigurationError where it is not one."""
    settings_file = path / SETTINGS_FILE
    try:
        written = parse_toml(settings_file.read_bytes(), f"url and server_keys in {settings_file}")
        settings = OperatorSettings.model_validate(written)
    except OSError:
        raise ConfigurationError(
            f"an operator's folder with {SETTINGS_FILE} at {path}",
            "none",
            "name it with --operator or CHORALE_OPERATOR_FOLDER, or make one with `chorale-server init`",
        ) from None
    except ValidationError as error:
        raise ConfigurationError(
            f"url and server_keys in {settings_file}", str(error).splitlines()[0], "correct the file"
        ) from None
    if not is_web_address(settings.url):
        raise ConfigurationError(
            "a url with http or https, a host and no path", settings.url, f"correct it in {settings_file}"
        )
    if not (path / KEY_FILE).is_file():
        raise ConfigurationError(f"the operator's key at {path / KEY_FILE}", "none", "restore it from its backup")
    return OperatorFolder(path, settings)
