"""The states of a round attempt and its only legal moves (protocol 4).

    joining -> uploading -> summing -> opening -> confirmed
       |          |           |           |-> void -> confirmed   (a later valid decoding, before a later J)
       +----------+-----------+-----------+-> closed

Rules:
1. The cohort is published by joining -> uploading; budgets are charged in the same transaction.
2. U is fixed by uploading -> summing, before any sum is made: a crash in between sums the same U again.
3. After the first opening no other U is ever opened. The attempt then ends by confirmations, by void votes, or once
   its open deadline has passed by a close: with fewer than t openings, or where the operator aborts it.
4. Numbers live here once: quorum, and who may end an attempt.
"""

from __future__ import annotations

from enum import StrEnum

from privacy.errors import NotEnoughOpenings, UnsafeParameters, WrongState


class RoundState(StrEnum):
    JOINING = "joining"
    UPLOADING = "uploading"
    SUMMING = "summing"
    OPENING = "opening"
    CONFIRMED = "confirmed"
    VOID = "void"
    CLOSED = "closed"

    @property
    def ended(self) -> bool:
        return self in (RoundState.CONFIRMED, RoundState.VOID, RoundState.CLOSED)


_MOVES: dict[RoundState, frozenset[RoundState]] = {
    RoundState.JOINING: frozenset({RoundState.UPLOADING, RoundState.CLOSED}),
    RoundState.UPLOADING: frozenset({RoundState.SUMMING, RoundState.CLOSED}),
    RoundState.SUMMING: frozenset({RoundState.OPENING, RoundState.CLOSED}),
    RoundState.OPENING: frozenset({RoundState.CONFIRMED, RoundState.VOID, RoundState.CLOSED}),
    RoundState.VOID: frozenset({RoundState.CONFIRMED}),
    RoundState.CONFIRMED: frozenset(),
    RoundState.CLOSED: frozenset(),
}


def check_move(current: RoundState, target: RoundState) -> None:
    if target not in _MOVES[current]:
        legal = ", ".join(sorted(_MOVES[current])) or "none: it has ended"
        raise WrongState(
            f"a legal move from {current} ({legal})", f"a move to {target}", "read the round's state again"
        )


def require(current: RoundState, *legal: RoundState) -> None:
    """Raise unless the attempt is in one of the states in which a message is taken."""
    if current not in legal:
        raise WrongState(
            f"a round attempt that is {' or '.join(legal)}",
            f"one that is {current}",
            "read the round's state again",
        )


def quorum(cohort_size: int, colluders: int) -> int:
    """t = floor((|J| + c) / 2) + 1 (protocol 3): two quorums share more than c members, so an honest one."""
    return (cohort_size + colluders) // 2 + 1


def check_abort(openings: int, open_deadline: int, now: float) -> None:
    """The operator may end what nobody has opened; what somebody has, only past its deadline (protocol 4.5)."""
    if openings and now <= open_deadline:
        raise WrongState(
            "an attempt that nobody has opened, or one past its open deadline",
            f"{openings} openings and {open_deadline - now:.0f} s left to open",
            "wait for confirmations, void votes or the deadline",
        )


def check_void_vote(openings: int, needed: int, open_deadline: int, now: float) -> None:
    """A vote rests on t openings; on fewer only once no further one can come (protocol 4.5)."""
    if openings < needed and now <= open_deadline:
        raise NotEnoughOpenings(
            f"a vote over at least {needed} openings, or one after the open deadline",
            f"{openings} openings and {open_deadline - now:.0f} s left to open",
            "wait for further openings",
        )


def check_cohort_size(cohort_size: int, n_min: int, colluders: int) -> None:
    """The numbers that every attempt needs: c >= 1, n_min >= c + 2, |J| >= n_min, t <= |J|."""
    if colluders < 1 or n_min < colluders + 2:
        raise UnsafeParameters(
            "c >= 1 and n_min >= c + 2", f"c = {colluders}, n_min = {n_min}", "draft another charter"
        )
    if cohort_size < n_min or quorum(cohort_size, colluders) > cohort_size:
        raise UnsafeParameters(
            f"a cohort of at least n_min = {n_min}", f"{cohort_size}", "wait until more partners have joined"
        )
