"""What the conductor does next: a pure function of the service's record, the operator's own record, and the time.

Rules:
1. While an attempt is open nothing is proposed: it is waited for, also after a crash.
2. A round is done once an attempt of it is confirmed. A void attempt may be confirmed late (protocol 4.5): an
   attempt of the same round that is only joining is then aborted, before its cohort costs anyone a budget.
3. A plan that was signed and not posted is posted as it is while partners can still join it; later its attempt
   number is passed over. An attempt number is never used twice, whichever record knows of it.
4. A plan that the service took and no longer lists means that the service lost its memory: nothing goes on.
5. A round is attempted at most `max_attempts` times; what the service closed or partners voided counts.
6. A statistics round leaves the model where it is. So it goes by the number of the training round to come and takes
   the next of that one's attempt numbers, but is no attempt at it: neither uses up the other's, and only training
   moves on. Of statistics rounds, `last_round` counts those that are confirmed.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

from aggregator.operator.answers import RoundSummary
from privacy.errors import RolledBack, WrongState
from privacy.protocol.round_state import RoundState

RoundKind = Literal["training", "statistics"]


@dataclass(frozen=True)
class Recorded:
    """A plan in the operator's own record. join_deadline: seconds since 1970."""

    round: str
    number: int
    attempt: int
    join_deadline: int
    posted: bool
    kind: RoundKind = "training"


@dataclass(frozen=True)
class Finished:
    """The last round asked for, or so many statistics rounds, are confirmed."""


@dataclass(frozen=True)
class Await:
    round: str


@dataclass(frozen=True)
class Post:
    """Post the recorded plan, byte for byte."""

    round: str


@dataclass(frozen=True)
class AbortLate:
    """Abort an attempt of a round that is confirmed already."""

    round: str


@dataclass(frozen=True)
class Propose:
    """Sign a plan. after: the confirmed training attempt that it starts from; None: the genesis."""

    number: int
    attempt: int
    after: str | None


Step = Finished | Await | Post | AbortLate | Propose


def next_step(
    attempts: Sequence[RoundSummary],
    recorded: Sequence[Recorded],
    *,
    last_round: int,
    max_attempts: int,
    now: float,
    kind: RoundKind = "training",
    statistics: Collection[str] = (),
) -> Step:
    """The one thing to do now. kind: of the rounds to conduct. statistics: R of each attempt at one of these.

    Raises RolledBack (rule 4), and WrongState once a round has used up its attempts.
    """
    _check_memory(attempts, recorded)
    of_kind = [attempt for attempt in attempts if (attempt.round in statistics) == (kind == "statistics")]
    trained = [attempt for attempt in attempts if attempt.round not in statistics]
    confirmed = [attempt for attempt in trained if attempt.state is RoundState.CONFIRMED]
    # Where two attempts of a round are confirmed, the later one counts: its cohort came after (protocol 4.5).
    latest = max(confirmed, key=lambda attempt: (attempt.number, attempt.attempt), default=None)
    done = 0 if latest is None else latest.number
    for attempt in attempts:
        if not attempt.state.ended:
            late = attempt.number <= done and attempt.state is RoundState.JOINING
            return AbortLate(attempt.round) if late else Await(attempt.round)
    reached = done
    if kind == "statistics":
        reached = sum(attempt.state is RoundState.CONFIRMED for attempt in of_kind)
    if reached >= last_round:
        return Finished()
    number = done + 1
    listed = {attempt.round for attempt in attempts}
    for plan in recorded:
        waits = plan.round not in listed and plan.join_deadline > now
        if plan.number == number and plan.kind == kind and waits:
            return Post(plan.round)
    ended = [a for a in of_kind if a.number == number and a.state is not RoundState.CONFIRMED]
    if len(ended) >= max_attempts:
        raise WrongState(
            f"{'round' if kind == 'training' else 'a statistics round before round'} {number} confirmed within"
            f" {max_attempts} attempts",
            ", ".join(f"attempt {attempt.attempt} {attempt.state}" for attempt in ended),
            "see why with `chorale-server round show`; a larger --max-attempts goes on, at the cost of more budget",
        )
    used = [attempt.attempt for attempt in attempts if attempt.number == number]
    used += [plan.attempt for plan in recorded if plan.number == number]
    return Propose(number, 1 + max(used, default=0), None if latest is None else latest.round)


def _check_memory(attempts: Sequence[RoundSummary], recorded: Sequence[Recorded]) -> None:
    listed = {attempt.round for attempt in attempts}
    lost = [plan for plan in recorded if plan.posted and plan.round not in listed]
    if lost:
        first = lost[0]
        raise RolledBack(
            f"round {first.number}, attempt {first.attempt}, which the service took",
            "a list of rounds without it",
            "the service was restored from an old backup, or lies: stop it, and run `chorale-server recover` with"
            " every partner's file and this folder's plans",
        )
