"""An attempt is void by the votes of a quorum on its seal, closed by the server's signature; by nothing less."""

from __future__ import annotations

import pytest

from privacy.errors import BadSignature, ChoraleError, DigestMismatch, NotEnoughOpenings, NotFound
from privacy.protocol.ending_checks import check_close, check_void
from privacy.protocol.messages import Close, Cohort, Plan, Signed, VoidVote
from privacy.protocol.signing import SigningKey, Verifier, sign
from tests.privacy.protocol.sealed_attempt import (
    KEYS,
    PARTNERS,
    SERVER_KEY,
    key,
    make_campaign,
    make_charter,
    make_cohort,
    make_joins,
    make_plan,
)

SEAL, OTHER = "44" * 32, "55" * 32
CHARTER = make_charter()
PLAN: Plan = make_plan(CHARTER, make_campaign(CHARTER).body)
COHORT: Cohort = make_cohort(CHARTER, PLAN, make_joins(CHARTER, PLAN))


def vote(name: str, signer: SigningKey | None = None, **changes: object) -> Signed[VoidVote]:
    fields = {"charter": CHARTER.digest, "plan": PLAN.digest, "seal": SEAL, "partner": name, "openings": ()}
    body = VoidVote.model_validate({**fields, "reason": "nothing decodes", **changes})
    return sign(body, name, signer or KEYS[name])


def check(*votes: Signed[VoidVote], cohort: Cohort = COHORT) -> tuple[str, ...]:
    return check_void(votes, PLAN, cohort, SEAL, CHARTER, Verifier())


def test_a_quorum_of_votes_makes_it_void() -> None:
    assert check(*map(vote, PARTNERS[:3])) == PARTNERS[:3]


@pytest.mark.parametrize("count", [0, 1, 2])
def test_fewer_do_not_however_often_they_are_shown(count: int) -> None:
    with pytest.raises(NotEnoughOpenings, match=f"3 of the 4 members of the cohort; came {count}"):
        check(*map(vote, PARTNERS[:count]), *map(vote, PARTNERS[:count]))


@pytest.mark.parametrize(
    "false",
    [
        vote("gamma", key(99)),
        vote("gamma", seal=OTHER),
        vote("gamma", plan=OTHER),
        vote("gamma", charter=OTHER),
    ],
    ids=["another's key", "another seal", "another attempt", "another charter"],
)
def test_a_vote_that_is_not_the_members_on_this_seal_is_noticed(false: Signed[VoidVote]) -> None:
    with pytest.raises(BadSignature):
        check(*map(vote, PARTNERS[:3]), false)


def test_only_members_of_the_cohort_vote() -> None:
    three = COHORT.model_copy(update={"members": COHORT.members[:3]})
    with pytest.raises(BadSignature, match="one by gamma"):
        check(*map(vote, PARTNERS[1:]), cohort=three)


def close(signer: SigningKey = SERVER_KEY, **changes: str) -> Signed[Close]:
    fields = {"charter": CHARTER.digest, "plan": PLAN.digest, "cause": "not-opened", "reason": "2 of 3"}
    return sign(Close.model_validate({**fields, **changes}), "server", signer)


def test_the_server_closes_what_it_signs() -> None:
    assert check_close(close(), PLAN, CHARTER, Verifier()).cause == "not-opened"


@pytest.mark.parametrize(
    ("false", "error"),
    [
        (None, NotFound),
        (close(key(99)), BadSignature),
        (close(plan=OTHER), DigestMismatch),
        (close(charter=OTHER), DigestMismatch),
    ],
)
def test_nothing_else_closes_it(false: Signed[Close] | None, error: type[ChoraleError]) -> None:
    with pytest.raises(error):
        check_close(false, PLAN, CHARTER, Verifier())
