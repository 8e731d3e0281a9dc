"""Boxes by the name of who sealed them: all in one request, or one by one where one of them is not to be had.

A round of n partners has 2 n boxes for each; asked for singly they would be most of its requests. A box that is
missing fails the request for all, so each is then asked for alone, and the one that is missing is known by name.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from privacy.errors import DigestMismatch, NotFound, TooLarge
from privacy.he.boxes import SHARE_BOX_BYTES

FetchBoxes = Callable[[Sequence[str]], dict[str, bytes]]


class BoxFetch:
    """`fetch(names)` brings boxes by name; called with a name it gives that box or raises as its fetch did."""

    def __init__(self, fetch: FetchBoxes, names: Sequence[str]) -> None:
        self._fetch = fetch
        self._names = names
        self._held: dict[str, bytes] | None = None

    def __call__(self, name: str) -> bytes:
        if self._held is None:
            try:
                self._held = self._fetch(self._names)
            except (NotFound, TooLarge, DigestMismatch):
                self._held = {}
        return self._held[name] if name in self._held else self._fetch([name])[name]


def split_boxes(raw: bytes, names: Sequence[str]) -> dict[str, bytes]:
    """Boxes of one width, in the order they were asked for. Raises DigestMismatch for another length."""
    if len(raw) != SHARE_BOX_BYTES * len(names):
        raise DigestMismatch(
            f"{len(names)} boxes of {SHARE_BOX_BYTES} bytes", f"{len(raw)} bytes", "ask for each box by itself"
        )
    return {name: raw[index * SHARE_BOX_BYTES : (index + 1) * SHARE_BOX_BYTES] for index, name in enumerate(names)}
