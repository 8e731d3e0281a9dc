"""Adversary: whoever holds the operator's key, with the service. It wants partners to train under weaker terms than
they signed, from a model of its own choice, or each from another one ("eluding secure aggregation", arXiv
2111.07380). The plan checks, and a quorum's confirmations of the state a plan starts from, stop it before a join.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from client_sdk import campaigns, joining, states
from client_sdk.agent import Agent
from client_sdk.model_state import ModelState, genesis
from privacy.errors import ChoraleError, DigestMismatch, PolicyRefused, UnsafeParameters, WeakerThanCharter
from privacy.he.boxes import seal_box
from privacy.protocol.canonical import canonical, digest
from privacy.protocol.messages import (
    Cohort,
    CohortMember,
    Confirmation,
    Join,
    Plan,
    StateBox,
    VectorLayout,
    parse_signed,
)
from privacy.protocol.signing import sign
from tests.attacks.siege import Siege, besieged
from tests.client_sdk.choir import EVENT, PARAMETERS, PROBES
from tests.consortium import SeededSource, done

VICTIM = "partner-04"
LIAR = "partner-02"


@pytest.fixture(scope="module")
def siege(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Siege]:
    with besieged(tmp_path_factory.mktemp("siege")) as made:
        yield made


def another_state(siege: Siege, seed: str) -> ModelState:
    return genesis(siege.campaign.update_rule, np.ones(PARAMETERS), SeededSource(seed))


def served_instead(siege: Siege, plan: Plan, **changes: Any) -> Plan:
    """A plan by the operator's key that the honest service would not have taken, served to the victim."""
    other = plan.model_copy(update=changes)
    message = sign(other, "operator", siege.choir._key)

    def listed(shown: dict[str, Any]) -> None:
        for line in shown["rounds"]:
            line["round"] = other.digest if line["round"] == plan.digest else line["round"]

    siege.server.tell_json(f"/v1/campaigns/{siege.campaign.digest}/rounds", listed, [VICTIM])
    shown = siege.document(plan)
    shown.update(round=other.digest, plan=message.model_dump(mode="json"))
    siege.server.answer_instead(f"/v1/rounds/{other.digest}", canonical(shown), [VICTIM])
    return other


def refuses(siege: Siege, plan: Plan, error: type[ChoraleError]) -> None:
    before = siege.charges(VICTIM)

    def act(agent: Agent) -> None:
        with pytest.raises(error):
            siege.handed(agent, plan)

    siege.at(VICTIM, act)
    assert siege.charges(VICTIM) == before
    assert siege.record(VICTIM, plan) is None


WEAKER = {
    "less noise": {"event": EVENT.model_copy(update={"noise_multiplier": 1.9})},
    "larger gamma": {"event": EVENT.model_copy(update={"sampling_rate": 0.06})},
    "more steps": {"event": EVENT.model_copy(update={"kind": "local", "steps": 2})},
    "no noise": {"event": EVENT.model_copy(update={"kind": "none", "noise_multiplier": 0.0, "sampling_rate": 1.0})},
    "fewer probes": {"layout": VectorLayout(parameters=PARAMETERS, probes=PROBES - 1, lane_width=24, shift=8)},
    "a longer vector": {"layout": VectorLayout(parameters=PARAMETERS + 1, probes=PROBES, lane_width=24, shift=8)},
    "too little room in a lane": {
        "layout": VectorLayout(parameters=PARAMETERS, probes=PROBES, lane_width=12, shift=8)
    },
    "another charter": {"charter": "ab" * 32},
    "another campaign": {"campaign": "ab" * 32},
}


QUICK = ("less noise", "larger gamma", "fewer probes")


@pytest.mark.parametrize(
    "how", [how if how in QUICK else pytest.param(how, marks=pytest.mark.full) for how in WEAKER]
)
def test_a_plan_weaker_than_the_charter_is_not_joined(siege: Siege, how: str) -> None:
    with siege.attempt() as plan:
        error = UnsafeParameters if how == "too little room in a lane" else WeakerThanCharter
        refuses(siege, served_instead(siege, plan, **WEAKER[how]), error)


def test_n_min_and_c_come_from_the_pinned_charter_alone() -> None:
    """No plan can lower them: it has no field for them, and unknown fields are refused."""
    assert not {"n_min", "colluders", "quorum", "parameter_set", "a"} & set(Plan.model_fields)
    assert Plan.model_config["extra"] == "forbid"


def test_a_model_of_its_own_for_one_partner(siege: Siege) -> None:
    """The victim would train from a model made so that its gradient says more, or that others' gradients vanish."""
    with siege.attempt() as plan:
        chosen = another_state(siege, "chosen")
        refuses(siege, served_instead(siege, plan, base_state=chosen.digest), WeakerThanCharter)


def test_each_partner_a_plan_of_its_own_makes_no_cohort(siege: Siege) -> None:
    """Another model is another plan, so another R: the others' joins are for theirs, and fit no other."""
    with siege.attempt() as plan:
        others = [name for name in siege.names if name != VICTIM]
        apart = plan.model_copy(update={"attempt": plan.attempt + 1000})

        def only_join(agent: Agent) -> Join:
            attempt = siege.handed(agent, plan)
            message = joining._own_join(agent.partner, attempt, None)
            agent.partner.service.join(message)
            return message.body

        siege.at(VICTIM, only_join)
        siege.join(plan, others)
        shown = done(siege.choir.operator.get(f"/v1/rounds/{plan.digest}/cohort"))
        joins = {join["body"]["partner"]: parse_signed(Join, canonical(join)) for join in shown["joins"]}
        for name in others:
            key = siege.at(name, lambda agent: agent.partner.keys.signing)
            joins[name] = sign(joins[name].body.model_copy(update={"plan": apart.digest}), name, key)
        members = tuple(CohortMember(partner=name, join=joins[name].digest) for name in sorted(joins))
        cohort = siege.by_server(Cohort(charter=plan.charter, plan=plan.digest, members=members))
        siege.show_cohort(plan, cohort, list(joins.values()), [VICTIM])

        def act(agent: Agent) -> None:
            with pytest.raises(WeakerThanCharter):
                joining.accept(agent.partner, agent.partner.service.round(plan.digest))

        siege.at(VICTIM, act)


def boxed(siege: Siege, state: ModelState, named: str) -> tuple[StateBox, bytes]:
    """What the liar signs and seals for the victim: a state, under the hash of the same or of another."""
    campaign = siege.campaign.digest
    info = states._info(campaign, LIAR, VICTIM, named)
    box = seal_box(bytes.fromhex(siege.charter.entry(VICTIM).result_key), info, state.to_bytes())
    body = StateBox(
        charter=siege.charter.digest,
        campaign=campaign,
        sender=LIAR,
        receiver=VICTIM,
        state=named,
        box=digest(box),
    )
    return body, box


def test_a_state_that_no_quorum_confirmed_is_not_taken_by_a_late_joiner(siege: Siege) -> None:
    """Service and a malicious partner: a boxed state, forged confirmations, and a document that says confirmed."""
    with siege.attempt() as plan:
        siege.sealed(plan)
        chosen = another_state(siege, "for the late")
        key = siege.at(LIAR, lambda agent: agent.partner.keys.signing)
        true = siege.seal_of(plan)

        def confirmation(name: str) -> dict[str, Any]:
            body = Confirmation(
                charter=plan.charter,
                plan=plan.digest,
                seal=true.digest,
                partner=name,
                state=chosen.digest,
                fingerprints=(),
                checkpoint={"count": 0, "head": "00" * 32},  # type: ignore[arg-type]
                probes=None,
            )
            return sign(body, name, key).model_dump(mode="json")

        def confirmed(shown: dict[str, Any]) -> None:
            shown["state"] = "confirmed"
            shown["confirmations"] = dict.fromkeys(siege.names, chosen.digest)

        def confirmations(shown: dict[str, Any]) -> None:
            shown["confirmations"] = [confirmation(name) for name in siege.names]

        siege.server.tell_json(f"/v1/rounds/{plan.digest}", confirmed, [VICTIM])
        siege.server.tell_json(f"/v1/rounds/{plan.digest}/confirmations", confirmations, [VICTIM])
        body, box = boxed(siege, chosen, chosen.digest)
        listed = canonical({"boxes": [sign(body, LIAR, key).model_dump(mode="json")]})
        path = f"/v1/campaigns/{siege.campaign.digest}/state-boxes/{chosen.digest}"
        siege.server.answer_instead(path, listed, [VICTIM])
        siege.server.answer_instead(f"{path}/{LIAR}", box, [VICTIM])

        def act(agent: Agent) -> None:
            with pytest.raises(ChoraleError, match="confirm"):
                campaigns.fetch_state(agent.partner, siege.campaign, chosen.digest)
            assert states.StateFolder(agent.partner, siege.campaign.digest).find(chosen.digest) is None

        siege.at(VICTIM, act)


def test_another_state_under_the_hash_that_was_asked_for(siege: Siege) -> None:
    """A malicious partner answers a state-request with a state of its own, well boxed and signed."""
    wanted, chosen = siege.state, another_state(siege, "sent")
    body, box = boxed(siege, chosen, wanted.digest)

    def post(agent: Agent) -> None:
        agent.partner.service.post_state_box(agent.partner.sign(body), box)

    def liars_alone(shown: dict[str, Any]) -> None:
        shown["boxes"] = [box for box in shown["boxes"] if box["body"]["sender"] == LIAR]

    def act(agent: Agent) -> None:
        held = agent.folder / "states" / f"{wanted.digest}.state"
        held.rename(held.with_suffix(".lost"))
        with pytest.raises(DigestMismatch, match=LIAR):
            states.fetch(agent.partner, siege.campaign, wanted.digest)
        held.with_suffix(".lost").rename(held)

    siege.at(VICTIM, lambda agent: states.request(agent.partner, siege.campaign, wanted.digest))
    siege.at(LIAR, post)
    path = f"/v1/campaigns/{siege.campaign.digest}/state-boxes/{wanted.digest}"
    siege.server.tell_json(path, liars_alone, [VICTIM])
    siege.at(VICTIM, act)
    siege.server.be_honest()


def test_who_asks_for_a_state_that_may_not_be_sent_stops_nobody(siege: Siege) -> None:
    """A malicious partner knows the hash of what the victim has decoded from its confirmation, before t have signed
    it. The service takes no box of it; the victim answers what else was asked, and goes on."""
    chosen = another_state(siege, "held, and not confirmed")
    siege.at(LIAR, lambda agent: states.request(agent.partner, siege.campaign, chosen.digest))

    def act(agent: Agent) -> int:
        states.StateFolder(agent.partner, siege.campaign.digest).keep(chosen)
        return agent.serve_states(siege.campaign)

    assert siege.at(VICTIM, act) == 0
    listed = siege.at(
        LIAR, lambda agent: agent.partner.service.state_boxes(siege.campaign.digest, chosen.digest, 0)
    )
    assert list(listed) == []


@pytest.mark.full
def test_the_stolen_operators_key_lifts_no_partners_policy(siege: Siege) -> None:
    """Attempt after attempt of plans within the charter: the partner's own stop is lifted on its machine alone."""
    for resumed in (True, False):
        with siege.attempt(resumed=resumed) as plan:
            siege.join(plan)
    with siege.attempt(resumed=False) as plan:
        refuses(siege, plan, PolicyRefused)
