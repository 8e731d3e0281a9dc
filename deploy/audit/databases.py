"""Databases of known flaws, asked through pip-audit, and whether their silence may be believed.

Rules:
1. pip-audit's exit status is not looked at: it is 0 as well where a package was skipped, and "no known
   vulnerabilities" is what it says of a database that knows no package. What counts is which packages it lists as
   looked up.
2. A database is believed once it has reported the flaw of CANARY, an old release that has one: a mirror that serves
   package pages without the flaws would otherwise clear everything.
3. The first one that is believed answers; those before it are named with the reason why not.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy.audit.advisories import Flaw
from deploy.audit.bill import Component

CANARY = ("jinja2", "2.10")
CANARY_FLAW = "CVE-2019-10906"


@dataclass(frozen=True)
class Database:
    """arguments: how pip-audit is told to ask it."""

    name: str
    arguments: tuple[str, ...]


@dataclass(frozen=True)
class Answer:
    """known: packages that the database looked up."""

    database: str
    known: frozenset[str]
    flaws: tuple[Flaw, ...]


DATABASES = (Database("OSV", ("-s", "osv")), Database("PyPI", ("-s", "pypi")))


def first_answer(
    databases: Sequence[Database], found: Sequence[Component]
) -> tuple[Answer | None, list[tuple[str, str]]]:
    """The first database's answer that may be believed, and those that gave none, with the reason."""
    silent: list[tuple[str, str]] = []
    for database in databases:
        try:
            canary = _ask(database, [CANARY])
            if not any(CANARY_FLAW in flaw.ids for flaw in canary.flaws):
                raise LookupError(f"it does not know the flaw of {' '.join(CANARY)}, so its silence says nothing")
            answer = _ask(database, [(one.name, one.public_version) for one in found])
        except LookupError as error:
            silent.append((database.name, str(error)))
            continue
        return answer, silent
    return None, silent


def _ask(database: Database, pins: Sequence[tuple[str, str]]) -> Answer:
    """Raises LookupError where pip-audit reports nothing that can be read."""
    with tempfile.TemporaryDirectory() as folder:
        wanted = Path(folder) / "installed.txt"
        wanted.write_text("".join(f"{name}=={version}\n" for name, version in pins), encoding="utf-8")
        command = [sys.executable, "-m", "pip_audit", "--format", "json", "--progress-spinner", "off", "--no-deps"]
        command += [
            "--disable-pip",
            "--aliases",
            "on",
            "--cache-dir",
            folder,
            "-r",
            str(wanted),
            *database.arguments,
        ]
        done = subprocess.run(command, capture_output=True, text=True)  # noqa: S603 - our own words
    try:
        listed: list[dict[str, Any]] = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        raise LookupError(_last_line(done.stderr)) from None
    looked_up = [one for one in listed if "vulns" in one]
    flaws = tuple(
        Flaw(one["name"], one["version"], (flaw["id"], *flaw.get("aliases", ())))
        for one in looked_up
        for flaw in one["vulns"]
    )
    return Answer(database.name, frozenset(one["name"] for one in looked_up), flaws)


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:200] if lines else "no answer"
