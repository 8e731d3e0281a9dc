"""The conductor against a service on paper: it goes on after crashes, retries, and believes signatures alone."""

from contextlib import contextmanager

import pytest

from aggregator.operator.client import OperatorClient
from aggregator.operator.conductor import Assignment, Conductor
from aggregator.operator.plan_record import PlanRecord
from aggregator.operator.planning import Phases, vector_layout
from aggregator.operator.signed_http import SignedHttp
from privacy.errors import (
    BadSignature,
    BudgetExhausted,
    Conflict,
    NotEnoughOpenings,
    RolledBack,
    WeakerThanCharter,
    WrongState,
)
from privacy.protocol.identifiers import OPERATOR
from privacy.protocol.signing import Verifier, countersign
from tests.aggregator.operator.paper_consortium import ROW
from tests.consortium import SeededSource


class Told:
    def __init__(self):
        self.ends = []
        self.notices = []

    def proposed(self, plan):
        pass

    def changed(self, document):
        pass

    def ended(self, document):
        self.ends.append((document.number, document.attempt, document.state.value))

    def notice(self, text):
        self.notices.append(text)


class Killed(BaseException):
    """kill -9 on paper: nothing catches it."""


@pytest.fixture
def path(tmp_path):
    return tmp_path / "plans.jsonl"


def assignment(consortium, last_round=3, max_attempts=3, charter=None):
    charter = charter or consortium.charter
    campaign = countersign(consortium.campaign, OPERATOR, consortium.operator)
    layout = vector_layout(charter, campaign.body, ROW, None)
    return Assignment(charter, campaign, ROW, layout, Phases(60, 60, 60), last_round, max_attempts)


def conductor(service, path, told=None, holder="one", patience=30.0, **what):
    http = SignedHttp(
        "http://service",
        service.consortium.operator,
        service.clock,
        SeededSource("nonces" + str(len(service.requests))),
        service.clock.sleep,
        patience=patience,
        transport=service.transport(),
    )
    return Conductor(
        OperatorClient(http),
        PlanRecord(path),
        service.consortium.operator,
        assignment(service.consortium, **what),
        holder,
        service.clock,
        Verifier(),
        told or Told(),
    )


def test_it_signs_one_plan_a_round_each_from_the_confirmed_state(service, path):
    told = Told()
    conductor(service, path, told).run()
    assert told.ends == [(1, 1, "confirmed"), (2, 1, "confirmed"), (3, 1, "confirmed")]
    bases = [plan.body.base_state for plan in service.plans]
    assert bases == [service.consortium.campaign.body.genesis, service.state(1), service.state(2)]
    plan = service.plans[0].body
    assert (plan.layout.parameters, plan.layout.probes, plan.layout.lane_width) == (100, 1024, 12)
    assert plan.deadlines.join < plan.deadlines.upload < plan.deadlines.open
    assert service.leases[-1][1] == service.clock.now()  # given back


def test_failed_attempts_are_tried_again_and_not_for_ever(service, path):
    service.fates = ["closed", "void", "confirmed", "closed"]
    told = Told()
    with pytest.raises(WrongState, match="round 2 confirmed within 3 attempts"):
        conductor(service, path, told).run()
    assert [end[:2] for end in told.ends] == [(1, 1), (1, 2), (1, 3), (2, 1), (2, 2), (2, 3)]
    service.fates = [*["closed"] * 6, "confirmed"]
    conductor(service, path, told, max_attempts=9, last_round=2).run()
    assert told.ends[-1] == (2, 4, "confirmed")


def test_what_is_confirmed_late_spares_the_attempt_that_was_joining(service, path):
    service.fates = ["void", "late", "confirmed"]
    told = Told()
    conductor(service, path, told, last_round=2).run()
    attempts = [(plan.body.round, plan.body.attempt, service.states[plan.digest]) for plan in service.plans]
    assert attempts == [(1, 1, "confirmed"), (1, 2, "closed"), (2, 1, "confirmed")]
    assert service.plans[2].body.base_state == service.state(1)
    assert "aborting" in told.notices[0]


def test_without_its_record_it_asks_for_the_newest_plans_alone(service, path, tmp_path):
    conductor(service, path, last_round=5).run()
    before = len(service.requests)
    conductor(service, tmp_path / "another.jsonl", last_round=5).run()
    asked = {where for method, where, _ in service.requests[before:] if method == "GET"}
    documents = {f"/v1/rounds/{plan.digest}" for plan in service.plans}
    assert asked & documents == {f"/v1/rounds/{plan.digest}" for plan in service.plans[-2:]}


def test_a_plan_told_for_another_ones_stops_it(service, path, tmp_path, monkeypatch):
    conductor(service, path, last_round=2).run()
    first = service.plans[0].digest
    whole = OperatorClient.round
    monkeypatch.setattr(OperatorClient, "round", lambda self, digest, *more: whole(self, first, *more))
    with pytest.raises(WeakerThanCharter, match="the plan of attempt"):
        conductor(service, tmp_path / "another.jsonl", last_round=3).run()
    assert len(service.plans) == 2


def test_an_attempt_that_never_ends_is_aborted_with_an_alarm_and_tried_again(service, path):
    service.fates = ["stuck", "confirmed"]
    told = Told()
    conductor(service, path, told, last_round=1).run()
    plan = service.plans[0].body
    assert [abort.plan for abort in service.aborts] == [plan.digest]
    assert told.ends == [(1, 1, "closed"), (1, 2, "confirmed")]
    assert "ALARM" in told.notices[0]
    assert "Aborting" in told.notices[0]
    assert service.plans[1].body.deadlines.join > plan.deadlines.open + 300


@pytest.mark.parametrize("voters", [(), ("ash", "birch", "cedar")])
def test_a_void_that_no_quorum_signed_starts_no_attempt(service, path, voters):
    service.fates = ["void", "confirmed"]
    service.voters = voters  # t = floor((5 + 1) / 2) + 1 = 4
    for _ in range(2):
        with pytest.raises(NotEnoughOpenings, match="void votes signed by 4 of the 5"):
            conductor(service, path).run()
    assert len(service.plans) == 1


def test_a_close_that_the_server_did_not_sign_starts_no_attempt(service, path):
    service.fates = ["closed", "confirmed"]
    service.closer = service.consortium.operator
    with pytest.raises(BadSignature):
        conductor(service, path).run()
    assert len(service.plans) == 1


def test_it_is_done_at_once_when_the_rounds_are_there(service, path):
    conductor(service, path).run()
    conductor(service, path).run()
    assert len(service.plans) == 3


@contextmanager
def killed_at(monkeypatch, target, name, when):
    """Kill the process at the `when`-th call of target.name, before or after it."""
    real = getattr(target, name)
    calls = []

    def dying(*args, **kwargs):
        calls.append(name)
        if len(calls) == when[0] and when[1] == "before":
            raise Killed
        result = real(*args, **kwargs)
        if len(calls) == when[0] and when[1] == "after":
            raise Killed
        return result

    with monkeypatch.context() as patch:
        patch.setattr(target, name, dying)
        yield


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("side", ["before", "after"])
@pytest.mark.parametrize(
    ("target", "name"),
    [(PlanRecord, "add"), (OperatorClient, "post_plan"), (PlanRecord, "mark_posted"), (OperatorClient, "round")],
)
def test_killed_anywhere_it_goes_on_and_signs_nothing_twice(service, path, monkeypatch, target, name, side, count):
    with killed_at(monkeypatch, target, name, (count, side)), pytest.raises(Killed):
        conductor(service, path).run()
    conductor(service, path).run()
    attempts = [(plan.body.round, plan.body.attempt) for plan in service.plans]
    assert attempts == [(1, 1), (2, 1), (3, 1)]
    assert {held.plan.digest for held in PlanRecord(path).of_campaign(service.campaign.digest)} == set(
        service.states
    )


def test_a_plan_signed_before_a_crash_is_passed_over_once_nobody_can_join_it(service, path, monkeypatch):
    with killed_at(monkeypatch, OperatorClient, "post_plan", (1, "before")), pytest.raises(Killed):
        conductor(service, path).run()
    service.clock.sleep(3600)
    conductor(service, path, last_round=1).run()
    assert [(plan.body.round, plan.body.attempt) for plan in service.plans] == [(1, 2)]


def test_a_lost_answer_to_a_plan_does_not_double_it(service, path):
    service.lose = 2
    conductor(service, path).run()
    assert len(service.plans) == 3


def test_a_service_that_forgets_a_plan_gets_no_other(service, path):
    conductor(service, path).run()
    lost = service.plans.pop()
    del service.states[lost.digest]
    with pytest.raises(RolledBack):
        conductor(service, path, last_round=5).run()
    assert len(service.plans) == 2


def test_forged_confirmations_start_no_round(service, path):
    service.forged = True
    with pytest.raises(BadSignature):
        conductor(service, path).run()
    assert len(service.plans) == 1


def test_fewer_than_a_quorum_of_confirmations_start_no_round(service, path):
    service.signers = ("ash", "birch", "cedar")  # t = floor((5 + 1) / 2) + 1 = 4
    with pytest.raises(WrongState, match="at least 4 of 5"):
        conductor(service, path).run()
    assert len(service.plans) == 1


def test_two_conductors_do_not_lead_at_once(service, path, tmp_path, monkeypatch):
    with killed_at(monkeypatch, OperatorClient, "round", (1, "before")), pytest.raises(Killed):
        conductor(service, path).run()
    service.leases[-1] = ("one", service.clock.now() + 60)
    with pytest.raises(Conflict, match="no other conductor"):
        conductor(service, tmp_path / "other.jsonl", holder="two").run()


def test_a_spent_budget_ends_it_before_a_plan_is_signed(service, path):
    service.charges = ROW.count - 1
    with pytest.raises(BudgetExhausted, match="ash, birch"):
        conductor(service, path).run()
    assert len(service.plans) == 1
