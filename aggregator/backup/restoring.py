"""`chorale-server restore`: a service's folder from a backup, verified before it has a name.

Rules:
1. All of verifying.py passes, on the very files that the new folder will hold, or no folder appears.
2. The folder is made beside its name and renamed last (staging.py). Where the settings name another database than
   the folder's own, that one is filled first, in one transaction, and only if it is empty.
3. What a copy of yesterday must not bring back is left out: console sessions and sign-in links, which may have been
   ended or used since. Nonces are no part of a backup: without them the service refuses what it may have seen.
4. The new folder bears a mark, and is not served before `recover` has taken in what partners know (recovering.py).
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

from sqlalchemy import delete

from aggregator.backup.contents import BLOBS_FOLDER, DATABASE_FILE, BackupManifest, blobs
from aggregator.backup.staging import staged
from aggregator.backup.verifying import check_blobs, check_ledger, missing, read_manifest
from aggregator.settings import Settings
from aggregator.storage import snapshot
from aggregator.storage.folder import RESTORED_FILE, SERVER_KEY_FILE, load_keys
from aggregator.storage.tables import ConsoleLinkRow, ConsoleSessionRow
from privacy.errors import ConfigurationError
from privacy.protocol.canonical import canonical
from privacy.protocol.messages import Signed
from privacy.protocol.signing import SEED_BYTES, SigningKey

Told = Callable[[int, int], None]


def restore(backup: Path, target: Path, key_file: Path, told: Told) -> Signed[BackupManifest]:
    """Make `target` from a backup and the online key. Raises what is wrong with either, and leaves nothing then."""
    key = _read_key(key_file)
    signed = read_manifest(backup, key)
    with staged(target) as staging:
        for file in signed.body.files:
            # The online key is never taken from a backup.
            if file.name not in (DATABASE_FILE, SERVER_KEY_FILE):
                shutil.copyfile(backup / file.name, staging / file.name)
        _write_key(staging / SERVER_KEY_FILE, key)
        settings = Settings.load(staging)
        _bring_database(backup, staging, settings, signed.body, told)
        mark = {"made_at": signed.body.made_at, "chain": signed.body.chain.model_dump()}
        (staging / RESTORED_FILE).write_bytes(canonical(mark) + b"\n")
    return signed


def _bring_database(backup: Path, staging: Path, settings: Settings, manifest: BackupManifest, told: Told) -> None:
    file = staging / DATABASE_FILE
    shutil.copyfile(backup / DATABASE_FILE, file)
    snapshot.check(file)
    with snapshot.opened(file, migrate=True) as database:
        check_ledger(database, load_keys(staging), manifest.chain)
        with database.read() as session:
            for blob in blobs(session):
                copy = staging / BLOBS_FOLDER / blob.name
                copy.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                try:
                    shutil.copyfile(backup / BLOBS_FOLDER / blob.name, copy)
                except FileNotFoundError:
                    raise missing(blob.name) from None
            check_blobs(session, staging / BLOBS_FOLDER, told)
        with database.write() as writing:
            for table in (ConsoleSessionRow, ConsoleLinkRow):
                writing.execute(delete(table))
    own = _own_database(settings)
    if own is not None:
        os.replace(file, staging / own)
        return
    with snapshot.database_at(settings.database) as elsewhere:
        snapshot.put(file, elsewhere)
    file.unlink()


def _own_database(settings: Settings) -> str | None:
    """The name of the database file within the folder; None where the settings name a database elsewhere."""
    if settings.database_url:
        return None
    return Path(settings.database.removeprefix("sqlite:///")).name


def _read_key(path: Path) -> SigningKey:
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        seed = path.read_bytes()
    except OSError as error:
        raise ConfigurationError(
            f"the service's online key at {path}", str(error.strerror), "name the copy that was kept of server.key"
        ) from None
    if mode & 0o077:
        raise ConfigurationError(f"{path} readable by its owner alone", f"mode {mode:04o}", f"chmod 600 {path}")
    if len(seed) != SEED_BYTES:
        raise ConfigurationError(f"a key of {SEED_BYTES} bytes in {path}", f"{len(seed)}", "name the right file")
    return SigningKey(seed)


def _write_key(path: Path, key: SigningKey) -> None:
    handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(key.private_bytes())
