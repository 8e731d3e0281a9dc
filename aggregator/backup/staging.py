"""A folder that appears whole or not at all: written beside its name, synced, renamed.

Rules:
1. Its name must be free, or an empty folder. What a crash left of a try before lies under the name with `.part`, is
   no folder that anything reads, and is cleared by the next try.
2. One at a time: the `.part` folder's lock is held until the rename, and the kernel drops it when its holder dies.
3. Every file and folder in it is this user's alone, and on disk, before the rename.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from aggregator.folder_lock import held
from privacy.errors import ConfigurationError, FolderInUse, StorageFull

_SUFFIX = ".part"
_LOCK = ".lock"


@contextmanager
def staged(target: Path) -> Iterator[Path]:
    """Give the folder to fill; it bears the name `target` once the block has ended without an error.

    Raises ConfigurationError where the name is taken, FolderInUse, StorageFull.
    """
    target = target.expanduser().absolute()
    _require_free(target)
    staging = target.with_name(target.name + _SUFFIX)
    try:
        staging.mkdir(parents=True, exist_ok=True, mode=0o700)
        busy = FolderInUse(f"no other process that writes {staging}", "one that does", "wait until it has ended")
        with held(staging / _LOCK, busy):
            _clear(staging)
            yield staging
            _require_free(target)
            for path, _, files in os.walk(staging, topdown=False):
                for name in files:
                    os.chmod(Path(path, name), 0o600)
                    _sync(Path(path, name))
                os.chmod(path, 0o700)
                _sync(Path(path))
            (staging / _LOCK).unlink()
            os.rename(staging, target)
            _sync(target.parent)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageFull(
                f"room for {target.name} in {target.parent}", "a full disk", "free some space and run again"
            ) from error
        if error.errno in (errno.EACCES, errno.EROFS, errno.ENOTDIR, errno.EPERM):
            raise ConfigurationError(
                f"a folder to write in at {target.parent}", f"{error.strerror}: {error.filename}", "choose another"
            ) from error
        raise


def _require_free(target: Path) -> None:
    if target.is_symlink() or (target.exists() and (not target.is_dir() or any(target.iterdir()))):
        raise ConfigurationError(
            "a name that is free, or an empty folder", str(target), "name another: nothing in it was touched"
        )


def _clear(staging: Path) -> None:
    for path in staging.iterdir():
        if path.name == _LOCK:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
