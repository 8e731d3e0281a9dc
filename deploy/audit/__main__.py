"""`python -m deploy.audit` (`make audit`): what is installed, under which licences, with which known flaws.

Rules:
1. One document is checked, the bill of materials that it writes to out/sbom.cdx.json: what is not in it was not
   checked.
2. Whatever could not be checked is red: no bill, no licence, and no database where the project's own list cannot
   stand in for one (advisories.py).
3. What answered, and for how many packages, is said in so many words, for "no vulnerabilities" alone says neither.
It installs and corrects nothing.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from deploy.audit.advisories import AdvisoryList, read_advisories
from deploy.audit.bill import Component, components, make_bill, unpinned
from deploy.audit.databases import DATABASES, Answer, Database, first_answer
from deploy.audit.licences import read_licences
from privacy.clock import Clock, SystemClock
from privacy.errors import ChoraleError

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


def known_flaws(
    found: Sequence[Component], databases: Sequence[Database], kept: AdvisoryList, clock: Clock
) -> tuple[list[str], list[str]]:
    """(what to say, what is wrong), of the known flaws of these components.

    Raises ConfigurationError where nothing could be checked: no database answered, and the list is empty or stale.
    """
    answer, silent = first_answer(databases, found)
    said = [f"{name} did not answer: {why}" for name, why in silent]
    wrong, accepted = kept.judge(found)
    if answer is None:
        kept.require_fresh(clock.now())
        said.append(
            f"no database answered: {len(found)} packages were held against the project's own list, "
            f"{len(kept.advisories)} advisories as of {kept.reviewed}, and against nothing else"
        )
    else:
        said.append(_says(answer, found))
        more_wrong, more_accepted = kept.answer_to(answer.flaws)
        wrong, accepted = wrong + more_wrong, accepted + more_accepted
    return said + [f"accepted: {line}" for line in dict.fromkeys(accepted)], list(dict.fromkeys(wrong))


def _says(answer: Answer, found: Sequence[Component]) -> str:
    unknown = [one.name for one in found if one.name not in answer.known]
    rest = f"; it does not know {', '.join(unknown)}" if unknown else ""
    return f"{answer.database} answered for {len(answer.known)} of {len(found)} packages{rest}"


def audit(python: Path, out: Path, databases: Sequence[Database], clock: Clock) -> int:
    """Audit the environment of this interpreter; gives the exit status."""
    try:
        found = components(make_bill(python, ROOT / "pyproject.toml", out))
        print(f"{out}: CycloneDX, valid, {len(found)} packages")
        wrong = unpinned(found, (ROOT / "constraints.txt").read_text(encoding="utf-8"))
        licences = read_licences(HERE / "licences.toml")
        wrong += licences.judge(found)
        print(f"licences: {len(found)} packages held against {len(licences.allowed)} allowed ones")
        said, flaws = known_flaws(found, databases, read_advisories(HERE / "advisories.toml"), clock)
    except ChoraleError as error:
        print(f"FAIL nothing was checked: {error}")
        return 1
    for line in said:
        print(f"flaws: {line}")
    for line in wrong + flaws:
        print(f"FAIL {line}")
    print(f"audit: {len(found)} packages, {len(wrong + flaws)} failures")
    return 1 if wrong + flaws else 0


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m deploy.audit")
    parser.add_argument("--python", type=Path, default=Path(sys.executable), help="whose packages are audited")
    parser.add_argument("--out", type=Path, default=Path("out/sbom.cdx.json"))
    chosen = parser.parse_args()
    sys.exit(audit(chosen.python, chosen.out, DATABASES, SystemClock()))


if __name__ == "__main__":
    main()
