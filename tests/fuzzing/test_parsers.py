"""Each parser of bytes from outside: what it is given is taken, or refused by an error of ours, in bounded memory.

`make fuzz` goes further, guided by coverage; a short run of it is here.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from privacy.errors import ChoraleError
from tests.fuzzing.mutation import mutated
from tests.fuzzing.targets import TARGETS, Target

pytestmark = pytest.mark.full

EXAMPLES = 100
# A read may hold this much, whatever it is given; accounting of a charter's table takes most of it.
MEBIBYTES = 256
KNOWN_REFUSED = {"report-signatures", "shards"}
"""Targets that cannot take anything whole: a signature of real keys, the digest of a shard."""


def _read(target: Target, raw: bytes) -> None:
    try:
        target.read(raw)
    except ChoraleError:
        return


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_real_bytes_are_taken(name: str) -> None:
    """Or a target would be fuzzed no deeper than its first check."""
    taken = 0
    for seed in TARGETS[name].seeds():
        try:
            TARGETS[name].read(seed)
            taken += 1
        except ChoraleError:
            continue
    assert (taken > 0) == (name not in KNOWN_REFUSED)


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_altered_bytes_are_taken_or_refused_as_ours(name: str) -> None:
    target = TARGETS[name]
    seeds = target.seeds()
    for seed in seeds:
        _read(target, seed)  # what is cached and compiled is, before memory is counted

    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.integers(0, 1 << 32) | st.binary(max_size=300))
    def holds(drawn: int | bytes) -> None:
        if isinstance(drawn, int):
            chance = random.Random(drawn)
            drawn = mutated(chance.choice(seeds), seeds, chance)
        _read(target, drawn)

    tracemalloc.start()
    try:
        holds()
        assert tracemalloc.get_traced_memory()[1] < MEBIBYTES << 20
    finally:
        tracemalloc.stop()


def test_a_planted_flaw_is_found() -> None:
    """A reader that trusts a member to be there, and one that trusts a length: a few hundred changes find both."""

    def trusting(raw: bytes) -> object:
        try:
            return json.loads(raw)["body"]["type"]
        except (ValueError, RecursionError):
            return None

    def short(raw: bytes) -> object:
        return raw[int.from_bytes(raw[:4], "little")]

    chance = random.Random(1)
    for reader, seed in ((trusting, b'{"body":{"type":"x"}}'), (short, bytes(40))):
        found = 0
        for _ in range(400):
            try:
                reader(mutated(seed, [seed], chance))
            except (KeyError, TypeError, IndexError):
                found += 1
        assert found > 10


def test_a_short_run_guided_by_coverage(tmp_path: Path) -> None:
    pytest.importorskip("atheris", reason="atheris is not installed")
    names = ["canonical", "entries", "answers"]
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzzing", *names, "--seconds", "3"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert done.stdout.splitlines()[-1] == f"{len(names)} targets, 0 findings"
