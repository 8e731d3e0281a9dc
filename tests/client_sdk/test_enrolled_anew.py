"""A partner that lost its folder: enrolled anew, caught up under a new charter, with what it had spent before."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from client_sdk.attempt import Outcome
from client_sdk.commands.ledgers import own_lines
from client_sdk.enrolment import accept_charter, enrol, offered_charter, other_keys, wait_for_approval
from client_sdk.model_state import ModelState, genesis
from client_sdk.partner import Partner
from privacy.errors import BadSignature, Conflict, NotAllowed, RolledBack
from privacy.ledger.verification import verify_export
from privacy.protocol.identifiers import OPERATOR
from privacy.protocol.messages import Campaign, UpdateRule
from privacy.protocol.signing import countersign
from tests.client_sdk.choir import SETTINGS, Choir, choir, outside, passphrase, take_part, together
from tests.consortium import SeededSource, done, refused

LOST = "partner-02"


@dataclass
class Found:
    """Four partners after two rounds, the second of which partner-02 was not in: its folder is gone.

    thief: its folder as it was, elsewhere, which answers to the same name.
    """

    choir: Choir
    campaign: Campaign
    state: ModelState
    thief: Path


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Found]:
    root = tmp_path_factory.mktemp("choir")
    with choir(root, size=4, n_min=3) as four:
        _, campaign, state = four.constitute()

        def act(name: str) -> Outcome:
            with four.agent(name) as agent:
                return take_part(agent, campaign)

        four.post_plan(campaign, state.digest)
        first = together(four.names, act)[LOST].state
        shutil.move(root / LOST, root / "thief")
        left = [name for name in four.names if name != LOST]
        four.post_plan(campaign, first.digest, (4, 60, 90), round=2)
        second = together(left, act)[left[0]].state
        (root / LOST).mkdir()
        text = SETTINGS.format(name=LOST, title=LOST.title(), url=four.url, patience=20.0)
        (root / LOST / "partner.toml").write_text(text)
        yield Found(four, campaign, second, root / "thief")


def invited(four: Choir) -> str:
    again = {"partner": LOST, "expires_in_seconds": 3600, "again": True}
    token: str = done(four.operator.post("/v1/invitations", again), 201)["token"]
    return token


def next_campaign(four: Choir, before: Campaign, state: ModelState) -> tuple[Campaign, ModelState]:
    """From the parameters that were confirmed under the charter before, boxed to everyone by the lead."""
    rule = UpdateRule(kind="sgd", learning_rate=0.5)
    fresh = genesis(rule, np.asarray(state.parameters), SeededSource("second genesis"))
    draft = before.model_copy(update={"charter": four.charter.digest, "genesis": fresh.digest})
    with four.agent(four.charter.lead) as lead:
        signed = lead.publish_genesis(draft, fresh)
    both = countersign(signed, OPERATOR, four._key)
    done(four.operator.post(f"/v1/campaigns/{draft.digest}/countersignature", both), 201)
    return draft, fresh


@pytest.mark.full
def test_it_takes_part_again_and_its_budget_remembers(found: Found) -> None:
    four = found.choir
    refused(four.operator.post("/v1/invitations", {"partner": LOST, "expires_in_seconds": 60}), 409, "conflict")
    token, older = invited(four), invited(four)

    # Pending: the former folder is cut off, the new one sees nothing but its own enrolment.
    enrol(four.config(LOST), token, outside(), passphrase)
    with Partner.open(found.thief / "partner.toml", outside(), passphrase) as former:
        with pytest.raises(BadSignature):
            former.service.campaigns()
    with four.partner(LOST) as partner:
        assert partner.service.enrolment_state(LOST) == "pending"
        with pytest.raises(NotAllowed, match="the operator approved"):
            partner.service.campaigns()
    # Another invitation of before names the enrolment that is replaced by now.
    other = four.root / "other"
    other.mkdir()
    shutil.copy(four.config(LOST), other)
    with pytest.raises(Conflict, match="sent first"):
        enrol(other / "partner.toml", older, outside(), passphrase)
    done(four.operator.post(f"/v1/enrolments/{LOST}/approval"))
    before = four.charter
    with four.partner(LOST) as partner:
        assert wait_for_approval(partner, 0)

    # A charter for a new epoch, which everyone accepts; the others are told whose keys changed.
    four.charter = four.draft_charter(epoch=2, previous=before.digest)
    for name in four.names:
        with four.partner(name) as partner:
            offered = offered_charter(partner)
            assert other_keys(partner, offered.charter) == (() if name == LOST else (LOST,))
            accept_charter(partner, offered, offered.charter.digest)
            accept_charter(partner, offered, offered.charter.digest)
    campaign, fresh = next_campaign(four, found.campaign, found.state)

    # Caught up: the state comes in the lead's box to the new result key.
    with four.agent(LOST) as agent:
        assert agent.current_state(campaign).digest == fresh.digest
        assert agent.partner.own_ledger.head.count == 0
    four.post_plan(campaign, fresh.digest)

    def act(name: str) -> Outcome:
        with four.agent(name) as agent:
            return take_part(agent, campaign)

    ended = together(four.names, act)
    assert len({outcome.state.digest for outcome in ended.values()}) == 1
    assert {outcome.ended for outcome in ended.values()} == {"confirmed"}

    # One charge under the former charter, taken over, and one under this; the file verifies.
    with four.partner(LOST) as partner:
        entries = partner.own_ledger.entries
        assert [(entry.kind, entry.charter) for entry in entries] == [
            ("recovered", before.digest),
            ("charge", four.charter.digest),
        ]
        assert sum(count for _, count in partner.own_ledger.budget(before).spent()) == 1
        assert sum(count for _, count in partner.own_ledger.budget(four.charter).spent()) == 1
        verified = verify_export(own_lines(partner), four.charter.digest)
        assert [charter.epoch for charter in verified.charters] == [1, 2]
    with four.partner("partner-01") as partner:
        assert partner.own_ledger.head.count == 3
        head = partner.ledger_watch.sync(partner.service)
    with four.partner(LOST) as partner:
        assert partner.ledger_watch.sync(partner.service) == head
    reasons = [line for line in four.operator.get("/v1/ledger").text.splitlines() if "enrolled anew" in line]
    assert len(reasons) == 1
    assert f'"participant":"{LOST}"' in reasons[0]

    # Another folder with the new keys and without that past is a copy, and stops as any does.
    with four.partner(LOST) as partner:
        with partner.journal.transaction("test") as database:
            database.execute("DELETE FROM own_ledger")
            database.execute("DELETE FROM attempt")
    with four.partner(LOST) as partner:
        with pytest.raises(RolledBack):
            partner.ledger_watch.sync(partner.service)
