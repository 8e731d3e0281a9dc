"""Words of the report and the console, by language: the one home of every sentence that an officer reads.

Rules:
1. A domain is a set of messages: `catalogues/<language>/<domain>.po` (message id -> text, placeholders in
   {braces}), beside it the `.mo` that is read here; `make catalogues` compiles. A test holds them to each other.
2. In every language a domain has the same ids and placeholders (a test holds them to it). An id that is missing
   raises: no page shows an id, or falls back to another language, unseen.
3. No id stands in two domains.
4. Texts are plain: whoever puts one into a page escapes it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from gettext import GNUTranslations
from importlib.resources import files
from typing import Final

from privacy.errors import ConfigurationError

LANGUAGES: Final = ("en", "ko")
DEFAULT_LANGUAGE: Final = "en"


@dataclass(frozen=True)
class Domain:
    """Where a set of messages lies: `catalogues/` in this package, files of this name."""

    package: str
    name: str


REPORT: Final = Domain("privacy.report", "report")
HAPPENED: Final = Domain("privacy.report", "happened")
"""Ledger entries, officers' actions and alarms."""

PRINT: Final = Domain("privacy.report", "print")
"""What the printed report alone says."""


@dataclass(frozen=True)
class Catalogue:
    """One language's messages, of one domain or several."""

    language: str
    translations: GNUTranslations

    def __call__(self, message: str, **values: object) -> str:
        """The text of a message id with its placeholders filled in. Raises KeyError on an unknown id."""
        text = self.translations.gettext(message)
        if text == message or not message:  # the empty id is the file's header
            raise KeyError(message)
        return text.format(**values)


@lru_cache(maxsize=32)
def catalogue(language: str, *more: Domain) -> Catalogue:
    """The messages of REPORT and HAPPENED in a language, and those of `more` domains.

    Raises ConfigurationError unless the language is one of LANGUAGES.
    """
    if language not in LANGUAGES:
        raise ConfigurationError(f"a language of {', '.join(LANGUAGES)}", repr(language), "choose one of these")
    translations = _read(REPORT, language)
    for domain in (HAPPENED, *more):
        translations.add_fallback(_read(domain, language))
    return Catalogue(language, translations)


def _read(domain: Domain, language: str) -> GNUTranslations:
    compiled = files(domain.package).joinpath("catalogues", language, f"{domain.name}.mo")
    with compiled.open("rb") as file:
        return GNUTranslations(file)
