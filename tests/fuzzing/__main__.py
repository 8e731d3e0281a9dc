"""`make fuzz`: each parser of bytes from outside under coverage-guided mutation (Atheris), a process a target.

`python -m tests.fuzzing [TARGET...] [--seconds 60]`. Prints one closing line, "N targets, M findings", and ends
with 1 for M > 0. What was found lies in out/fuzz/findings, and is read again by `python -m tests.fuzzing TARGET
--again FILE`; what gets far is kept in out/fuzz/corpus. A read may take SECONDS_A_READ and MEBIBYTES, and no more.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import subprocess
import sys
from pathlib import Path

import atheris

PACKAGES = ["privacy", "client_sdk", "aggregator"]
ROOT = Path(__file__).parents[2]
OUT = Path("out/fuzz")
SECONDS_A_READ = 10
MEBIBYTES = 2048
MAX_BYTES = 400_000


def _compiled() -> list[str]:
    """Modules that numba compiles: it reads the byte code that Atheris would write into."""
    files = [file for package in PACKAGES for file in sorted(ROOT.glob(f"{package}/**/*.py"))]
    named = [".".join(file.relative_to(ROOT).with_suffix("").parts) for file in files if "njit" in file.read_text()]
    assert named
    return named


def fuzz(name: str, seconds: int) -> None:
    """Ends the process: 0 when the time is up, another status after a finding."""
    with atheris.instrument_imports(PACKAGES, _compiled(), enable_loader_override=False):
        from privacy.errors import ChoraleError
        from tests.fuzzing.mutation import mutated
        from tests.fuzzing.targets import TARGETS
    target = TARGETS[name]
    seeds = target.seeds()
    corpus = OUT / "corpus" / name
    corpus.mkdir(parents=True, exist_ok=True)
    (OUT / "findings").mkdir(exist_ok=True)
    for seed in seeds:
        (corpus / hashlib.sha256(seed).hexdigest()[:16]).write_bytes(seed)

    def read(raw: bytes) -> None:
        try:
            target.read(raw)
        except ChoraleError:
            return

    def mutator(raw: bytes, most: int, seed: int) -> bytes:
        chance = random.Random(seed)
        if chance.random() < 0.5:
            return bytes(atheris.Mutate(raw, most))
        return mutated(raw, seeds, chance)[:most]

    flags = {
        "max_total_time": seconds,
        "max_len": MAX_BYTES,
        "timeout": SECONDS_A_READ,
        "rss_limit_mb": MEBIBYTES,
        "detect_leaks": 0,
        "artifact_prefix": f"{OUT}/findings/{name}-",
    }
    arguments = [sys.argv[0], *(f"-{flag}={value}" for flag, value in flags.items()), str(corpus)]
    atheris.Setup(arguments, read, custom_mutator=mutator)
    atheris.Fuzz()


def again(name: str, file: Path) -> None:
    """Read one finding again, for its trace."""
    from tests.fuzzing.targets import TARGETS

    TARGETS[name].read(file.read_bytes())


def each(names: list[str], seconds: int) -> int:
    """The number of targets with a finding."""
    findings = 0
    for name in names:
        command = [sys.executable, "-m", "tests.fuzzing", name, "--seconds", str(seconds), "--here"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        runs = next((line for line in reversed(done.stderr.splitlines()) if line.startswith(("Done", "#"))), "")
        print(f"{name}: {runs or 'no run'}", flush=True)
        if done.returncode != 0 or not runs:
            findings += 1
            print(done.stdout[-4000:], done.stderr[-4000:], sep="\n", flush=True)
    return findings


def main() -> None:
    asked = argparse.ArgumentParser(prog="python -m tests.fuzzing")
    asked.add_argument("targets", nargs="*")
    asked.add_argument("--seconds", type=int, default=60)
    asked.add_argument("--again", type=Path)
    asked.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    chosen = asked.parse_args()
    if chosen.again is not None:
        again(chosen.targets[0], chosen.again)
        return
    if chosen.here:
        fuzz(chosen.targets[0], chosen.seconds)
        return
    names = chosen.targets
    if not names:
        from tests.fuzzing.targets import TARGETS

        names = sorted(TARGETS)
    findings = each(names, chosen.seconds)
    print(f"{len(names)} targets, {findings} findings")
    sys.exit(1 if findings else 0)


if __name__ == "__main__":
    main()
