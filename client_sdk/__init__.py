"""The partner's side. `from client_sdk import Consortium` loads torch; importing the package alone does not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from client_sdk.session import Consortium as Consortium

__all__ = ["Consortium"]


def __getattr__(name: str) -> Any:
    if name == "Consortium":
        from client_sdk.session import Consortium

        return Consortium
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
