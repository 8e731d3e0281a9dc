"""Writing files that a crash leaves either absent or whole, and one lock a folder.

A full disk is StorageFull and leaves what stood there before.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Final

from privacy.errors import ConfigurationError, FolderInUse, StorageFull

LOCK_NAME: Final = "lock"
_FULL: Final = (errno.ENOSPC, errno.EDQUOT)


def write_durably(path: Path, content: bytes) -> None:
    """Write `content` at `path` (mode 0600); when this returns it survives a power cut. Raises StorageFull."""
    write_pieces(path, (content,))


def write_pieces(path: Path, pieces: Iterable[bytes]) -> None:
    """As `write_durably`, of what need not be in memory at once."""
    temporary = path.with_name(path.name + ".part")
    with room_for(temporary):
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.writelines(pieces)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        sync_folder(path.parent)


@contextmanager
def room_for(path: Path) -> Iterator[None]:
    """Around writing a file, which is taken away again if that fails. Raises StorageFull."""
    try:
        yield
    except BaseException as error:
        path.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno in _FULL:
            raise StorageFull(
                f"room for {path.name} in {path.parent}", "a full disk", "free some space and run again"
            ) from error
        raise


def sync_folder(folder: Path) -> None:
    """Make renames and new names in `folder` durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(path: Path) -> Path:
    """`path` as a folder of this user alone. Raises ConfigurationError where that cannot be."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(f"a folder at {path}", str(error), "choose another place") from None
    return path


class FolderLock:
    """One process a folder: an advisory lock that the kernel drops when its holder dies."""

    def __init__(self, folder: Path) -> None:
        self._descriptor = os.open(folder / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._descriptor)
            raise FolderInUse(
                f"a folder that no other process uses: {folder}",
                "one that is in use",
                "stop the other process, or wait until it has ended",
            ) from None

    def release(self) -> None:
        os.close(self._descriptor)

    def __enter__(self) -> FolderLock:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()
