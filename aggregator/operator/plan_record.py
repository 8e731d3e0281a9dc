"""Every plan that the operator signed, in its own folder, before anyone else saw it.

Rules:
1. A plan is appended and fsynced before it is posted; after a crash the same bytes are posted again. So no attempt
   of a round is ever signed twice with different content.
2. A line is {"signed": Signed[Plan]} or {"posted": R}: the service has taken that plan.
3. A last line without its newline is what a crash left of a plan that nobody saw: it is cut off. Anything else that
   cannot be read stops the conductor.
4. Only the holder of the folder's lock writes.
The service is the record of what became of a round; this is the record of what was signed.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from aggregator.operator.durable import append_line
from privacy.errors import ChoraleError, ConfigurationError, Conflict
from privacy.protocol.canonical import canonical, parse
from privacy.protocol.messages import Plan, Signed, parse_signed


@dataclass(frozen=True)
class SignedPlan:
    """One recorded plan, and whether the service took it."""

    plan: Signed[Plan]
    posted: bool


class PlanRecord:
    """The file, read once and appended to."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._plans: dict[str, SignedPlan] = {}
        self._attempts: dict[tuple[str, int, int], str] = {}
        if path.exists():
            self._read()

    def of_campaign(self, campaign: str) -> tuple[SignedPlan, ...]:
        """In the order signed."""
        return tuple(held for held in self._plans.values() if held.plan.body.campaign == campaign)

    def all(self) -> tuple[SignedPlan, ...]:
        """In the order signed."""
        return tuple(self._plans.values())

    def add(self, plan: Signed[Plan]) -> None:
        """Raises Conflict for an attempt that is recorded already, with other content or the same."""
        key = _attempt(plan.body)
        if key in self._attempts:
            raise Conflict(
                f"an attempt of round {plan.body.round} that was never signed",
                f"attempt {plan.body.attempt}, signed as {self._attempts[key][:16]}",
                "take the next attempt number",
            )
        append_line(self._path, canonical({"signed": plan.model_dump(mode="json")}))
        self._keep(plan, posted=False)

    def mark_posted(self, round_digest: str) -> None:
        held = self._plans[round_digest]
        if not held.posted:
            append_line(self._path, canonical({"posted": round_digest}))
            self._plans[round_digest] = SignedPlan(held.plan, posted=True)

    def _keep(self, plan: Signed[Plan], posted: bool) -> None:
        self._plans[plan.digest] = SignedPlan(plan, posted)
        self._attempts[_attempt(plan.body)] = plan.digest

    def _read(self) -> None:
        raw = self._path.read_bytes()
        whole = raw.rfind(b"\n") + 1
        if whole != len(raw):
            with self._path.open("r+b") as file:
                file.truncate(whole)
                os.fsync(file.fileno())
        for number, line in enumerate(raw[:whole].splitlines(), start=1):
            try:
                self._read_line(line)
            except (ChoraleError, KeyError, TypeError, AttributeError) as error:
                raise ConfigurationError(
                    f"a signed plan, or that one was posted, in line {number} of {self._path}",
                    str(error),
                    "restore the file from its backup: without it an attempt could be signed twice",
                ) from error

    def _read_line(self, line: bytes) -> None:
        value = parse(line)
        if "posted" in value:
            self._plans[value["posted"]] = SignedPlan(self._plans[value["posted"]].plan, posted=True)
        else:
            self._keep(parse_signed(Plan, canonical(value["signed"])), posted=False)


def posted_plans(path: Path) -> tuple[Signed[Plan], ...]:
    """Plans that the service took, from a record that nobody writes to now. Raises ConfigurationError."""
    if not path.is_file():
        raise ConfigurationError(f"a record of plans at {path}", "none", "name the operator's plans.jsonl")
    record = PlanRecord(path)
    return tuple(held.plan for held in record.all() if held.posted)


def _attempt(plan: Plan) -> tuple[str, int, int]:
    return (plan.campaign, plan.round, plan.attempt)
