"""The project's own list of known flaws, advisories.toml, and what it says of those that a database reports.

Rules:
1. An advisory names package, versions, id, whether it concerns the project, and why or why not.
2. An installed version that an advisory which concerns us covers is red. One that does not concern us is accepted,
   and its reason is shown every time.
3. A flaw that a database reports is red unless the list says why it does not concern us.
4. The list stands in for a database only while it is fresh: FRESH_DAYS after its review it says nothing any more.
The list is what its authors knew: that nothing on it is installed is no proof that nothing is known.
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated

from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from deploy.audit.bill import Component
from privacy.errors import ConfigurationError

FRESH_DAYS = 180


@dataclass(frozen=True)
class Flaw:
    """As a database reports it; ids: its own first, then what others call it."""

    package: str
    version: str
    ids: tuple[str, ...]


class Advisory(BaseModel):
    """versions: a specifier (PEP 440). concerns: whether code of the project can be reached by it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    package: Annotated[str, Field(min_length=1)]
    versions: Annotated[str, Field(min_length=1)]
    id: Annotated[str, Field(pattern=r"^(CVE|GHSA|PYSEC)-[\w-]+$")]
    concerns: bool
    why: Annotated[str, Field(min_length=1)]

    def covers(self, package: str, version: str) -> bool:
        return package == canonicalize_name(self.package) and SpecifierSet(self.versions).contains(
            version, prereleases=True
        )


class AdvisoryList(BaseModel):
    """reviewed: the day on which somebody last looked whether it is whole."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    reviewed: date
    advisories: tuple[Advisory, ...]

    def judge(self, found: Sequence[Component]) -> tuple[list[str], list[str]]:
        """(wrong, accepted) of what is installed."""
        wrong: list[str] = []
        accepted: list[str] = []
        for one in found:
            for advisory in self.advisories:
                if advisory.covers(one.name, one.public_version):
                    line = f"{one.name} {one.version}: {advisory.id}: {advisory.why}"
                    (wrong if advisory.concerns else accepted).append(line)
        return wrong, accepted

    def answer_to(self, flaws: Sequence[Flaw]) -> tuple[list[str], list[str]]:
        """(wrong, accepted) of what a database reports."""
        wrong: list[str] = []
        accepted: list[str] = []
        for flaw in flaws:
            answers = [
                one for one in self.advisories if one.id in flaw.ids and one.covers(flaw.package, flaw.version)
            ]
            line = f"{flaw.package} {flaw.version}: {flaw.ids[0]}"
            if answers and not any(one.concerns for one in answers):
                accepted.append(f"{line}: {answers[0].why}")
            else:
                wrong.append(f"{line}: advisories.toml does not say why it does not concern us")
        return wrong, accepted

    def require_fresh(self, now: float) -> None:
        """Raises ConfigurationError for a list that cannot stand in for a database (rule 4)."""
        age = (datetime.fromtimestamp(now, UTC).date() - self.reviewed).days
        if not self.advisories or not 0 <= age <= FRESH_DAYS:
            raise ConfigurationError(
                f"a database that answers, or a list of advisories reviewed within {FRESH_DAYS} days",
                f"no database, and {len(self.advisories)} advisories reviewed {age} days ago",
                "reach a database, or review deploy/audit/advisories.toml",
            )


def read_advisories(path: Path) -> AdvisoryList:
    """Raises ConfigurationError."""
    try:
        return AdvisoryList.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except ValidationError as error:
        raise ConfigurationError(f"advisories in {path.name}", str(error)[:300], "correct the list") from None
