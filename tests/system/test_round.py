"""Real processes on loopback: one service, three partners, plain integers; each is killed with -9 in turn.

With three partners the quorum is three: no round could end here without the one that was killed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from aggregator.storage.folder import create_server_folder
from privacy.protocol.signing import SigningKey
from privacy.randomness import SystemRandom
from tests.client_sdk.choir import Choir
from tests.consortium import SeededSource
from tests.system.processes import exact_sum, outcome, phase, serving, start, wait_until_healthy


@pytest.mark.system
def test_three_partners_and_a_service_that_are_killed_in_turn(tmp_path: Path) -> None:
    operator = SigningKey.generate(SeededSource("operator key"))
    create_server_folder(tmp_path / "server", operator.public, SystemRandom())
    with serving(tmp_path / "server") as (service, url):
        three = Choir(tmp_path, url, operator, patience=40.0)
        _, campaign, state = three.constitute()
        partners = {name: start(three, name, campaign, until=2) for name in three.names}
        try:
            # Round 1: each partner is killed at another place, and started again.
            three.post_plan(campaign, state.digest, (40, 60, 80))
            victims = dict(zip(three.names, ("seal", "open", "confirm"), strict=True))
            for name, place in victims.items():
                partners[name].wait_for(phase(place))
                partners[name].kill()
                partners[name].start()
            ends = {name: partners[name].wait_for(outcome(1)) for name in three.names}
            reached = check(three, ends, 1)
            # Round 2: the service dies while uploads come in, and is started again on the same folder.
            three.post_plan(campaign, reached, (40, 60, 80), round=2)
            partners[three.names[0]].wait_for(phase("upload"))
            service.kill()
            service.start()
            wait_until_healthy(url)
            check(three, {name: partners[name].wait_for(outcome(2)) for name in three.names}, 2)
            assert all(partner.succeeded() for partner in partners.values())
        finally:
            for partner in partners.values():
                partner.end()
        for name in three.names:
            with three.partner(name) as opened:
                opened.ledger_watch.sync(opened.service)
                assert opened.own_ledger.head.count == 2


def check(three: Choir, ends: dict[str, dict[str, Any]], round_number: int) -> str:
    """Everyone confirmed one state; whoever decoded in that process got the exact sum. Gives the state."""
    exact = exact_sum(three.names)
    assert {end["outcome"] for end in ends.values()} == {"confirmed"}
    assert len({end["state"] for end in ends.values()}) == 1
    # A partner that was killed after it had confirmed has the state on disk, and opens no sum again.
    assert {end["values"] for end in ends.values()} <= {exact, None}
    assert exact in {end["values"] for end in ends.values()}
    assert all(end["round"] == round_number for end in ends.values())
    return str(next(iter(ends.values()))["state"])
