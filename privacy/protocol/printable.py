"""Texts of others that people read beside hashes and words that they compare.

A line break, an escape sequence or an invisible character in a name could draw other words on the very screen on
which a person compares them. Rules:
1. A name or description in a message is printable, in Unicode's normal form C, without space at its ends.
2. Whatever else came from outside passes `visible` before it is shown on a terminal.
Look-alikes of other scripts are not judged: ids are ASCII, and stand beside names.
"""

from __future__ import annotations

import unicodedata
from typing import Final

from pydantic import AfterValidator

_INVISIBLE: Final = "\ufffd"


def require_printable(text: str) -> str:
    """Raises ValueError by rule 1."""
    if not text.isprintable() or text != text.strip() or not unicodedata.is_normalized("NFC", text):
        raise ValueError("printable characters in Unicode's normal form C, without space at the ends")
    return text


Printable = AfterValidator(require_printable)


def visible(text: str) -> str:
    """Every character that would not be seen, or would move others, as U+FFFD."""
    return "".join(one if one.isprintable() else _INVISIBLE for one in text)
