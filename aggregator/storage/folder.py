"""The server's folder: made once by `init`, read by the service.

Rules:
1. `server.key` is the *online* signing key: 64 bytes, mode 0600, refused where others may read it.
2. `operator.pub` holds the operator's public keys; the private one is never in this folder and never read here.
3. A folder that exists with a key in it is not made anew: a new key would orphan every charter that names the old.
4. One process serves a folder: a second would sweep away the first one's uploads under way.
5. A folder that comes from a backup bears a mark, and is not served before `recover` takes it away: partners may
   hold what this folder has forgotten, and an entry written before that is known would fork the ledger.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from aggregator.folder_lock import held
from aggregator.settings import SETTINGS_FILE
from privacy.errors import ConfigurationError, FolderInUse, RolledBack
from privacy.protocol.canonical import canonical
from privacy.protocol.messages import SigningKeys
from privacy.protocol.signing import SEED_BYTES, SigningKey
from privacy.randomness import RandomSource

SERVER_KEY_FILE = "server.key"
OPERATOR_FILE = "operator.pub"
RESTORED_FILE = "restored.json"
_LOCK_FILE = "serving.lock"


@dataclass(frozen=True)
class ServiceKeys:
    """The online key, and whom the service takes as its operator."""

    server: SigningKey
    operator: SigningKeys


def create_server_folder(
    path: Path,
    operator_public: SigningKeys,
    source: RandomSource,
    *,
    host: str = "127.0.0.1",
    port: int = 8470,
    public_url: str = "",
    shard_bytes: int | None = None,
) -> SigningKeys:
    """Make the folder and its online key; gives the server's public keys, which charters name.

    Raises ConfigurationError if the folder already holds a key, or cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise ConfigurationError(f"a folder at {path}", str(error), "choose another place") from None
    key = SigningKey.generate(source)
    try:
        handle = os.open(path / SERVER_KEY_FILE, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    except FileExistsError:
        raise ConfigurationError(
            "a folder without a server key", f"{path / SERVER_KEY_FILE}", "serve this folder, or name another"
        ) from None
    with os.fdopen(handle, "wb") as file:
        file.write(key.private_bytes())
        file.flush()
        os.fsync(file.fileno())
    (path / OPERATOR_FILE).write_bytes(canonical(operator_public.model_dump(mode="json")) + b"\n")
    lines = [f'host = "{host}"', f"port = {port}"]
    if public_url:
        lines.append(f'public_url = "{public_url}"')
    if shard_bytes is not None:
        lines.append(f"shard_bytes = {shard_bytes}")
    (path / SETTINGS_FILE).write_text("\n".join(lines) + "\n", encoding="ascii")
    return key.public


@contextmanager
def serving(path: Path) -> Iterator[None]:
    """Rule 4, by a lock that the kernel drops when its holder dies. Raises FolderInUse, ConfigurationError."""
    busy = FolderInUse(f"no other service in {path}", "one that runs", "stop it, or serve another folder")
    with ExitStack() as lock:
        try:
            lock.enter_context(held(path / _LOCK_FILE, busy))
        except OSError as error:
            raise ConfigurationError(
                "a server folder to write in", f"{error.strerror}: {path}", "make it with `chorale-server init`"
            ) from None
        yield


def require_recovered(path: Path) -> None:
    """Rule 5. Raises RolledBack."""
    if (path / RESTORED_FILE).exists():
        raise RolledBack(
            "a service's folder that knows all that it ever signed",
            "one restored from a backup, and nobody has said yet what it lost",
            f"see `chorale-server recover --help`, then run it for {path}",
        )


def load_keys(path: Path) -> ServiceKeys:
    """Read the folder's keys. Raises ConfigurationError where one is missing, malformed or readable by others."""
    key_file = path / SERVER_KEY_FILE
    try:
        mode = stat.S_IMODE(key_file.stat().st_mode)
        seed = key_file.read_bytes()
        operator = SigningKeys.model_validate_json((path / OPERATOR_FILE).read_bytes())
    except OSError as error:
        raise ConfigurationError(
            f"a server folder with {SERVER_KEY_FILE} and {OPERATOR_FILE}",
            f"{error.strerror}: {error.filename}",
            "make it with `chorale-server init`",
        ) from None
    except ValidationError:
        raise ConfigurationError(
            f"the operator's public keys in {OPERATOR_FILE}",
            "something else",
            "restore it from the operator's folder",
        ) from None
    if mode & 0o077:
        raise ConfigurationError(
            f"{SERVER_KEY_FILE} readable by its owner alone", f"mode {mode:04o}", f"chmod 600 {key_file}"
        )
    if len(seed) != SEED_BYTES:
        raise ConfigurationError(
            f"a key of {SEED_BYTES} bytes in {SERVER_KEY_FILE}", f"{len(seed)}", "restore it from its backup"
        )
    return ServiceKeys(SigningKey(seed), operator)
