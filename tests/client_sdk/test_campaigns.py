"""A campaign is signed once under a name; campaigns of earlier charters stand in nobody's way."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from client_sdk.campaign_signing import sign_once
from client_sdk.enrolment import accept_charter, offered_charter
from privacy.errors import ConfigurationError, Conflict, NotFound, WrongState
from privacy.protocol.identifiers import OPERATOR
from privacy.protocol.messages import Campaign
from privacy.protocol.signing import countersign, sign
from tests.client_sdk.choir import Choir, choir
from tests.consortium import done, refused

FILE = """
name = "{name}"
clip = 0.5
denominator = 100.0
genesis = "fresh"
state = "initial.pt"
[update_rule]
kind = "sgd"
learning_rate = {rate}
"""


def written(folder: Path, name: str = "activity", rate: float = 0.01, size: int = 40) -> Path:
    folder.mkdir(exist_ok=True)
    torch.save({"weight": torch.zeros(size)}, folder / "initial.pt")
    (folder / "campaign.toml").write_text(FILE.format(name=name, rate=rate))
    return folder / "campaign.toml"


def put_in_force(made: Choir, campaign: Campaign) -> None:
    lead = made.charter.lead
    with made.partner(lead) as partner:
        both = countersign(sign(campaign, lead, partner.keys.signing), OPERATOR, made._key)
    done(made.operator.post(f"/v1/campaigns/{campaign.digest}/countersignature", both), 201)


def test_the_same_file_again_is_the_same_campaign_and_another_of_its_name_is_refused(tmp_path: Path) -> None:
    with choir(tmp_path) as made:
        _, trunk, _ = made.constitute()
        path = written(tmp_path / "one")
        with made.agent(made.charter.lead) as lead:
            first = sign_once(lead, path)
            assert sign_once(lead, path) == first
            for other in (
                written(tmp_path / "two", rate=0.02),
                written(tmp_path / "three", size=41),
            ):
                with pytest.raises(Conflict, match="a name of its own"):
                    sign_once(lead, other)
            second = first.model_copy(update={"clip": 0.7})
            signed = lead.partner.sign(second)
        listed = done(made.operator.get("/v1/campaigns"))["campaigns"]
        assert [line["campaign"] for line in listed] == [trunk.digest, first.digest]
        with made.partner(made.charter.lead) as partner:
            with pytest.raises(Conflict, match="one campaign called 'activity'"):
                partner.service.post_campaign(signed)
        put_in_force(made, first)
        with made.agent("partner-02") as agent:
            assert agent.find_campaign("activity") == first
            assert agent.fetch_state(first, first.genesis).digest == first.genesis
            with pytest.raises(ConfigurationError, match="trunk, activity; name one"):
                agent.find_campaign(None)


def test_no_name_is_used_up_before_the_charter_is_in_force(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with choir(tmp_path) as made:
        made.constitute()
        with made.agent(made.charter.lead) as lead:
            service = lead.partner.service
            signed, acceptances, _ = service.latest_charter()
            with monkeypatch.context() as early:
                early.setattr(service, "latest_charter", lambda: (signed, acceptances, False))
                with pytest.raises(WrongState, match="not in force"):
                    sign_once(lead, written(tmp_path / "early"))
            assert sign_once(lead, written(tmp_path / "changed", rate=0.02)).name == "activity"


def test_a_crash_between_drafting_and_posting_ends_with_one_campaign(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with choir(tmp_path) as made:
        made.constitute()
        path = written(tmp_path / "one")
        with made.agent(made.charter.lead) as lead, monkeypatch.context() as patched:
            patched.setattr(lead, "publish_genesis", lambda *what: (_ for _ in ()).throw(KeyboardInterrupt))
            with pytest.raises(KeyboardInterrupt):
                sign_once(lead, path)
        with made.agent(made.charter.lead) as lead:
            campaign = sign_once(lead, path)
        assert [line["name"] for line in done(made.operator.get("/v1/campaigns"))["campaigns"]] == [
            "trunk",
            "activity",
        ]
        put_in_force(made, campaign)
        with made.agent("partner-03") as agent:
            assert agent.fetch_state(campaign, campaign.genesis).digest == campaign.genesis


def test_a_campaign_of_an_earlier_charter_stands_in_nobodys_way(tmp_path: Path) -> None:
    with choir(tmp_path) as made:
        before, trunk, _ = made.constitute()
        made.charter = made.draft_charter(epoch=2, previous=before.digest)
        for name in made.names:
            with made.partner(name) as partner:
                offered = offered_charter(partner)
                accept_charter(partner, offered, offered.charter.digest)
        with made.agent("partner-02") as agent, pytest.raises(NotFound, match="came none"):
            agent.find_campaign(None)
        _, again = made.make_campaign()
        assert again.name == trunk.name
        with made.agent("partner-02") as agent:
            assert agent.find_campaign(None) == again
            assert agent.find_campaign("trunk") == again


def test_only_the_lead_proposes(tmp_path: Path) -> None:
    with choir(tmp_path) as made:
        _, trunk, _ = made.constitute()
        with made.partner("partner-02") as partner:
            other = trunk.model_copy(update={"name": "branch"})
            answer = made.operator.post("/v1/campaigns", partner.sign(other))
        refused(answer, 403, "not-allowed")
