"""`chorale-server backup`: a backup of a service, made beside it while it runs.

Rules:
1. The database first, then the blobs that it refers to. A blob is on disk before a row names it and is never
   rewritten, so none can be missing for being late. (Blobs first would miss those that came since.)
2. Retention may delete a blob in between. Then the database is taken anew: what it says by then no longer asks for
   that blob, and what was copied already is kept. A blob that is asked for again and again is lost: refused.
3. Every blob is copied under the digest that a signed message in the database gives it.
4. Nothing of the service is written to, and none of its locks is taken: a backup cannot stop it.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from aggregator.backup.contents import (
    BLOBS_FOLDER,
    COPIED_FILES,
    DATABASE_FILE,
    MANIFEST_FILE,
    BackupFile,
    BackupManifest,
    Blob,
    blobs,
    file_digest,
)
from aggregator.backup.staging import staged
from aggregator.settings import Settings
from aggregator.storage import ledger, snapshot
from aggregator.storage.folder import load_keys
from privacy.clock import Clock
from privacy.errors import NotFound
from privacy.protocol.identifiers import SERVER
from privacy.protocol.messages import ChainHead, Signed
from privacy.protocol.signing import sign

TRIES: Final = 10
_PAUSE: Final = 0.2

Told = Callable[[int, int], None]
"""Blobs done, and all of them."""


def make_backup(
    settings: Settings, target: Path, clock: Clock, told: Told, sleep: Callable[[float], None] = time.sleep
) -> Signed[BackupManifest]:
    """Write a whole backup, or nothing. Raises ConfigurationError, NotFound, StorageFull, WrongState."""
    keys = load_keys(settings.folder)
    with staged(target) as staging:
        made_at = int(clock.now())
        chain, count = _consistent(settings, staging, told, sleep)
        for name in COPIED_FILES:
            if (settings.folder / name).exists():
                shutil.copyfile(settings.folder / name, staging / name)
        files = sorted(path for path in staging.iterdir() if path.is_file() and not path.name.startswith("."))
        body = BackupManifest(
            server_keys=keys.server.public,
            made_at=made_at,
            revision=snapshot.revision_of_release(),
            chain=chain,
            blobs=count,
            files=tuple(BackupFile(name=path.name, digest=file_digest(path)) for path in files),
        )
        signed = sign(body, SERVER, keys.server)
        (staging / MANIFEST_FILE).write_bytes(signed.canonical_bytes + b"\n")
        return signed


def _consistent(
    settings: Settings, staging: Path, told: Told, sleep: Callable[[float], None]
) -> tuple[ChainHead, int]:
    """A database and every blob that it asks for."""
    file = staging / DATABASE_FILE
    for attempt in range(TRIES):
        file.unlink(missing_ok=True)
        with snapshot.database_at(settings.database) as database:
            snapshot.take(database, file)
        snapshot.check(file)
        with snapshot.opened(file) as taken, taken.read() as session:
            chain, wanted = ledger.head(session), list(blobs(session))
        missing = _copy(wanted, settings.blobs, staging / BLOBS_FOLDER, told)
        if missing is None:
            _drop_others(staging / BLOBS_FOLDER, {blob.name for blob in wanted})
            return chain, len(wanted)
        sleep(_PAUSE * (attempt + 1))
    raise NotFound(
        "every blob that the database refers to",
        f"none at {missing}, in {TRIES} looks",
        "the service's folder has lost it: restore that file, or the folder from an older backup",
    )


def _copy(wanted: list[Blob], source: Path, target: Path, told: Told) -> str | None:
    """Copy what is not copied yet; the name of the first blob that is gone."""
    for place, blob in enumerate(wanted):
        told(place, len(wanted))
        copy = target / blob.name
        if copy.exists():
            continue
        copy.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        part = copy.with_name(copy.name + ".part")
        try:
            with (source / blob.name).open("rb") as reading, part.open("wb") as writing:
                blob.copy(reading, writing)
        except FileNotFoundError:
            part.unlink(missing_ok=True)
            return blob.name
        os.replace(part, copy)
    told(len(wanted), len(wanted))
    return None


def _drop_others(folder: Path, wanted: set[str]) -> None:
    for path, _, files in os.walk(folder):
        for name in files:
            if str(Path(path, name).relative_to(folder)) not in wanted:
                Path(path, name).unlink()
