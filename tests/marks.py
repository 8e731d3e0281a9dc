"""Secrets that a test knows, and the places where one of them shows: in text, logs, databases, files.

A secret is looked for as it is and in the forms in which programs print bytes. Of a long one its two ends are
enough: `WINDOW` bytes that match by chance would be a wonder.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from privacy.randomness import RandomSource

WINDOW = 24
# Shorter draws are nonces, which travel, and jitter.
LEAST_SECRET_BYTES = 32


def forms(secret: bytes) -> Iterator[bytes]:
    """How these bytes may be printed. Base64 without its last group, which depends on what follows."""
    yield secret
    yield secret.hex().encode()
    yield secret.hex().upper().encode()
    yield repr(secret)[2:-1].encode()
    yield ", ".join(map(str, secret)).encode()
    yield str(int.from_bytes(secret, "big")).encode()
    for encode in (base64.b64encode, base64.urlsafe_b64encode, base64.b32encode):
        yield encode(secret).rstrip(b"=")[:-1]


@dataclass
class Marks:
    """Secrets by what they are."""

    known: dict[bytes, str] = field(default_factory=dict, repr=False)

    def add(self, kind: str, secret: bytes | str) -> None:
        raw = secret.encode() if isinstance(secret, str) else secret
        assert len(raw) >= 10, f"{kind}: too short to be told from chance"
        for part in {raw[:WINDOW], raw[-WINDOW:]}:
            for form in forms(part):
                self.known[form] = kind

    def found_in(self, *texts: bytes | str) -> set[str]:
        """The kinds of secrets that show in any of these."""
        whole = b"\n".join(text.encode("utf-8", "replace") if isinstance(text, str) else text for text in texts)
        return {kind for form, kind in self.known.items() if form in whole}

    def found_under(self, folder: Path, but: Iterable[str] = ()) -> set[str]:
        """In the files of a folder, but those of these names; each with the file's name."""
        return {
            f"{kind} in {path.relative_to(folder)}"
            for path in sorted(folder.rglob("*"))
            if path.is_file() and path.name not in but
            for kind in self.found_in(path.read_bytes())
        }


@dataclass(frozen=True)
class MarkingSource:
    """A RandomSource whose longer draws are all secrets."""

    inner: RandomSource
    marks: Marks

    def bytes(self, count: int) -> bytes:
        drawn = self.inner.bytes(count)
        if count >= LEAST_SECRET_BYTES:
            self.marks.add("a seed that was drawn", drawn)
        return drawn
