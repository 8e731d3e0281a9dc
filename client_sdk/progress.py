"""How the agent tells whoever watches what it is waiting for, and how far a transfer is.

The command line draws bars from it; a library user may pass nothing. No private number goes through here.
"""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    def phase(self, name: str, detail: str = "") -> None:
        """A phase of the round begins: join, train, upload, seal, open, decode, apply, confirm."""
        ...

    def transfer(self, name: str, done: int, total: int) -> None:
        """`done` of `total` bytes of a named transfer have gone through."""
        ...

    def notice(self, text: str) -> None:
        """Something a person should read: a retry, an alarm, a refusal."""
        ...


class Silent:
    """Nobody watches."""

    def phase(self, name: str, detail: str = "") -> None:
        del name, detail

    def transfer(self, name: str, done: int, total: int) -> None:
        del name, done, total

    def notice(self, text: str) -> None:
        del text
