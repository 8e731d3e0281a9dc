"""What the demo reported in its summary, against what its files say.

Rules:
1. Partners, rounds, parameters, delta, both epsilons and that the models agree are recomputed, and must be equal.
2. Scores, bytes and seconds were measured while it ran: no file proves them, and the check says so.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from deploy.demo.check_budgets import TOLERANCE, Spent
from deploy.demo.check_files import ConsortiumFiles
from deploy.demo.check_messages import Constitution, VerifiedAttempt
from privacy.dp.events import Guarantee
from privacy.errors import DigestMismatch, NotFound

_REMEDY = "raise the alarm, and keep the files"


def check_journals(files: ConsortiumFiles, attempts: Sequence[VerifiedAttempt]) -> int:
    """Every partner's own journal names the state that was confirmed, for each confirmed attempt of its cohorts."""
    held = 0
    for partner in files.partners():
        states = files.own_states(partner)
        for attempt in attempts:
            state = states.get(attempt.plan.digest)
            if state != attempt.state:
                raise DigestMismatch(
                    f"state {attempt.state[:16]} after round {attempt.plan.round} in the journal of {partner}",
                    "none" if state is None else state[:16],
                    _REMEDY,
                )
            held += 1
    return held


def check_summary(
    path: Path, constitution: Constitution, attempts: Sequence[VerifiedAttempt], spent: Mapping[str, Spent]
) -> int:
    """Rule 1; how many figures were compared. Raises DigestMismatch, and NotFound without a summary."""
    if not path.is_file():
        raise NotFound(f"a summary at {path}", "none", "run `make demo` to its end first")
    told = json.loads(path.read_text(encoding="utf-8"))
    found = {
        "partners": constitution.charter.n_max,
        "rounds": len(attempts),
        "parameters": constitution.campaign.length,
        "delta": max(entry.caps.delta for entry in constitution.charter.roster),
        "epsilon_in_sum": max(each[Guarantee.IN_SUM] for each in spent.values()),
        "epsilon_alone": max(each[Guarantee.ALONE] for each in spent.values()),
        "model_hashes_agree": True,
    }
    for name, value in found.items():
        if name not in told or not math.isclose(told[name], value, rel_tol=0, abs_tol=TOLERANCE):
            raise DigestMismatch(f"{name} to be {value} in {path.name}", f"{told.get(name)}", _REMEDY)
    return len(found)
