"""python -m tests.simulation --seeds N --first F: runs seeds; prints each failure, and a closing line."""

from __future__ import annotations

import argparse
import sys
import time

from tests.simulation.run import Result, run
from tests.simulation.shrink import explained, shrink


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--verbose", action="store_true", help="print what happened in each seed")
    chosen = parser.parse_args()
    failures = 0
    for seed in range(chosen.first, chosen.first + chosen.seeds):
        began = time.monotonic()
        result = run(seed)
        if chosen.verbose:
            show(result, time.monotonic() - began)
        if result.broken is not None:
            failures += 1
            print(explained(shrink(result)), flush=True)
    print(f"{chosen.seeds} seeds, {failures} failures")
    return 1 if failures else 0


def show(result: Result, seconds: float) -> None:
    print("\n".join(result.lines))
    print(f"faults: {', '.join(result.faults)}")
    print(
        f"seed {result.seed}: {result.shape}, {result.steps} steps, {result.sums} sums,"
        f" {len(result.faults)} faults, {seconds:.1f} s",
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main())
