"""Paths that a person typed: what cannot be read or written there is refused plainly, on either side.

A folder that is not there is made for what is written; nothing is ever written in place of a folder.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from privacy.errors import ConfigurationError


def beside(path: Path, suffix: str) -> Path:
    """The file named as `path` with `suffix` behind it. Raises ConfigurationError where `path` has no name."""
    if not path.name:
        raise ConfigurationError("the name of a file", f"a folder: {path}", "name a file in it")
    return path.with_name(path.name + suffix)


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Around reading the file at `path`. Raises ConfigurationError."""
    try:
        yield
    except OSError as error:
        raise ConfigurationError(
            f"a file at {error.filename or path}", error.strerror or str(error), "check its name"
        ) from None


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Around writing the file at `path`, whose folder is made. Raises ConfigurationError."""
    if not path.name or path.is_dir():
        raise ConfigurationError("the name of a file to write", f"a folder: {path}", "name a file in it")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise ConfigurationError(
            f"a file that can be written at {path}", error.strerror or str(error), "choose another place"
        ) from None
