"""One attack for each numbered check before an opening (protocol 4.4), made so that nothing but that check stops
it: with the check taken away (`make mutate-checks`) the partner opens what the adversary wants.

Adversary: the service with its signing key, whoever holds the operator's key, and *gamma*, a colluder. Each row
says which of them acts, and what is wanted. Real keys, boxes and shares; no network: the same lies told over HTTP
are in the other files here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest

from privacy.errors import CheckRefused
from privacy.he.boxes import encode_shares
from privacy.protocol.opening_checks import OpeningRequest, check_opening
from privacy.protocol.signing import SigningKey, Verifier, sign
from tests.privacy.protocol.sealed_attempt import (
    KEYS,
    OPERATOR_KEY,
    PARTNERS,
    ROUND_KEYS,
    SERVER_KEY,
    SealedAttempt,
    box_for,
    make_attempt,
    make_manifest,
)

VICTIM = "alpha"
COLLUDER = "gamma"
OTHER = "77" * 32
NOTHING = bytes(4096 * 4)  # what a receiver of shares of the key 0 is sent

# --- opening (protocol 4.4) -------------------------------------------------------------------------------


def another_plan(attempt: SealedAttempt) -> OpeningRequest:
    """Service and operator's key: everything is sound, but for an attempt that the victim never joined."""
    joined = attempt.plan.digest
    attempt.plan = sign(attempt.plan.body.model_copy(update={"attempt": 2}), "operator", OPERATOR_KEY)
    for dealer in PARTNERS:
        dealt(attempt, dealer, encode_shares(attempt.shares[dealer, VICTIM]))
    return attempt.request(attempt.seal(), accepted_plan=joined)


def a_plan_by_the_service(attempt: SealedAttempt) -> OpeningRequest:
    """Service: the plan's body is the pinned one, its signature is not the operator's."""
    return attempt.request(attempt.seal(), plan=sign(attempt.plan.body, "operator", SERVER_KEY))


def a_seal_of_another_attempt(attempt: SealedAttempt) -> OpeningRequest:
    """Service: one opening, signed as the answer to a seal that fixes another attempt's sum."""
    return attempt.request(attempt.seal(plan=OTHER))


def a_seal_by_an_outsider(attempt: SealedAttempt) -> OpeningRequest:
    """Whoever sits on the wire, with the operator's stolen key: a set of its own choice."""
    seal = attempt.seal()
    return attempt.request(seal, seal=sign(seal, "server", OPERATOR_KEY))


def a_seal_of_another_cohort(attempt: SealedAttempt) -> OpeningRequest:
    """Service: two cohorts of one attempt; the seal is that of the other."""
    return attempt.request(attempt.seal(cohort=OTHER))


def changed_after_the_seal(attempt: SealedAttempt) -> OpeningRequest:
    """Service and colluder: a second manifest, signed once the sum is known, with other shares for the victim."""
    seal = attempt.seal()
    dealt(attempt, COLLUDER, NOTHING)
    return attempt.request(seal)


def an_invented_upload(attempt: SealedAttempt) -> OpeningRequest:
    """Service: an upload in the name of an honest member, of a key that the service dealt."""
    dealt(attempt, "beta", NOTHING, SERVER_KEY)
    return attempt.request(attempt.seal())


def for_something_else(field: str, value: object) -> Callable[[SealedAttempt], OpeningRequest]:
    """Service and colluder: a manifest of another time counts again, or one that is none of this vector."""

    def made(attempt: SealedAttempt) -> OpeningRequest:
        body = make_manifest(attempt, COLLUDER, **{field: value})
        attempt.manifests[COLLUDER] = sign(body, COLLUDER, KEYS[COLLUDER])
        return attempt.request(attempt.seal())

    return made


def no_box_for_another(attempt: SealedAttempt) -> OpeningRequest:
    """Colluder: the victim opens alone; whoever was left out cannot, and is missed at the quorum."""
    boxes = tuple(box for box in make_manifest(attempt, COLLUDER).boxes if box.receiver != "beta")
    attempt.manifests[COLLUDER] = sign(make_manifest(attempt, COLLUDER, boxes=boxes), COLLUDER, KEYS[COLLUDER])
    return attempt.request(attempt.seal())


def fewer_than_n_min(attempt: SealedAttempt) -> OpeningRequest:
    """Service and colluder: a sum of two, of which the colluder knows its own part."""
    return attempt.request(attempt.seal((VICTIM, COLLUDER)))


def an_upload_of_a_copy(attempt: SealedAttempt) -> OpeningRequest:
    """Service and a thief of the folder: an upload that the victim's own key signed, and that it never made."""
    honest = attempt.request(attempt.seal())
    root = make_manifest(attempt, VICTIM).shards.model_copy(update={"count": 2})
    attempt.manifests[VICTIM] = sign(make_manifest(attempt, VICTIM, shards=root), VICTIM, KEYS[VICTIM])
    return replace(attempt.request(attempt.seal()), own_upload=honest.own_upload)


def the_receipt_broken(attempt: SealedAttempt) -> OpeningRequest:
    """Service: all but the victim's, after a receipt; with a set that holds it, the difference is the victim's."""
    return attempt.request(attempt.seal(PARTNERS[1:]))


def a_box_replaced(attempt: SealedAttempt) -> OpeningRequest:
    """Service: shares of the key 0 in an honest dealer's place, in a box that opens."""
    attempt.boxes["beta", VICTIM] = box_for(attempt, "beta", VICTIM, NOTHING)
    return attempt.request(attempt.seal())


def shares_that_are_none(attempt: SealedAttempt) -> OpeningRequest:
    """Colluder: a signed box of words >= p, so that honest sums of shares are no shares."""
    dealt(attempt, COLLUDER, (2**31 - 1).to_bytes(4, "little") * 4096)
    return attempt.request(attempt.seal())


def a_second_set(attempt: SealedAttempt) -> OpeningRequest:
    """Service: all four, after the victim opened three. The difference is one update."""
    return attempt.request(attempt.seal(), opened_set=attempt.seal(PARTNERS[:3]).contributors_digest)


def dealt(attempt: SealedAttempt, dealer: str, plaintext: bytes, key: SigningKey | None = None) -> None:
    """This dealer's box to the victim, and a manifest that promises it."""
    attempt.boxes[dealer, VICTIM] = box_for(attempt, dealer, VICTIM, plaintext)
    attempt.manifests[dealer] = sign(make_manifest(attempt, dealer), dealer, key or KEYS[dealer])


OPENINGS: Mapping[str, tuple[int, Callable[[SealedAttempt], OpeningRequest]]] = {
    "another plan than was joined": (1, another_plan),
    "a plan signed by the service": (1, a_plan_by_the_service),
    "a seal of another attempt": (1, a_seal_of_another_attempt),
    "a seal by another key": (1, a_seal_by_an_outsider),
    "a seal of another cohort": (2, a_seal_of_another_cohort),
    "a manifest changed after the seal": (3, changed_after_the_seal),
    "a manifest by another key": (3, an_invented_upload),
    "a manifest for another round": (3, for_something_else("plan", OTHER)),
    "a manifest for another cohort": (3, for_something_else("cohort", OTHER)),
    "a manifest under another charter": (3, for_something_else("charter", OTHER)),
    "a manifest that names another member": (3, for_something_else("partner", "beta")),
    "a manifest of another length": (3, for_something_else("coefficients", 2 * 4096)),
    "a manifest without a box for one": (3, no_box_for_another),
    "a set below n_min": (4, fewer_than_n_min),
    "an own upload that was not signed here": (5, an_upload_of_a_copy),
    "a receipted upload left out": (5, the_receipt_broken),
    "a box replaced on the way": (6, a_box_replaced),
    "a signed box of shares that are none": (6, shares_that_are_none),
    "another set of an attempt that was opened": (7, a_second_set),
}


def opened(attempt: SealedAttempt, request: OpeningRequest) -> set[str]:
    """Whose shares the victim would add and release."""
    key = ROUND_KEYS[VICTIM]
    return set(check_opening(request, lambda dealer: attempt.boxes[dealer, VICTIM], key, Verifier()))


def test_the_honest_attempt_of_these_attacks_is_opened() -> None:
    attempt = make_attempt()
    assert opened(attempt, attempt.request(attempt.seal())) == set(PARTNERS)


@pytest.mark.parametrize("how", OPENINGS)
def test_an_opening_is_refused_by_the_number_of_the_check(how: str) -> None:
    number, attack = OPENINGS[how]
    attempt = make_attempt()
    request = attack(attempt)
    with pytest.raises(CheckRefused) as caught:
        opened(attempt, request)
    assert caught.value.number == number, str(caught.value)
