"""Bulk bytes: shards, sums, boxes. Written once, whole or not at all.

Rules:
1. A blob is written to a temporary file, synced, and renamed: a reader never meets half of one, and a crash leaves
   only a temporary file, which the next start removes.
2. Names are made of digests, partner ids and indexes, and are checked as such; nothing from the wire is a path.
3. Deleting what is not there is no error, so a deletion can be repeated after a crash.
"""

from __future__ import annotations

import itertools
import os
import re
import shutil
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Protocol, Self

from privacy.errors import NotFound

_PART = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_TEMPORARY = ".part"


class BlobWriter(Protocol):
    """One blob on its way; leaving the `with` block without `publish` discards it."""

    @property
    def path(self) -> Path: ...
    def write(self, piece: bytes | memoryview) -> None: ...
    def publish(self) -> None: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class BlobStore(Protocol):
    def writer(self, name: str) -> BlobWriter: ...
    def path(self, name: str) -> Path:
        """Where a stored blob can be read. Raises NotFound."""
        ...

    def read(self, name: str, offset: int, length: int) -> bytes:
        """Exactly `length` bytes from `offset`. Raises NotFound."""
        ...

    def delete(self, prefix: str) -> None:
        """Remove the blob, or every blob below this prefix."""
        ...


class LocalBlobs:
    """A BlobStore on the local disk."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._incoming = root / "incoming"
        # Whatever lies here was cut off by a crash.
        shutil.rmtree(self._incoming, ignore_errors=True)
        self._incoming.mkdir(parents=True, mode=0o700)
        self._numbers = itertools.count()  # one step of `next` is atomic among threads

    def writer(self, name: str) -> LocalBlobWriter:
        temporary = self._incoming / f"{os.getpid()}-{next(self._numbers)}{_TEMPORARY}"
        return LocalBlobWriter(temporary, self._target(name))

    def path(self, name: str) -> Path:
        target = self._target(name)
        if not target.is_file():
            raise NotFound(
                "bytes that are kept", f"none under {name}", "they were not sent yet, or their time is over"
            )
        return target

    def read(self, name: str, offset: int, length: int) -> bytes:
        with self.path(name).open("rb") as file:
            file.seek(offset)
            data = file.read(length)
        if len(data) != length:
            raise NotFound(
                f"{length} bytes at {offset} of {name}", f"{len(data)}", "restore the blob from its backup"
            )
        return data

    def delete(self, prefix: str) -> None:
        target = self._target(prefix)
        if target.is_dir():
            shutil.rmtree(target)
        else:
            target.unlink(missing_ok=True)

    def _target(self, name: str) -> Path:
        parts = name.split("/")
        if not all(_PART.fullmatch(part) for part in parts) or parts[0] == "incoming":
            raise ValueError(f"{name!r} is no name of a blob")
        return self._root.joinpath(*parts)


class LocalBlobWriter:
    def __init__(self, temporary: Path, target: Path) -> None:
        self._temporary = temporary
        self._target = target
        self._file: BinaryIO = temporary.open("xb")
        self._published = False

    @property
    def path(self) -> Path:
        """The temporary file, for a process that writes it itself; still to be published here."""
        return self._temporary

    def write(self, piece: bytes | memoryview) -> None:
        self._file.write(piece)

    def publish(self) -> None:
        """Sync and rename; the name then holds exactly what was written."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self._target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        os.replace(self._temporary, self._target)
        directory = os.open(self._target.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
        self._published = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._published:
            self._file.close()
            self._temporary.unlink(missing_ok=True)


def write_blob(store: BlobStore, name: str, data: bytes | memoryview) -> None:
    with store.writer(name) as writer:
        writer.write(data)
        writer.publish()
