"""Five partners' processes and a service on loopback: one is killed after its upload, and comes back late.

With five partners and c = 1 the quorum is four of five, so every round here ends without the absent one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from aggregator.storage.folder import create_server_folder
from privacy.protocol.canonical import canonical
from privacy.protocol.messages import Campaign, Plan, Seal, parse_signed
from privacy.protocol.signing import SigningKey
from privacy.randomness import SystemRandom
from tests.client_sdk.choir import Choir
from tests.consortium import SeededSource
from tests.system.processes import Process, exact_sum, mapped, outcome, phase, serving, start

ABSENT = "partner-03"
SECRET_SIDE = ("tenseal", "torch", "opacus")
# Long enough for four processes on two loaded cores; the round waits for all of it.
JOIN_SECONDS = 10


@pytest.mark.system
def test_an_absent_partner_holds_nobody_up_and_catches_up_alone(tmp_path: Path) -> None:
    operator = SigningKey.generate(SeededSource("operator key"))
    create_server_folder(tmp_path / "server", operator.public, SystemRandom())
    with serving(tmp_path / "server") as (service, url):
        five = Choir(tmp_path, url, operator, size=5, patience=40.0)
        _, campaign, genesis = five.constitute()
        present = [name for name in five.names if name != ABSENT]
        partners = {name: start(five, name, campaign, until=2) for name in present}
        # "seal" begins once the upload has its receipt.
        partners[ABSENT] = start(five, ABSENT, campaign, until=2, die_at="seal")
        try:
            first = five.post_plan(campaign, genesis.digest, (60, 90, 120))
            reached = check_killed_after_upload(five, first, partners, present)
            assert mapped(partners[present[0]].group()[0], SECRET_SIDE) == ["tenseal"]
            second = five.post_plan(campaign, reached, (JOIN_SECONDS, 60, 90), round=2)
            reached = check_never_joined(five, second, partners, present)
            partners[ABSENT] = start(five, ABSENT, campaign, until=2)
            check_late(five, (first, second), partners[ABSENT], reached)
            assert all(partner.succeeded() for partner in partners.values())
            check_blind(service)
        finally:
            for partner in partners.values():
                partner.end()
        check_folders(five, campaign, reached)


def check_killed_after_upload(five: Choir, plan: Plan, partners: dict[str, Process], present: list[str]) -> str:
    """The upload of the one that was killed counts, and the others open it. Gives the state."""
    partners[ABSENT].wait_for(phase("seal"))
    assert partners[ABSENT].killed_itself()
    reached = check_outcomes({name: partners[name].wait_for(outcome(1)) for name in present}, five.names)
    document = five.document(plan)
    assert contributors(document) == five.names
    assert document["openings"] == present
    assert document["confirmations"] == dict.fromkeys(present, reached)
    return reached


def check_never_joined(five: Choir, plan: Plan, partners: dict[str, Process], present: list[str]) -> str:
    """The round begins at its join deadline without the absent one. Gives the state."""
    reached = check_outcomes({name: partners[name].wait_for(outcome(2)) for name in present}, present)
    document = five.document(plan)
    assert document["joined"] == present
    assert contributors(document) == present
    assert document["confirmations"] == dict.fromkeys(present, reached)
    return reached


def check_late(five: Choir, plans: tuple[Plan, Plan], late: Process, reached: str) -> None:
    """The one that was away decodes both stored sums, the one with its upload and the one without, and confirms."""
    present = [name for name in five.names if name != ABSENT]
    check_outcomes({ABSENT: late.wait_for(outcome(1))}, five.names)
    assert check_outcomes({ABSENT: late.wait_for(outcome(2))}, present) == reached
    for plan in plans:
        confirmations = five.document(plan)["confirmations"]
        assert sorted(confirmations) == five.names
        assert len(set(confirmations.values())) == 1


def check_outcomes(ends: dict[str, dict[str, Any]], summed: list[str]) -> str:
    """Everyone opened the exact sum of `summed`'s contributions, and reached one state. Gives the state."""
    assert {end["outcome"] for end in ends.values()} == {"confirmed"}
    assert {end["values"] for end in ends.values()} == {exact_sum(summed)}
    assert len({end["state"] for end in ends.values()}) == 1
    return str(next(iter(ends.values()))["state"])


def contributors(document: dict[str, Any]) -> list[str]:
    """U, as the seal has it."""
    return list(parse_signed(Seal, canonical(document["seal"])).body.partners)


def check_blind(service: Process) -> None:
    """After two sums neither the service nor its workers have anything in memory that could decrypt or train."""
    processes = service.group()
    assert len(processes) > 1, "the service sums in a process of its own"
    assert any("numpy" in mapped(process, ("numpy",)) for process in processes)
    assert [mapped(process, SECRET_SIDE) for process in processes] == [[]] * len(processes)


def check_folders(five: Choir, campaign: Campaign, reached: str) -> None:
    """All stand on one state, and each own ledger holds the attempts that its partner joined."""
    for name in five.names:
        with five.agent(name) as agent:
            assert agent.current_state(campaign).digest == reached
            agent.partner.ledger_watch.sync(agent.partner.service)
            assert agent.partner.own_ledger.head.count == (1 if name == ABSENT else 2)
