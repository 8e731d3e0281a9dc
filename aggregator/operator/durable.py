"""Files that a crash leaves either as they were or whole."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from pathlib import Path

from privacy.errors import StorageFull


def write_whole(path: Path, content: bytes) -> None:
    write_pieces(path, (content,))


def write_pieces(path: Path, pieces: Iterable[bytes]) -> None:
    """Write and fsync under a temporary name (mode 0600), then rename. Raises StorageFull."""
    temporary = path.with_name(path.name + ".part")
    try:
        handle = os.open(temporary, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.writelines(pieces)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        sync_folder(path.parent)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise _plainly(error, path) from error
        raise


def append_line(path: Path, line: bytes) -> None:
    """Append `line` and a newline; when this returns they survive a power cut. Raises StorageFull."""
    made = not path.exists()
    try:
        handle = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
        with os.fdopen(handle, "ab") as file:
            file.write(line + b"\n")
            file.flush()
            os.fsync(file.fileno())
        if made:
            sync_folder(path.parent)
    except OSError as error:
        raise _plainly(error, path) from error


def sync_folder(folder: Path) -> None:
    """Make new names in `folder` durable."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _plainly(error: OSError, path: Path) -> Exception:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StorageFull(f"room for {path.name} in {path.parent}", "a full disk", "free some space and run again")
    return error
