"""Words of the report and the console, by language: the one home of every sentence that an officer reads.

Rules:
1. A catalogue is `catalogues/<language>.json`: message id -> text, placeholders in {braces}.
2. All catalogues have the same ids and placeholders (a test holds them to it). An id that is missing raises: no
   page shows an id, or falls back to another language, unseen.
3. Texts are plain: whoever puts one into a page escapes it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Final

from privacy.errors import ConfigurationError

LANGUAGES: Final = ("en", "ko")
DEFAULT_LANGUAGE: Final = "en"


@dataclass(frozen=True)
class Catalogue:
    """One language's messages."""

    language: str
    messages: dict[str, str]

    def __call__(self, message: str, **values: object) -> str:
        """The text of a message id with its placeholders filled in. Raises KeyError on an unknown id."""
        return self.messages[message].format(**values)


@lru_cache(maxsize=len(LANGUAGES))
def catalogue(language: str) -> Catalogue:
    """The catalogue of a language. Raises ConfigurationError unless it is one of LANGUAGES."""
    if language not in LANGUAGES:
        raise ConfigurationError(f"a language of {', '.join(LANGUAGES)}", repr(language), "choose one of these")
    text = files("privacy.report").joinpath("catalogues", f"{language}.json").read_text("utf-8")
    return Catalogue(language, json.loads(text))
