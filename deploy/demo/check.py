"""`python -m deploy.demo.check out/demo`: recompute a finished demo from its files alone, as an auditor would.

Signatures, ledger chains, epsilons, model hashes, and the last round's sum from its uploads. S and the states
before and after that round are one partner's exports, since the service cannot have them; the output says so.
The consortium's processes must have been stopped: nothing is asked of them. Exits 1 where anything fails.

A step that needs what a failed step would have given is not taken, and that is said as well.
"""

from __future__ import annotations

import argparse
import sqlite3
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from client_sdk.model_state import ModelState
from deploy.demo.check_budgets import (
    Charges,
    Spent,
    check_agreement,
    check_epsilons,
    check_own_chains,
    check_service_chain,
)
from deploy.demo.check_files import ConsortiumFiles
from deploy.demo.check_messages import AttemptCheck, Constitution, VerifiedAttempt, check_constitution
from deploy.demo.check_sum import Added, check_added, check_opened, check_state_after, check_state_before
from deploy.demo.check_summary import check_journals, check_summary
from privacy.dp.events import Guarantee
from privacy.errors import ChoraleError
from privacy.he.lanes import LaneLayout
from privacy.ledger.chain import ChainVerifier
from privacy.protocol.signing import Verifier

EXPORTER: Final = "aster"
Found = TypeVar("Found")


class StepFailed(Exception):
    """A step failed and was reported; what depends on it is not taken."""


class Report:
    """Prints a line a step. `failed`: how many did."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self.failed = 0

    def step(self, what: str, take: Callable[[], tuple[Found, str]]) -> Found:
        """Take one step: `take` gives what it found, and a few words on it. Raises StepFailed."""
        start = time.monotonic()
        try:
            found, words = take()
        except (ChoraleError, sqlite3.DatabaseError, OSError, ValueError, KeyError) as error:
            self.failed += 1
            where: list[str] = getattr(error, "__notes__", [])
            self._console.print(f"[bold red]FAIL[/] {what}: ", end="")
            self._console.print(
                " ".join((f"{type(error).__name__}: {error}", *where)), markup=False, highlight=False
            )
            raise StepFailed(what) from error
        seconds = time.monotonic() - start
        self._console.print(f"[green]pass[/] {what}: {words} [dim]({seconds:.1f} s)[/]", highlight=False)
        return found

    def part(self, what: str, take: Callable[[], None]) -> None:
        """A row of steps, of which the first failure ends the row."""
        try:
            take()
        except StepFailed as failed:
            self._console.print(f"     the rest of {what} was not checked, for want of: {failed}", highlight=False)


class Check:
    """The whole check of one demo folder."""

    def __init__(self, out: Path, report: Report) -> None:
        self._files = ConsortiumFiles(out / "consortium")
        self._results = out / "results.json"
        self._summary = out / "summary.json"
        self._report = report
        self._verifier = Verifier()

    def run(self) -> None:
        self._report.part("the check", self._messages)

    def _messages(self) -> None:
        constitution = self._report.step("charter, acceptances and campaign", self._constitution)
        attempts = self._report.step("every message of every attempt", lambda: self._attempts(constitution))
        self._report.part("budgets", lambda: self._budgets(constitution, attempts))
        self._report.step("the partners' models", lambda: self._models(attempts))
        self._report.part("the last round", lambda: self._last_round(constitution, attempts[-1]))

    def _constitution(self) -> tuple[Constitution, str]:
        found = check_constitution(self._files, self._verifier)
        words = (
            f"charter {found.charter.digest[:16]} signed by the operator, accepted by all {found.charter.n_max}"
            f" partners and pinned by each; campaign {found.campaign.digest[:16]} signed by operator and lead"
        )
        return found, words

    def _attempts(self, constitution: Constitution) -> tuple[list[VerifiedAttempt], str]:
        check = AttemptCheck(self._files, constitution, self._verifier)
        attempts = check.run()
        words = (
            f"{check.messages} signed messages of {len(attempts)} confirmed attempts"
            f" ({check.ended_otherwise} ended otherwise); each starts from the state confirmed before it, and at"
            f" least {min(attempt.votes for attempt in attempts)} members confirmed the same hash"
        )
        return attempts, words

    def _models(self, attempts: list[VerifiedAttempt]) -> tuple[None, str]:
        held = check_journals(self._files, attempts)
        return None, f"{held} states in the partners' journals, each the one that its round confirmed"

    def _budgets(self, constitution: Constitution, attempts: list[VerifiedAttempt]) -> None:
        charter, files, step = constitution.charter, self._files, self._report.step

        def service() -> tuple[ChainVerifier, str]:
            chain, countersigned = check_service_chain(files, charter, attempts)
            words = f"{chain.head.count} entries, head {chain.head.head[:16]}, countersigned up to {countersigned}"
            return chain, words

        def own() -> tuple[dict[str, Charges], str]:
            found = check_own_chains(files, charter, attempts)
            return found, f"{len(found)} chains; the heads that their owners' joins were signed with lie on them"

        def agreement() -> tuple[None, str]:
            charges = check_agreement(chain, charged, attempts)
            return None, f"{charges} charges, the same on both sides"

        def epsilons() -> tuple[dict[str, Spent], str]:
            spent, compared = check_epsilons(charter, charged, self._results)
            told = "; ".join(
                f"{name} {each[Guarantee.IN_SUM]:.4f} in the sum and {each[Guarantee.ALONE]:.4f} alone"
                for name, each in spent.items()
            )
            beside = f"equal to {self._results}" if compared else f"there is no {self._results} to compare with"
            return spent, f"{told}; each within its caps; {beside}"

        def summary() -> tuple[None, str]:
            compared = check_summary(self._summary, constitution, attempts, spent)
            return None, f"{compared} figures of {self._summary}; scores, bytes and seconds are no file's to prove"

        chain = step("the service's ledger chain", service)
        charged = step("the partners' own chains", own)
        step("both sides' charges", agreement)
        spent = step("epsilons, from the chains", epsilons)
        step("the summary", summary)

    def _last_round(self, constitution: Constitution, attempt: VerifiedAttempt) -> None:
        files, plan, step = self._files, attempt.plan, self._report.step
        lanes = LaneLayout(plan.layout.lane_width, constitution.charter.n_max)

        def added() -> tuple[Added, str]:
            found = check_added(files, attempt)
            words = f"{len(attempt.manifests)} uploads add up to root {attempt.seal.sum.root[:16]}, as sealed"
            return found, f"{words}; fingerprints are those signed, and add up"

        def opened() -> tuple[NDArray[np.int64], str]:
            values = check_opened(attempt, summed, lanes, files.exported(EXPORTER, "summed_key"))
            return values, f"{values.size} values, the same by our code and by SEAL's Decryptor ({_exports('S')})"

        def before() -> tuple[ModelState, str]:
            state = check_state_before(plan, files.exported(EXPORTER, "state_before"))
            return state, f"{state.digest[:16]}, from which the plan starts ({_exports('state_before')})"

        def after() -> tuple[None, str]:
            exports = (files.exported(EXPORTER, name) for name in ("summed_key", "state_after"))
            state = check_state_after(constitution, attempt, base, values, *exports)
            confirmed = f"{state.digest[:16]}, which {attempt.votes} partners confirmed"
            return None, f"the opened sum leads to {confirmed} ({_exports('state_after')})"

        summed = step(f"the sum of round {plan.round}, from its uploads", added)
        values = step("the sum, opened", opened)
        base = step("the model before it", before)
        step("the model after it", after)


def _exports(what: str) -> str:
    return f"{what}: {EXPORTER}'s export"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m deploy.demo.check", description="Recompute a finished demo.")
    parser.add_argument("out", type=Path, help="the folder of a finished demo: out/demo")
    report = Report(Console(soft_wrap=True))
    Check(parser.parse_args().out, report).run()
    return 1 if report.failed else 0


if __name__ == "__main__":
    sys.exit(main())
