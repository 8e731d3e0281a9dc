"""How attempts end that have no result: too few openings, junk in boxes, states that part, and a false word for it.

The clock is moved by hand past the open deadline, once everyone has said what it had to say.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import aggregator.api.rounds
import client_sdk.opening
import client_sdk.unsealing
import client_sdk.upload
from aggregator.rounds import lifecycle
from client_sdk.attempt import Attempt, Outcome
from client_sdk.progress import Silent
from privacy.clock import SystemClock
from privacy.errors import NotEnoughOpenings
from privacy.he.boxes import SHARE_BOX_BYTES
from privacy.protocol.identifiers import OPERATOR
from privacy.protocol.messages import Abort, Campaign, Plan
from privacy.protocol.round_state import RoundState
from privacy.protocol.signing import sign
from tests.client_sdk.choir import Choir, choir, take_part, values_for
from tests.consortium import done, refused

LIAR = "partner-01"
# A request signed before the clock is moved, and read after, is stale beyond MAX_SKEW_SECONDS (300).
SECONDS = (120, 200, 280)


class Ahead:
    """The machine's clock, and as many seconds more as a test says."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> float:
        return SystemClock().now() + self.seconds


class Told(Silent):
    def __init__(self) -> None:
        self.notices: list[str] = []

    def notice(self, text: str) -> None:
        self.notices.append(text)


@contextmanager
def chorus(root: Path, size: int) -> Iterator[tuple[Choir, Campaign, str, Ahead]]:
    clock = Ahead()
    with choir(root, size=size, clock=clock) as made:
        _, campaign, state = made.constitute()
        yield made, campaign, state.digest, clock


@contextmanager
def under_way(made: Choir, campaign: Campaign, act: Any = None) -> Iterator[dict[str, Future[Outcome]]]:
    """Everyone at once; inside, the futures of their outcomes."""

    def plainly(name: str) -> Outcome:
        with made.agent(name) as agent:
            return take_part(agent, campaign)

    with ThreadPoolExecutor(made.size) as pool:
        yield {name: pool.submit(act or plainly, name) for name in made.names}


def until(made: Choir, plan: Plan, true: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    end = time.monotonic() + 120
    while time.monotonic() < end:
        shown = made.document(plan)
        if true(shown):
            return shown
        time.sleep(0.2)
    raise AssertionError(f"it did not come true: {shown['state']}, {shown['openings']}, {shown['voids']}")


def past_the_deadline(clock: Ahead, plan: Plan) -> None:
    clock.seconds += plan.deadlines.open + 1 - clock.now()


def abort(made: Choir, plan: Plan) -> Any:
    body = Abort(charter=plan.charter, plan=plan.digest, reason="nobody can end it")
    return made.operator.post(f"/v1/rounds/{plan.digest}/abort", sign(body, OPERATOR, made._key))


@pytest.fixture
def false_dealer(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """One dealer's share boxes to the last two members are junk, with the digests that its manifest signs."""
    honest = client_sdk.upload._seal_shares
    lying = [True]

    def seal(dealer: str, cohort: Any, *rest: Any) -> dict[str, bytes]:
        boxes = honest(dealer, cohort, *rest)
        if lying[0] and dealer == LIAR:
            boxes.update({name: bytes(SHARE_BOX_BYTES) for name in cohort.partners[-2:]})
        return boxes

    monkeypatch.setattr(client_sdk.upload, "_seal_shares", seal)
    return lambda: lying.__setitem__(0, False)


def test_too_few_openings_end_the_attempt_at_the_deadline_and_the_campaign_goes_on(
    tmp_path: Path, false_dealer: Callable[[], None]
) -> None:
    with chorus(tmp_path, 4) as (made, campaign, genesis, clock):
        plan = made.post_plan(campaign, genesis, SECONDS)
        with under_way(made, campaign) as running:
            shown = until(made, plan, lambda now: len(now["openings"]) + len(now["refusals"]) == 4)
            assert [one["body"]["check"] for one in shown["refusals"]] == [6, 6]
            refused(abort(made, plan), 409, "wrong-state")
            past_the_deadline(clock, plan)
            outcomes = {name: one.result() for name, one in running.items()}
        assert {one.ended for one in outcomes.values()} == {"closed"}
        assert all("2 of the 3 openings" in one.reason for one in outcomes.values())
        assert {one.state.digest for one in outcomes.values()} == {genesis}
        late = made.operator.get(f"/v1/rounds/{plan.digest}")
        assert done(late)["close"]["body"]["cause"] == "not-opened"
        false_dealer()
        again = made.post_plan(campaign, genesis, SECONDS, attempt=2)
        with under_way(made, campaign) as running:
            assert all(one.result().confirmed for one in running.values())
        with made.partner("partner-02") as partner:
            assert partner.own_ledger.head.count == 2  # what the first attempt cost stays charged
        assert made.document(again)["state"] == "confirmed"


def test_members_void_what_has_too_few_openings_where_the_service_leaves_it_open(
    tmp_path: Path, false_dealer: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(lifecycle._SETTLE, RoundState.OPENING, lambda service, round_digest: None)
    monkeypatch.setattr(client_sdk.unsealing, "LONG_POLL_SECONDS", 1)
    with chorus(tmp_path, 4) as (made, campaign, genesis, clock):
        plan = made.post_plan(campaign, genesis, SECONDS)
        with under_way(made, campaign) as running:
            until(made, plan, lambda now: len(now["openings"]) + len(now["refusals"]) == 4)
            assert made.document(plan)["voids"] == []
            past_the_deadline(clock, plan)
            outcomes = {name: one.result() for name, one in running.items()}
        assert {one.ended for one in outcomes.values()} == {"void"}
        assert {one.state.digest for one in outcomes.values()} == {genesis}
        votes = done(made.operator.get(f"/v1/rounds/{plan.digest}/voids"))["voids"]
        assert len(votes) >= 3
        assert all(len(vote["body"]["openings"]) == 2 for vote in votes)
        assert "of the 3" in votes[0]["body"]["reason"]


def test_a_reboot_where_every_member_is_needed_ends_the_attempt_and_says_so(tmp_path: Path) -> None:
    told = Told()
    with chorus(tmp_path, 3) as (made, campaign, genesis, clock):
        plan = made.post_plan(campaign, genesis, SECONDS)

        def act(name: str) -> Outcome:
            # By the machine's clock: the service alone passes the deadline, and nobody votes before it closes.
            with made.agent(name, progress=told, clock=SystemClock()) as agent:
                for item in agent.attend(campaign, agent.current_state(campaign), take_part=True):
                    assert isinstance(item, Attempt)
                    joined = agent.join(item)
                    agent.contribute(joined, values_for(name))
                    if name == LIAR:
                        agent.partner.round_keys.claim(plan.digest)  # as a reboot does
                    return agent.finish(joined)
                raise AssertionError("stopped")

        with under_way(made, campaign, act) as running:
            until(made, plan, lambda now: len(now["openings"]) == 2 and any("is gone" in t for t in told.notices))
            past_the_deadline(clock, plan)
            assert {one.result().ended for one in running.values()} == {"closed"}
    assert any("the sum needs all 3 members" in text for text in told.notices)


def test_result_boxes_of_junk_part_the_cohort_and_the_operator_ends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All three open, one with junk for the others: it confirms, they vote void, and neither makes a quorum."""
    honest = client_sdk.opening._seal_results

    def seal(partner: Any, *rest: Any) -> dict[str, bytes]:
        boxes = honest(partner, *rest)
        if partner.name == LIAR:
            boxes.update({name: bytes(SHARE_BOX_BYTES) for name in boxes if name != LIAR})
        return boxes

    monkeypatch.setattr(client_sdk.opening, "_seal_results", seal)
    with chorus(tmp_path, 3) as (made, campaign, genesis, clock):
        plan = made.post_plan(campaign, genesis, SECONDS)
        with under_way(made, campaign) as running:
            shown = until(made, plan, lambda now: len(now["voids"]) + len(now["confirmations"]) == 3)
            assert (shown["state"], list(shown["confirmations"])) == ("opening", [LIAR])
            refused(abort(made, plan), 409, "wrong-state")
            past_the_deadline(clock, plan)
            assert done(abort(made, plan))["close"]["body"]["cause"] == "aborted"
            outcomes = {name: one.result() for name, one in running.items()}
        assert {(one.ended, one.state.digest) for one in outcomes.values()} == {("closed", genesis)}
        assert LIAR in outcomes["partner-02"].report.accused
        monkeypatch.setattr(client_sdk.opening, "_seal_results", honest)
        made.post_plan(campaign, genesis, SECONDS, attempt=2)
        with under_way(made, campaign) as running:
            assert all(one.result().confirmed for one in running.values())


def test_a_service_that_says_void_without_votes_ends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = aggregator.api.rounds.document_bytes
    lying = threading.Event()
    lying.set()

    def lie(*of: Any) -> bytes:
        shown = json.loads(honest(*of))
        if lying.is_set() and shown["state"] == "opening":
            shown["state"] = "void"
        return json.dumps(shown).encode()

    monkeypatch.setattr(aggregator.api.rounds, "document_bytes", lie)
    told = Told()
    with chorus(tmp_path, 3) as (made, campaign, genesis, _):
        made.post_plan(campaign, genesis, SECONDS)

        def act(name: str) -> Outcome:
            with made.agent(name, progress=told) as agent:
                return take_part(agent, campaign)

        with under_way(made, campaign, act) as running:
            for one in running.values():
                with pytest.raises(NotEnoughOpenings, match="void votes signed by 3 of the 3"):
                    one.result()
        assert sum("and it is not" in text for text in told.notices) == 3
        lying.clear()
        with under_way(made, campaign) as running:
            assert all(one.result().confirmed for one in running.values())


def test_an_upload_that_a_crash_cut_off_before_its_first_message_ends_with_its_attempt(tmp_path: Path) -> None:
    """Ready on disk, unknown to the service, and too late: said, not raised at every start from then on."""
    told = Told()
    with chorus(tmp_path, 3) as (made, campaign, genesis, clock):
        plan = made.post_plan(campaign, genesis, SECONDS)

        def act(name: str) -> Outcome | None:
            with made.agent(name) as agent:
                for item in agent.attend(campaign, agent.current_state(campaign), take_part=True):
                    assert isinstance(item, Attempt)
                    joined = agent.join(item)
                    if name == LIAR:
                        client_sdk.upload.prepare(agent.partner, joined, values_for(name), 32768)
                        return None
                    agent.contribute(joined, values_for(name))
                    return agent.finish(joined)
                raise AssertionError("stopped")

        with under_way(made, campaign, act) as running:
            until(made, plan, lambda now: len(now["uploaded"]) == 2)
            assert running[LIAR].result() is None
            past_the_deadline(clock, plan)
        with made.agent(LIAR, progress=told) as agent:
            assert take_part(agent, campaign).ended == "closed"
        assert any("the upload is not taken any more" in text for text in told.notices)
