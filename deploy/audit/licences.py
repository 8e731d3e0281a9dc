"""Whether what is installed may be used: each package's licence against the list in licences.toml.

Rules:
1. A package is allowed by its licence as an SPDX expression: each side of an AND, one side of an OR.
2. What a package says in words ("BSD License") names no licence. Either the same package says it as SPDX too, or
   licences.toml says which it is, for that package alone, read in the licence's text.
3. What is neither is red.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from license_expression import ExpressionError, LicenseWithExceptionSymbol, get_spdx_licensing

from deploy.audit.bill import Component
from privacy.errors import ConfigurationError

_SPDX = get_spdx_licensing()


@dataclass(frozen=True)
class LicenceList:
    """allowed: SPDX ids, with their exceptions. read: the SPDX expression of packages that give only words."""

    allowed: frozenset[str]
    read: Mapping[str, str]

    def judge(self, found: Sequence[Component]) -> list[str]:
        """What is wrong, a line a package."""
        return [line for one in found if (line := self._judge_one(one)) is not None]

    def _judge_one(self, one: Component) -> str | None:
        declared = (self.read[one.name],) if one.name in self.read else one.licences
        # Words beside an SPDX id say the same again, less exactly.
        exact = [text for text in declared if not text.startswith("License ::")]
        if not exact:
            return f"{one.name} {one.version} has no licence that names itself: {', '.join(declared) or 'none'}"
        for text in exact:
            try:
                expression = _SPDX.parse(text, validate=True)
            except ExpressionError:
                return f"{one.name} {one.version} is under {text!r}, which is no SPDX expression"
            if not self._allows(expression):
                return f"{one.name} {one.version} is under {text}, which is not on the list"
        return None

    def _allows(self, expression: object) -> bool:
        if isinstance(expression, _SPDX.AND):
            return all(self._allows(part) for part in expression.args)
        if isinstance(expression, _SPDX.OR):
            return any(self._allows(part) for part in expression.args)
        if isinstance(expression, LicenseWithExceptionSymbol):
            return expression.render("{symbol.key}") in self.allowed
        return str(expression) in self.allowed


def read_licences(path: Path) -> LicenceList:
    """Raises ConfigurationError for a list that allows nothing."""
    raw = tomllib.loads(path.read_text(encoding="utf-8"))
    if not raw.get("allowed"):
        raise ConfigurationError("licences that are allowed", f"none in {path.name}", "restore the list")
    return LicenceList(frozenset(raw["allowed"]), raw.get("read", {}))
