"""npm packages that tests need, installed once, into pytest's cache; without them tests skip and say so."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest


def installed(cache: Path, source: Path, package: str, *programs: str) -> Path:
    """`cache` with `source`/package.json and what it asks for; programs: what of node is run afterwards.

    Skips the test without npm, or where `package` is not there and cannot be fetched.
    """
    for program in ("npm", *programs):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is absent")
    shutil.copy(source / "package.json", cache / "package.json")
    if not (cache / "node_modules" / package).is_dir():
        install = ["npm", "install", "--no-audit", "--no-fund", "--no-package-lock", "--silent"]
        done = subprocess.run(install, cwd=cache, capture_output=True, text=True, timeout=180)
        if done.returncode != 0:
            pytest.skip(f"npm's {package} is absent, and cannot be installed")
    return cache
