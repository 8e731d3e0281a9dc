"""The bill of materials: what is installed beside one interpreter, as CycloneDX 1.6, and whether that is pinned.

cyclonedx-py writes it, the CycloneDX library holds it to its schema; an empty bill is refused.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

from privacy.errors import ConfigurationError

# Installed by `make install` at versions of its own: the installer itself, and the demo's data set.
NOT_PINNED = frozenset({"pip", "setuptools", "wheel", "moleculeace", "chorale"})


@dataclass(frozen=True)
class Component:
    """name: canonical (PEP 503). licences: as the package declares them, SPDX where it does."""

    name: str
    version: str
    licences: tuple[str, ...]

    @property
    def public_version(self) -> str:
        """Without the label of a local build, which no database knows."""
        return Version(self.version).public


def make_bill(python: Path, pyproject: Path, out: Path) -> dict[str, Any]:
    """Write the bill to `out`. Raises ConfigurationError where it cannot be made, is invalid or is empty."""
    out.parent.mkdir(parents=True, exist_ok=True)
    # --no-validate: the schema is checked below, where its absence cannot pass for success.
    command = [sys.executable, "-m", "cyclonedx_py", "environment", str(python), "--pyproject", str(pyproject)]
    command += ["--of", "JSON", "--sv", "1.6", "--output-reproducible", "--no-validate", "-o", str(out)]
    made = subprocess.run(command, capture_output=True, text=True)  # noqa: S603 - our own words
    if made.returncode != 0:
        raise _no_bill(made.stderr.strip()[-300:])
    text = out.read_text(encoding="utf-8")
    flaw = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    if flaw is not None:
        raise _no_bill(f"not of the CycloneDX schema: {str(flaw)[:300]}")
    bill: dict[str, Any] = json.loads(text)
    if not bill.get("components"):
        raise _no_bill("no component in it")
    return bill


def components(bill: dict[str, Any]) -> list[Component]:
    """By name."""
    found = [
        Component(canonicalize_name(one["name"]), one["version"], tuple(_declared(one.get("licenses", []))))
        for one in bill["components"]
    ]
    return sorted(found, key=lambda one: one.name)


def unpinned(found: Sequence[Component], constraints: str) -> list[str]:
    """What is installed and not what constraints.txt says."""
    lines = [line.split("#")[0].strip() for line in constraints.splitlines()]
    pins: dict[str, SpecifierSet] = {
        canonicalize_name(one.name): one.specifier for one in map(Requirement, filter(None, lines))
    }
    wrong = []
    for one in found:
        if one.name in NOT_PINNED:
            continue
        if one.name not in pins:
            wrong.append(f"{one.name} {one.version} is installed, and not in constraints.txt")
        elif one.public_version not in pins[one.name]:
            wrong.append(f"{one.name} {one.version} is installed, and constraints.txt has {pins[one.name]}")
    return wrong


def _declared(licences: list[dict[str, Any]]) -> list[str]:
    return [one["expression"] if "expression" in one else _named(one["license"]) for one in licences]


def _named(licence: dict[str, Any]) -> str:
    return str(licence.get("id") or licence.get("name") or "unnamed")


def _no_bill(came: str) -> ConfigurationError:
    return ConfigurationError("a CycloneDX bill of materials", came, "run `make install`, then `make audit` again")
