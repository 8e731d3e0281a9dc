"""Whole rounds by real partner folders against the real service, in one process."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from client_sdk.attempt import Outcome
from tests.client_sdk.choir import choir, take_part, together, values_for


def test_a_round_opens_to_the_exact_sum_and_everyone_reaches_the_same_state(tmp_path: Path) -> None:
    with choir(tmp_path) as three:
        _, campaign, state = three.constitute()
        three.post_plan(campaign, state.digest)

        def act(name: str) -> Outcome:
            with three.agent(name) as agent:
                return take_part(agent, campaign)

        outcomes = together(three.names, act)
        expected = sum(values_for(name).astype(np.int64) for name in three.names)
        assert len({outcome.state.digest for outcome in outcomes.values()}) == 1
        for outcome in outcomes.values():
            assert outcome.confirmed
            assert np.array_equal(outcome.values, expected)
            assert outcome.report.contributors == tuple(three.names)
            assert outcome.report.bulk_up > 0
            assert outcome.state.round == 1
