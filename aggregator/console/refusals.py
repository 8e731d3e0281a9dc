"""What a person reads when the service says no, and a form that comes back with what was typed.

Rules:
1. An error's own words are for whoever runs the service, in English. A page says first, in its language, what they
   come to: by the error's code, and for the officers' forms by what was wrong in them.
2. A form that is refused comes back filled in, with the error's status. Passwords and codes are never among it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from aggregator.rounds.oversight import checked_reason
from privacy.errors import ChoraleError, MalformedMessage

OTHERWISE: Final = "error"
SAID: Final = frozenset(
    {
        "accounting-failed",
        "budget-exhausted",
        "configuration",
        "conflict",
        "ledger-broken",
        "malformed-message",
        "not-allowed",
        "service-unavailable",
        "storage-full",
        "too-large",
        "too-many-attempts",
        "too-many-requests",
        "unsafe-parameters",
        "wrong-state",
    }
)
"""Codes with words of their own; the others are OTHERWISE."""

_OF_FORMS: Final[Mapping[tuple[str, str], str]] = {
    ("tighten", "malformed-message"): "number",
    ("tighten", "unsafe-parameters"): "looser",
    ("tighten", "budget-exhausted"): "below_taken",
    ("reports", "configuration"): "days",
}


def words_of(error: ChoraleError) -> str:
    """The message id's last part: `refusal.` stands before it."""
    return error.code.replace("-", "_") if error.code in SAID else OTHERWISE


@dataclass(frozen=True)
class Refused:
    """form: which of the page's. words: as `words_of`. typed: what goes back into the fields."""

    form: str
    words: str
    typed: Mapping[str, str]

    def of(self, form: str, field: str, otherwise: str = "") -> str:
        """What was typed into a field of this form."""
        return self.typed.get(field, otherwise) if form == self.form else otherwise


def refused(form: str, error: ChoraleError, typed: Mapping[str, str]) -> Refused:
    words = _OF_FORMS.get((form, error.code), words_of(error))
    if isinstance(error, MalformedMessage) and not _is_reason(typed.get("reason", "")):
        words = "reason"
    return Refused(form, words, kept(typed))


def kept(typed: Mapping[str, str]) -> dict[str, str]:
    """What may stand in a field again: control characters, which no field of ours takes, are no one's typing."""
    return {name: text for name, text in typed.items() if text.isprintable()}


def _is_reason(text: str) -> bool:
    try:
        checked_reason(text)
    except MalformedMessage:
        return False
    return True
