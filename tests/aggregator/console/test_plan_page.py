"""The plan's page: where the consortium stands on the curve, and which bound binds."""

from __future__ import annotations

import re
from html import unescape

import pytest

from aggregator.console.participant_page import participant_page
from aggregator.console.plan_page import REACH, PlanPage, RoundBound, plan_page
from aggregator.console.standing import Overview, Standings
from aggregator.storage.sessions import Viewer
from privacy.dp.accountant import epsilon
from privacy.dp.events import Guarantee, PrivacyEvent, TableRow
from privacy.dp.planner import plan_lanes
from privacy.report.charts import number
from tests.aggregator.conftest import Running
from tests.aggregator.console.browser import send, sign_in_as
from tests.aggregator.driver import RoundDriver
from tests.consortium import done


def _shown(running: Running, scope: str = "consortium") -> PlanPage:
    viewer = Viewer("kim", "kim", "officer", scope, running.service.clock.now() + 60)
    return plan_page(running.service, Standings(running.service), viewer)


def _bound(shown: PlanPage, name: str) -> RoundBound:
    return next(bound for bound in shown.bounds if bound.name == name)


def test_both_guarantees_are_drawn_and_nothing_is_marked_before_a_charge(
    driver: RoundDriver, running: Running
) -> None:
    del driver
    sign_in_as(running, "auditor")
    text = running.http.get("/console/plan").text
    assert text.count('class="curve"') == 2
    assert 'class="mark"' not in text
    assert "Nothing has been charged yet" in text


@pytest.mark.parametrize(("language", "now"), [("en", "now"), ("ko", "현재")])
def test_what_is_spent_is_marked_on_the_curve(
    driver: RoundDriver, running: Running, language: str, now: str
) -> None:
    driver.join_all()
    shown = _shown(running)
    spent = epsilon(((driver.plan.event, 1),), 1e-5, Guarantee.IN_SUM, driver.charter.honest)
    for one in shown.drawn:
        assert one.mark is not None
        assert one.mark.charges == 1
    assert shown.drawn[0].mark is not None
    assert shown.drawn[0].mark.epsilon == spent == shown.points[0].epsilon_in_sum
    sign_in_as(running, "auditor")
    text = unescape(running.http.get("/console/plan", headers={"accept-language": language}).text)
    assert text.count('class="mark"') == 2
    assert len(re.findall(rf">{now}</text>", text)) == 2
    assert number(spent) in text.split("<svg")[0]


def test_caps_let_through_just_what_fits_them(driver: RoundDriver, running: Running) -> None:
    shown = _shown(running)
    honest, event = driver.charter.honest, driver.plan.event
    for guarantee, name in ((Guarantee.IN_SUM, "cap_in_sum"), (Guarantee.ALONE, "cap_alone")):
        bound = _bound(shown, name)
        assert bound.limit is not None
        assert epsilon(((event, bound.rounds),), 1e-5, guarantee, honest) <= bound.limit
        assert bound.more == (bound.rounds == REACH * shown.rounds)
        if not bound.more:
            assert epsilon(((event, bound.rounds + 1),), 1e-5, guarantee, honest) > bound.limit


def test_the_table_binds_until_a_cap_is_tightened_and_then_what_is_left_of_it(
    driver: RoundDriver, running: Running
) -> None:
    shown = _shown(running)
    assert (shown.binding.name, shown.binding.rounds) == ("table", driver.charter.table[0].count)
    sign_in_as(running)
    page = f"/console/participants/{driver.names[0]}"
    caps = {"epsilon_in_sum": "0.25", "epsilon_alone": "9", "reason": "less for us"}
    assert send(running, f"{page}/tighten", caps, page=page).status_code == 303
    tighter, of_another = _shown(running), _shown(running, driver.names[1])
    assert tighter.drawn[0].curve.cap == 0.25
    assert tighter.binding.rounds < shown.binding.rounds == of_another.binding.rounds
    assert _bound(tighter, "cap_in_sum").rounds < _bound(shown, "cap_in_sum").rounds
    for language, words in (("en", "Which bound binds"), ("ko", "무엇이 먼저 한도에 이르는가")):
        text = running.http.get("/console/plan", headers={"accept-language": language}).text
        assert words in text
        assert text.count("◀") == 1


def test_a_scope_without_a_participant_of_the_roster_sees_the_charters_bounds(
    driver: RoundDriver, running: Running
) -> None:
    driver.join_all()
    shown = _shown(running, "stranger")
    assert shown.most is None
    assert all(one.mark is None for one in shown.drawn)
    assert shown.binding.rounds == driver.charter.table[0].count


def test_the_planners_lanes_are_told_with_what_decided_them(driver: RoundDriver, running: Running) -> None:
    shown = _shown(running)
    planned = plan_lanes(driver.plan.event.noise_multiplier, driver.charter.honest, driver.charter.n_max)
    assert shown.lanes == planned
    sign_in_as(running, "auditor")
    for language, words in (("en", f"{planned.width}-bit lanes"), ("ko", f"{planned.width}비트 레인")):
        assert words in running.http.get("/console/plan", headers={"accept-language": language}).text


def test_a_sum_of_statistics_between_rounds_is_no_plan_to_go_on_with(running: Running) -> None:
    """Its row is used up, and nothing is said of training to be at an end."""
    consortium = running.consortium
    audit = PrivacyEvent(kind="statistics", noise_multiplier=20.0, sampling_rate=1.0)
    table = (
        TableRow(name="audit", event=audit, count=1),
        TableRow(name="training", event=consortium.event, count=5),
    )
    charter, campaign = consortium.constitute(running.http, table=table)
    assert _shown(running).event == consortium.event, "before there is a plan: the first row to train by"
    for attempt, more in ((1, {}), (2, {"kind": "statistics", "event": audit})):
        held = RoundDriver(consortium, running.http, charter, campaign, attempt=attempt, **more)
        held.join_all()
        done(held.abort("its charge stays"))
    assert _shown(running).event == consortium.event
    viewer = Viewer("kim", "kim", "officer", "consortium", running.service.clock.now() + 60)
    found = Standings(running.service).overview(viewer)
    assert isinstance(found, Overview)
    assert [one.rounds_left for one in found.report.participants] == [4] * charter.n_max
    assert set(found.states.values()) == {"console.state_ready"}
    assert [line.kind for line in found.rounds] == ["statistics", "training"]
    page = participant_page(running.service, Standings(running.service), viewer, charter.partners[0])
    assert page.budget.rounds_left == 4
    sign_in_as(running, "auditor")
    assert (
        running.http.get("/console", headers={"accept-language": "en"}).text.count("Statistics round</span>") == 1
    )
