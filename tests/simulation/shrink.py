"""From a seed that fails to the few faults that matter: delta debugging over the faults that happened.

After Zeller and Hildebrandt, "Simplifying and isolating failure-inducing input" (IEEE TSE 28, 2002): ever smaller
parts are left out, as long as what remains still breaks the same promise.
"""

from __future__ import annotations

from tests.simulation.run import Result, run

TRIES = 60


def shrink(result: Result, tries: int = TRIES) -> Result:
    """The smallest run found that breaks the same promise; at most `tries` runs are made."""
    promise = _promise(result)
    faults = list(result.faults)
    parts = 2
    best = result
    while faults and tries > 0:
        size = -(-len(faults) // parts)
        for start in range(0, len(faults), size):
            kept = faults[:start] + faults[start + size :]
            tries -= 1
            tried = run(result.seed, only=kept)
            if _promise(tried) == promise:
                best, faults, parts = tried, kept, max(2, parts - 1)
                break
            if tries == 0:
                break
        else:
            if size == 1:
                break
            parts = min(2 * parts, len(faults))
    return best


def _promise(result: Result) -> str | None:
    return None if result.broken is None else result.broken.split(":")[0]


def explained(result: Result) -> str:
    """What a person needs: the seed, what broke, the faults that are left, and how to see it again."""
    faults = "\n".join(f"    {fault}" for fault in result.faults)
    last = "\n".join(f"    {line}" for line in result.lines[-25:])
    return (
        f"seed {result.seed}: {result.broken}\n"
        f"  {len(result.faults)} faults suffice:\n{faults}\n  its end:\n{last}\n"
        f"  again: python -m tests.simulation --seeds 1 --first {result.seed} --verbose"
    )
