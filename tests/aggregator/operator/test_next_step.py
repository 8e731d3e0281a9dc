"""The conductor's decision, held to its rules over random histories: closes, voids, crashes, late confirmations."""

from dataclasses import replace
from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aggregator.operator.answers import RoundSummary
from aggregator.operator.next_step import AbortLate, Await, Finished, Post, Propose, Recorded, next_step
from privacy.errors import RolledBack, WrongState
from privacy.protocol.round_state import RoundState

NOW = 1000.0
ENDS = [RoundState.CONFIRMED, RoundState.VOID, RoundState.CLOSED]
OPEN = [state for state in RoundState if not state.ended]


def name(number, attempt):
    return sha256(f"{number}/{attempt}".encode()).hexdigest()


def listed(number, attempt, state):
    return RoundSummary(round=name(number, attempt), number=number, attempt=attempt, state=state)


def recorded(number, attempt, *, posted=True, join_deadline=2000):
    return Recorded(name(number, attempt), number, attempt, join_deadline, posted)


def decide(attempts, plans=(), last_round=3, max_attempts=3, now=NOW, **more):
    return next_step(attempts, plans, last_round=last_round, max_attempts=max_attempts, now=now, **more)


def test_the_first_round_starts_from_the_genesis():
    assert decide([]) == Propose(1, 1, None)


def test_the_next_round_starts_from_the_confirmed_one():
    assert decide([listed(1, 1, RoundState.CONFIRMED)]) == Propose(2, 1, name(1, 1))


@pytest.mark.parametrize("state", OPEN)
def test_an_open_attempt_is_waited_for(state):
    assert decide([listed(1, 1, state)], [recorded(1, 1)]) == Await(name(1, 1))


def test_a_failed_attempt_is_tried_again_under_a_new_number():
    failed = [listed(1, 1, RoundState.VOID), listed(1, 2, RoundState.CLOSED)]
    assert decide(failed) == Propose(1, 3, None)
    with pytest.raises(WrongState, match=r"attempt 1 void, attempt 2 closed"):
        decide(failed, max_attempts=2)


def test_a_late_confirmation_aborts_what_is_only_joining_and_no_more():
    first = listed(1, 1, RoundState.CONFIRMED)
    assert decide([first, listed(1, 2, RoundState.JOINING)]) == AbortLate(name(1, 2))
    assert decide([first, listed(1, 2, RoundState.UPLOADING)]) == Await(name(1, 2))


def test_of_two_confirmed_attempts_the_later_counts():
    both = [listed(1, 1, RoundState.CONFIRMED), listed(1, 2, RoundState.CONFIRMED)]
    assert decide(both) == Propose(2, 1, name(1, 2))


def test_a_plan_that_was_signed_and_not_posted_is_posted_while_it_can_be_joined():
    unposted = recorded(1, 1, posted=False)
    assert decide([], [unposted]) == Post(name(1, 1))
    assert decide([], [replace(unposted, join_deadline=int(NOW))]) == Propose(1, 2, None)


def test_a_service_that_forgot_a_plan_stops_everything():
    with pytest.raises(RolledBack, match="round 2, attempt 1"):
        decide([listed(1, 1, RoundState.CONFIRMED)], [recorded(1, 1), recorded(2, 1)])


def test_it_ends_with_the_last_round():
    assert decide([listed(1, 1, RoundState.CONFIRMED)], last_round=1) == Finished()


def of_statistics(attempts, *digests, **more):
    return decide(attempts, kind="statistics", statistics=digests, **more)


def test_a_statistics_round_goes_by_the_number_of_the_round_to_come_and_starts_where_training_stands():
    trained = listed(1, 1, RoundState.CONFIRMED)
    assert of_statistics([]) == Propose(1, 1, None)
    assert of_statistics([trained]) == Propose(2, 1, name(1, 1))
    counted = [trained, listed(2, 1, RoundState.CONFIRMED)]
    assert of_statistics(counted, name(2, 1)) == Propose(2, 2, name(1, 1))
    assert of_statistics(counted, name(2, 1), last_round=1) == Finished()
    assert decide(counted, statistics=[name(2, 1)]) == Propose(2, 2, name(1, 1))


@pytest.mark.parametrize("state", OPEN)
def test_an_open_attempt_of_either_kind_is_waited_for(state):
    trained, statistics = listed(1, 1, state), listed(2, 1, state)
    before = listed(1, 1, RoundState.CONFIRMED)
    assert of_statistics([trained]) == Await(name(1, 1))
    assert of_statistics([before, statistics], name(2, 1)) == Await(name(2, 1))
    assert decide([before, statistics], statistics=[name(2, 1)]) == Await(name(2, 1))


def test_neither_kind_uses_up_the_others_attempts():
    failed = [listed(1, 1, RoundState.VOID), listed(1, 2, RoundState.CLOSED)]
    assert decide(failed, statistics=[name(1, 1)], max_attempts=2) == Propose(1, 3, None)
    assert of_statistics(failed, name(1, 1), max_attempts=2) == Propose(1, 3, None)
    with pytest.raises(WrongState, match="a statistics round before round 1"):
        of_statistics(failed, name(1, 1), name(1, 2), max_attempts=2)
    met = [listed(1, 1, RoundState.CONFIRMED), listed(1, 2, RoundState.CONFIRMED)]
    assert of_statistics(met, name(1, 1), name(1, 2), max_attempts=1) == Propose(1, 3, None)


def test_a_plan_of_the_other_kind_is_not_posted_and_its_attempt_number_is_passed_over():
    held = replace(recorded(1, 1, posted=False), kind="statistics")
    assert decide([], [held], statistics=[name(1, 1)]) == Propose(1, 2, None)
    assert of_statistics([], name(1, 1), plans=[held]) == Post(name(1, 1))


def test_what_is_confirmed_late_spares_statistics_that_were_joining_too():
    late = [listed(1, 1, RoundState.CONFIRMED), listed(1, 2, RoundState.JOINING)]
    assert of_statistics(late, name(1, 2)) == AbortLate(name(1, 2))


class World:
    """A service and an operator's record; `crash` cuts proposing short at each of its lines."""

    def __init__(self):
        self.now = NOW
        self.attempts = []
        self.plans = []
        self.signed = []

    def step(self, outcome, crash):
        step = decide(self.attempts, self.plans, max_attempts=4, now=self.now)
        match step:
            case Propose():
                assert (step.number, step.attempt) not in self.signed
                base = [a for a in self.attempts if a.round == step.after]
                assert step.number == (base[0].number + 1 if base else 1)
                self.signed.append((step.number, step.attempt))
                self.plans.append(recorded(step.number, step.attempt, posted=False, join_deadline=self.now + 10))
                if crash != "before posting":
                    self.post(self.plans[-1], crash)
            case Post(digest):
                self.post(next(p for p in self.plans if p.round == digest), crash)
            case Await(digest):
                self.move(digest, outcome)
            case AbortLate(digest):
                self.move(digest, RoundState.CLOSED)
        return step

    def post(self, plan, crash):
        assert all(a.state.ended for a in self.attempts)
        self.attempts.append(listed(plan.number, plan.attempt, RoundState.JOINING))
        if crash != "before marking":
            self.plans[self.plans.index(plan)] = replace(plan, posted=True)

    def move(self, digest, state):
        self.attempts = [a.model_copy(update={"state": state}) if a.round == digest else a for a in self.attempts]


MOVES = st.tuples(
    st.sampled_from([*ENDS, RoundState.UPLOADING, RoundState.OPENING]),
    st.sampled_from([None, None, "before posting", "before marking"]),
    st.integers(0, 20),
    st.booleans(),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(MOVES, max_size=40))
def test_no_history_signs_an_attempt_twice_or_opens_two_at_once(moves):
    world = World()
    for outcome, crash, seconds, late in moves:
        world.now += seconds
        void = [a for a in world.attempts if a.state is RoundState.VOID]
        if late and void:
            world.move(void[-1].round, RoundState.CONFIRMED)
        try:
            if world.step(outcome, crash) == Finished():
                break
        except WrongState:
            break
    numbers = [a.number for a in world.attempts]
    assert numbers == sorted(numbers)
    assert len(set(world.signed)) == len(world.signed)
    assert sum(not a.state.ended for a in world.attempts) <= 1
    for number in set(numbers) - {1}:
        assert any(a.number == number - 1 and a.state is RoundState.CONFIRMED for a in world.attempts)
