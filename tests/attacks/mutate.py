"""Disables each numbered check of the protocol in turn, in a copy of the tree: does an attack get through then?

    python -m tests.attacks.mutate            # all; some minutes
    python -m tests.attacks.mutate --quick    # the quick ones
    python -m tests.attacks.mutate --only 4.4 # those whose name begins so

Prints a table; exits 1 where a mutant survives (its tests stay green), where its tests are red without it, or where
the code has changed so that a mutant no longer fits.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.attacks.mutants import MUTANTS, Mutant

ROOT = Path(__file__).resolve().parents[2]
_KEPT = ("aggregator", "client_sdk", "deploy", "privacy", "tests", "docs", "pyproject.toml", "README.md")
_PATIENCE = 300
_PATIENCE_WITH_ALL = 3600


def copied(target: Path) -> None:
    ignored = shutil.ignore_patterns("__pycache__", "node_modules", "*.pyc")
    for name in _KEPT:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, target / name, ignore=ignored)
        else:
            shutil.copy2(source, target / name)


def run(tree: Path, tests: Sequence[str], patience: float = _PATIENCE) -> int:
    """pytest's exit status in that tree; its own modules are imported, whatever is installed."""
    environment = {**os.environ, "PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-p", "no:xdist", *tests]
    try:
        done = subprocess.run(
            command, cwd=tree, env=environment, capture_output=True, timeout=patience, check=False
        )
    except subprocess.TimeoutExpired:
        return 1  # an attack under which a round does not end is no green test
    return done.returncode


def tried(tree: Path, mutant: Mutant) -> str:
    """`killed`, or what is wrong."""
    path = tree / mutant.file
    honest = path.read_text(encoding="utf-8")
    if honest.count(mutant.old) != 1:
        return f"does not fit: {mutant.file} has its text {honest.count(mutant.old)} times"
    path.write_text(honest.replace(mutant.old, mutant.new), encoding="utf-8")
    try:
        status = run(tree, mutant.tests)
    finally:
        path.write_text(honest, encoding="utf-8")
    if status == 1:
        return "killed"
    return "SURVIVED" if status == 0 else f"its tests did not run (pytest's status {status})"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="only the mutants marked quick")
    parser.add_argument("--only", default="", help="only mutants whose name begins so")
    chosen = parser.parse_args(arguments)
    mutants = [
        mutant for mutant in MUTANTS if mutant.check.startswith(chosen.only) and (mutant.quick or not chosen.quick)
    ]
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder)
        copied(tree)
        needed = sorted({test for mutant in mutants for test in mutant.tests})
        if not mutants or run(tree, needed, _PATIENCE_WITH_ALL) != 0:
            print("the tests are not green without any mutant: nothing can be said")
            return 1
        failures = 0
        for mutant in mutants:
            said = tried(tree, mutant)
            failures += said != "killed"
            names = ", ".join(test.rpartition("/")[2] for test in mutant.tests)
            print(f"{mutant.check:<38} {said:<8} {names}", flush=True)
    print(f"{len(mutants)} mutants, {failures} not killed")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
