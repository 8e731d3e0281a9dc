"""npm packages that tests need, installed once, into pytest's cache; without them tests skip and say so.

Test processes share that cache: one installs while the others wait for it, since a package's folder is there long
before all that it needs.
"""

from __future__ import annotations

import fcntl
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
    asked, installed = (source / "package.json").read_text(), cache / "installed"
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not installed.exists() or installed.read_text() != asked:
            (cache / "package.json").write_text(asked)
            install = ["npm", "install", "--no-audit", "--no-fund", "--no-package-lock", "--silent"]
            done = subprocess.run(install, cwd=cache, capture_output=True, text=True, timeout=180)
            if done.returncode != 0:
                pytest.skip(f"npm's {package} is absent, and cannot be installed")
            installed.write_text(asked)
    return cache
