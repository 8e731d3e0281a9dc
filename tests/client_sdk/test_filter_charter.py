"""A whole consortium under a Renyi filter: a round over HTTP, both ledgers, and the refusal on either side."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from client_sdk.attempt import Outcome
from client_sdk.commands.budgets import own_budget
from client_sdk.policy import Policy
from privacy.dp.events import PrivacyEvent, TableRow
from privacy.errors import BudgetExhausted, ChoraleError, PolicyRefused
from privacy.ledger.verification import verify_own_export
from tests.client_sdk.choir import EVENT, STATISTICS, Choir, choir, take_part, together
from tests.consortium import done, refused

STRONG = PrivacyEvent(kind="distributed", noise_multiplier=0.3, sampling_rate=0.5, steps=1)
"""Twice that passes the caps of 20 and 50; once it fits."""
TABLE = (
    TableRow(name="statistics", event=STATISTICS, count=2),
    TableRow(name="strong", event=STRONG, count=500),
)


def play(singers: Choir, act_on: object, campaign: object) -> dict[str, Outcome]:
    def act(name: str) -> Outcome:
        with singers.agent(name) as agent:
            return take_part(agent, campaign)  # type: ignore[arg-type]

    return together(singers.names, act)


def test_a_round_under_a_filter_and_then_its_refusal_everywhere(tmp_path: Path) -> None:
    with choir(tmp_path) as three:
        charter, campaign, state = three.constitute(table=TABLE, filter_order=4)
        kept = charter.filter_for(three.names[0])
        assert kept is not None
        fits = kept.room_for((), STRONG)
        assert fits == 1
        first = three.post_plan(campaign, state.digest, event=STRONG)
        outcomes = play(three, first, campaign)
        after = {outcome.state.digest for outcome in outcomes.values()}
        assert len(after) == 1
        assert all(outcome.confirmed for outcome in outcomes.values())
        shown = done(three.operator.get("/v1/budget"))["participants"]
        for participant in shown:
            rows = {row["name"]: row for row in participant["rows"]}
            assert (rows["strong"]["charged"], rows["strong"]["count"], rows["strong"]["left"]) == (1, 500, 0)
        with three.partner(three.names[0]) as partner:
            own = own_budget(partner)
            assert own.rounds_left == 0
            charges = partner.own_ledger
            verify_own_export(charges.lines(), charges.head, charters={charter.digest: charter})
        second = three.post_plan(campaign, after.pop(), round=2, event=STRONG)
        with three.partner(three.names[0]) as partner:
            policy = Policy(partner.settings, partner.journal, partner.own_ledger)
            with pytest.raises(BudgetExhausted, match="filter of order 4"):
                policy.check_plan(second, charter)
            weaker = second.model_copy(update={"event": STATISTICS, "round": 3})
            with pytest.raises(BudgetExhausted):
                partner.own_ledger.next_charge(second, charter, 0)
            assert partner.own_ledger.next_charge(weaker, charter, 0) is not None or not kept.has_room(
                ((STRONG, 1), (STATISTICS, 1))
            )
