"""One attack for each rule that a partner asks before it signs, joins, trains, and believes in an end (protocol
4.0, 4.1, 4.5), made so that nothing but that rule stops it (`make mutate-checks`).

Adversary: the service with its signing key, whoever holds the operator's key, and *gamma*, a colluder. Real keys
and messages; no network: the same lies told over HTTP are in the other files here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from privacy.errors import ChoraleError
from privacy.protocol.cohort_checks import check_cohort
from privacy.protocol.ending_checks import check_close, check_void
from privacy.protocol.messages import ChainHead, CharterAcceptance, Close, Cohort, Deadlines, Join, Signed, VoidVote
from privacy.protocol.plan_checks import check_acceptances, check_plan
from privacy.protocol.signing import SigningKey, Verifier, sign
from tests.privacy.protocol.sealed_attempt import (
    EVENT,
    KEYS,
    OPERATOR_KEY,
    PARTNERS,
    SERVER_KEY,
    make_campaign,
    make_charter,
    make_cohort,
    make_joins,
    make_plan,
)

VICTIM = "alpha"
COLLUDER = "gamma"
OTHER = "77" * 32

# --- what is signed, joined and trained for (4.0, 4.1) ----------------------------------------------------

CHARTER = make_charter()
CAMPAIGN = make_campaign(CHARTER)
PLAN = make_plan(CHARTER, CAMPAIGN.body)
JOINS = make_joins(CHARTER, PLAN)


@dataclass(frozen=True)
class PlanAttack:
    """Of the operator's key unless `key` says otherwise. `wants` is what a partner would have trained under."""

    wants: str
    changes: Mapping[str, Any]
    key: SigningKey = OPERATOR_KEY


PLANS = (
    PlanAttack("rounds by whoever has the service", {}, SERVER_KEY),
    PlanAttack("rounds by a colluder", {}, KEYS[COLLUDER]),
    PlanAttack("the terms of another charter", {"charter": OTHER}),
    PlanAttack("the clip of another campaign", {"campaign": OTHER}),
    PlanAttack("less noise", {"event": EVENT.model_copy(update={"noise_multiplier": 0.99})}),
    PlanAttack("a larger part of the records", {"event": EVENT.model_copy(update={"sampling_rate": 0.11})}),
    PlanAttack("a gradient called a statistic", {"kind": "statistics"}),
    PlanAttack("coordinates of its own", {"layout": PLAN.layout.model_copy(update={"parameters": 101})}),
    PlanAttack("noise that nobody can measure", {"layout": PLAN.layout.model_copy(update={"probes": 1023})}),
    PlanAttack(
        "uploads after the end",
        {"deadlines": Deadlines(join=1000, upload=4000, open=3000)},
    ),
)


def test_the_honest_plan_of_these_attacks_is_joined() -> None:
    assert check_plan(sign(PLAN, "operator", OPERATOR_KEY), CHARTER, CAMPAIGN.body, Verifier()) == PLAN


@pytest.mark.parametrize("attack", PLANS, ids=lambda attack: attack.wants)
def test_a_plan_that_takes_more_than_was_signed_is_not_joined(attack: PlanAttack) -> None:
    signed = sign(PLAN.model_copy(update=dict(attack.changes)), "operator", attack.key)
    with pytest.raises(ChoraleError):
        check_plan(signed, CHARTER, CAMPAIGN.body, Verifier())


def accepted(name: str, charter: str = CHARTER.digest, key: SigningKey | None = None) -> Signed[CharterAcceptance]:
    return sign(CharterAcceptance(charter=charter, partner=name), name, key or KEYS[name])


@pytest.mark.parametrize(
    "last",
    [
        {},
        {"delta": accepted("delta", OTHER)},
        {"delta": accepted("delta", key=OPERATOR_KEY)},
        {"delta": accepted("beta")},
    ],
    ids=["none", "of another charter", "by the operator", "another's a second time"],
)
def test_a_charter_that_one_partner_did_not_sign_is_in_force_for_nobody(
    last: dict[str, Signed[CharterAcceptance]],
) -> None:
    """Service and operator's key: a charter for which delta never compared the words."""
    honest = {name: accepted(name) for name in PARTNERS}
    check_acceptances(CHARTER, honest, Verifier())
    del honest["delta"]
    with pytest.raises(ChoraleError):
        check_acceptances(CHARTER, {**honest, **last}, Verifier())


def trained_for(joins: Mapping[str, Signed[Join]], seen: Mapping[str, int], **changes: Any) -> Cohort:
    key = changes.pop("key", SERVER_KEY)
    body = make_cohort(CHARTER, PLAN, dict(joins)).model_copy(update=changes)
    return check_cohort(sign(body, "server", key), joins, PLAN, CHARTER, seen, Verifier())[0]


def joined(name: str, key: SigningKey, **changes: Any) -> dict[str, Signed[Join]]:
    return {**JOINS, name: sign(JOINS[name].body.model_copy(update=changes), name, key)}


SMALL_ORDER = JOINS["beta"].body.round_key[:-64] + "00" * 32
COHORTS: Mapping[str, Callable[[], object]] = {
    # Service: it opens the boxes that go to a key of its own.
    "a round key of the service's in an honest name": lambda: trained_for(joined("beta", SERVER_KEY), {}),
    # Service: a round key of then may have leaked since.
    "a join of another attempt": lambda: trained_for(joined("beta", KEYS["beta"], plan=OTHER), {}),
    # Colluder: nobody can seal to it, so nobody uploads, and all are charged.
    "a key to which nothing can be sealed": lambda: trained_for(
        joined(COLLUDER, KEYS[COLLUDER], round_key=SMALL_ORDER), {}
    ),
    # A thief with an older copy of beta's folder: it would open a second set.
    "a member whose ledger has shrunk": lambda: trained_for(JOINS, {"beta": 6}),
    # Service: a sum of too few.
    "fewer than n_min": lambda: trained_for({name: JOINS[name] for name in (VICTIM, COLLUDER)}, {}),
    "a cohort by the operator's key": lambda: trained_for(JOINS, {}, key=OPERATOR_KEY),
    "the cohort of another attempt": lambda: trained_for(JOINS, {}, plan=OTHER),
}


@pytest.mark.parametrize("how", COHORTS)
def test_a_cohort_that_is_not_what_its_members_signed_is_not_trained_for(how: str) -> None:
    trained_for(joined("beta", KEYS["beta"], ledger=ChainHead(count=9, head="44" * 32)), {"beta": 9})
    with pytest.raises(ChoraleError):
        COHORTS[how]()


# --- the end of an attempt (4.5) --------------------------------------------------------------------------

COHORT = make_cohort(CHARTER, PLAN, JOINS)
SEAL = "44" * 32


def vote(name: str, key: SigningKey | None = None, **changes: str) -> Signed[VoidVote]:
    fields = {"charter": CHARTER.digest, "plan": PLAN.digest, "seal": SEAL, "partner": name, "reason": "no"}
    return sign(VoidVote.model_validate({**fields, "openings": (), **changes}), name, key or KEYS[name])


@pytest.mark.parametrize(
    "votes",
    [
        (),
        (vote("beta"), vote(COLLUDER)),
        (vote("beta"), vote(COLLUDER), vote(COLLUDER, reason="once more")),
        (vote("beta"), vote(COLLUDER), vote("delta", SERVER_KEY)),
        (vote("beta"), vote(COLLUDER), vote("delta", seal=OTHER)),
    ],
    ids=["none", "two of four", "one twice", "one by the service", "one on another seal"],
)
def test_the_service_says_void_with_fewer_than_a_quorum(votes: tuple[Signed[VoidVote], ...]) -> None:
    """Service and colluders: partners drop a sum that others apply, and are charged for the next attempt."""
    assert check_void(map(vote, PARTNERS[1:]), PLAN, COHORT, SEAL, CHARTER, Verifier())
    with pytest.raises(ChoraleError):
        check_void(votes, PLAN, COHORT, SEAL, CHARTER, Verifier())


@pytest.mark.parametrize("key", [OPERATOR_KEY, KEYS[COLLUDER]], ids=["the operator's", "a colluder's"])
def test_a_close_by_any_other_key_than_the_services_ends_nothing(key: SigningKey) -> None:
    body = Close(charter=CHARTER.digest, plan=PLAN.digest, cause="not-opened", reason="2 of 3")
    assert check_close(sign(body, "server", SERVER_KEY), PLAN, CHARTER, Verifier()) == body
    with pytest.raises(ChoraleError):
        check_close(sign(body, "server", key), PLAN, CHARTER, Verifier())
