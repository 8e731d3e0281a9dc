"""Each of the seven checks of protocol 4.4 refuses what it is there for, with its own number, and nothing else."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from privacy.errors import CheckRefused, ChoraleError, DigestMismatch, NotFound, TooLarge
from privacy.protocol.messages import Contributor, Signed
from privacy.protocol.opening_checks import OpeningRequest, OwnUpload, check_opening
from privacy.protocol.signing import Verifier, sign
from tests.privacy.protocol.sealed_attempt import (
    KEYS,
    OPERATOR_KEY,
    PARTNERS,
    ROUND_KEYS,
    SealedAttempt,
    box_for,
    make_attempt,
    make_manifest,
)


@pytest.fixture
def attempt() -> SealedAttempt:
    return make_attempt()


def check(attempt: SealedAttempt, request: OpeningRequest) -> dict[str, np.ndarray]:
    key = ROUND_KEYS["alpha"]
    return check_opening(request, lambda dealer: attempt.boxes[dealer, "alpha"], key, Verifier())


def refused(attempt: SealedAttempt, number: int, request: OpeningRequest) -> None:
    with pytest.raises(CheckRefused) as caught:
        check(attempt, request)
    assert caught.value.number == number, str(caught.value)


def replace(attempt: SealedAttempt, dealer: str, **changes: object) -> None:
    attempt.manifests[dealer] = sign(make_manifest(attempt, dealer, **changes), dealer, KEYS[dealer])


def test_an_honest_attempt_gives_every_dealers_shares(attempt: SealedAttempt) -> None:
    shares = check(attempt, attempt.request(attempt.seal()))
    assert set(shares) == set(PARTNERS)
    for dealer in PARTNERS:
        np.testing.assert_array_equal(shares[dealer], attempt.shares[dealer, "alpha"])


def test_a_set_of_n_min_is_enough_and_the_same_set_may_be_opened_again(attempt: SealedAttempt) -> None:
    seal = attempt.seal(PARTNERS[:3])
    assert set(check(attempt, attempt.request(seal, opened_set=seal.contributors_digest))) == set(PARTNERS[:3])


def test_1_a_seal_by_someone_else(attempt: SealedAttempt) -> None:
    refused(attempt, 1, attempt.request(attempt.seal(), seal=sign(attempt.seal(), "server", KEYS["beta"])))


def test_1_a_seal_of_another_attempt(attempt: SealedAttempt) -> None:
    refused(attempt, 1, attempt.request(attempt.seal(plan="44" * 32)))


def test_1_another_plan_than_was_joined(attempt: SealedAttempt) -> None:
    other = attempt.plan.body.model_copy(update={"attempt": 2})
    signed = sign(other, "operator", OPERATOR_KEY)
    refused(attempt, 1, attempt.request(attempt.seal(), plan=signed))
    refused(attempt, 1, attempt.request(attempt.seal(plan=signed.digest), plan=signed))


def test_2_another_cohort_than_was_accepted(attempt: SealedAttempt) -> None:
    refused(attempt, 2, attempt.request(attempt.seal(), accepted_cohort="55" * 32))
    refused(attempt, 2, attempt.request(attempt.seal(cohort="55" * 32)))


def test_3_a_contributor_outside_the_cohort(attempt: SealedAttempt) -> None:
    contributors = (*attempt.seal().contributors, Contributor(partner="zeta", manifest="66" * 32))
    refused(attempt, 3, attempt.request(attempt.seal(contributors=contributors)))


def test_3_a_manifest_by_another_key(attempt: SealedAttempt) -> None:
    attempt.manifests["beta"] = sign(make_manifest(attempt, "beta"), "beta", KEYS["gamma"])
    refused(attempt, 3, attempt.request(attempt.seal()))


@pytest.mark.parametrize(
    "changes",
    [
        {"plan": "77" * 32},
        {"cohort": "77" * 32},
        {"charter": "77" * 32},
        {"partner": "delta"},
        {"coefficients": 4096 * 2},
    ],
)
def test_3_a_manifest_for_something_else(attempt: SealedAttempt, changes: dict[str, object]) -> None:
    replace(attempt, "beta", **changes)
    refused(attempt, 3, attempt.request(attempt.seal()))


def test_3_a_manifest_that_leaves_a_receiver_out(attempt: SealedAttempt) -> None:
    replace(attempt, "beta", boxes=make_manifest(attempt, "beta").boxes[1:])
    refused(attempt, 3, attempt.request(attempt.seal()))


def test_3_a_manifest_swapped_after_the_seal(attempt: SealedAttempt) -> None:
    request = attempt.request(attempt.seal())
    replace(attempt, "beta", shards=make_manifest(attempt, "gamma").shards)
    refused(attempt, 3, request)


def test_4_a_set_below_n_min(attempt: SealedAttempt) -> None:
    refused(attempt, 4, attempt.request(attempt.seal(PARTNERS[:2])))


def test_5_an_own_upload_that_was_not_signed_here(attempt: SealedAttempt) -> None:
    refused(attempt, 5, attempt.request(attempt.seal(), own_upload=OwnUpload("88" * 32, receipted=True)))
    refused(attempt, 5, attempt.request(attempt.seal(), own_upload=None))


def test_5_a_receipted_upload_left_out(attempt: SealedAttempt) -> None:
    seal = attempt.seal(PARTNERS[1:])
    refused(attempt, 5, attempt.request(seal))
    own = OwnUpload(attempt.manifests["alpha"].digest, receipted=False)
    assert set(check(attempt, attempt.request(seal, own_upload=own))) == set(PARTNERS[1:])


def corrupt(attempt: SealedAttempt, make: Callable[[], bytes], *, signed_for: bool) -> None:
    attempt.boxes["beta", "alpha"] = make()
    if signed_for:
        replace(attempt, "beta")


def test_6_a_box_replaced_on_the_way(attempt: SealedAttempt) -> None:
    corrupt(attempt, lambda: attempt.boxes["gamma", "alpha"], signed_for=False)
    refused(attempt, 6, attempt.request(attempt.seal()))


@pytest.mark.parametrize("error", [NotFound, TooLarge, DigestMismatch])
def test_6_a_box_that_is_withheld_names_its_dealer(attempt: SealedAttempt, error: type[ChoraleError]) -> None:
    def fetch(dealer: str) -> bytes:
        if dealer == "beta":
            raise error("a box", "none", "wait for it")
        return attempt.boxes[dealer, "alpha"]

    with pytest.raises(CheckRefused, match="the box that beta signed for") as caught:
        check_opening(attempt.request(attempt.seal()), fetch, ROUND_KEYS["alpha"], Verifier())
    assert caught.value.number == 6


def test_6_a_signed_box_for_another_receiver(attempt: SealedAttempt) -> None:
    corrupt(attempt, lambda: attempt.boxes["beta", "gamma"], signed_for=True)
    refused(attempt, 6, attempt.request(attempt.seal()))


def test_6_a_signed_box_with_a_share_of_p_or_of_another_length(attempt: SealedAttempt) -> None:
    for plaintext in ((2**31 - 1).to_bytes(4, "little") * 4096, bytes(16380)):
        corrupt(attempt, lambda plaintext=plaintext: box_for(attempt, "beta", "alpha", plaintext), signed_for=True)
        refused(attempt, 6, attempt.request(attempt.seal()))


def test_7_another_set_of_an_opened_attempt(attempt: SealedAttempt) -> None:
    refused(attempt, 7, attempt.request(attempt.seal(), opened_set=attempt.seal(PARTNERS[:3]).contributors_digest))


def test_checks_stop_at_the_first_that_fails(attempt: SealedAttempt) -> None:
    fetched: list[str] = []

    def fetch(dealer: str) -> bytes:
        fetched.append(dealer)
        return attempt.boxes[dealer, "alpha"]

    forged: Signed = sign(attempt.seal(PARTNERS[:1]), "server", KEYS["beta"])
    with pytest.raises(CheckRefused) as caught:
        check_opening(attempt.request(attempt.seal(), seal=forged), fetch, ROUND_KEYS["alpha"], Verifier())
    assert caught.value.number == 1
    assert not fetched
