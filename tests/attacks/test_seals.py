"""Adversary: a service, and its signing key, that lies about who is in the sum. It wants a sum of fewer, of others,
or two sums of one attempt: their difference is one update. Opening checks 1, 3, 4, 5 and 7 (protocol 4.4) stop it.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from privacy.errors import CheckRefused
from privacy.he.boxes import encode_shares
from privacy.protocol.messages import Contributor, Plan, Seal, Signed
from privacy.protocol.opening_checks import check_opening
from privacy.protocol.signing import Verifier, sign
from tests.attacks.siege import Siege, besieged
from tests.privacy.protocol.sealed_attempt import (
    KEYS,
    PARTNERS,
    ROUND_KEYS,
    box_for,
    make_attempt,
    make_manifest,
)

VICTIM = "partner-04"


@pytest.fixture(scope="module")
def siege(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Siege]:
    with besieged(tmp_path_factory.mktemp("siege")) as made:
        yield made


def without(seal: Signed[Seal], *names: str) -> Seal:
    kept = tuple(entry for entry in seal.body.contributors if entry.partner not in names)
    return seal.body.model_copy(update={"contributors": kept})


def nothing_came_of(siege: Siege, plan: Plan, check: int, names: list[str]) -> None:
    assert {name: siege.refusals(plan).get(name) for name in names} == dict.fromkeys(names, check)
    assert not siege.released(plan) & set(names)


def test_a_seal_below_n_min_is_opened_by_nobody(siege: Siege) -> None:
    """Check 4. Two of four: each would see the other's update."""
    with siege.attempt() as plan:
        small = siege.by_server(without(siege.sealed(plan), "partner-03", VICTIM))
        siege.show_seal(plan, small, siege.names)
        siege.asked_to_open(plan)
        nothing_came_of(siege, plan, 4, siege.names)


def test_a_receipted_upload_is_left_out_and_its_partner_says_so(siege: Siege) -> None:
    """Check 5. The others cannot know; the quorum of three is theirs, and what they open holds n_min uploads."""
    with siege.attempt() as plan:
        siege.show_seal(plan, siege.by_server(without(siege.sealed(plan), VICTIM)), siege.names)
        siege.asked_to_open(plan, [VICTIM])
        nothing_came_of(siege, plan, 5, [VICTIM])


def test_a_seal_by_any_other_key_than_the_services_is_none(siege: Siege) -> None:
    """Check 1. The operator's key and a partner's are stolen; neither signs seals."""
    with siege.attempt() as plan:
        true = siege.sealed(plan)
        for key in (siege.choir._key, siege.agents["partner-01"].partner.keys.signing):
            siege.server.be_honest()
            siege.show_seal(plan, sign(true.body, "server", key), [VICTIM])
            siege.asked_to_open(plan, [VICTIM])
            nothing_came_of(siege, plan, 1, [VICTIM])


def test_a_contributor_who_is_nobody_pads_the_set(siege: Siege) -> None:
    """Check 3. Sybil names: a set of four of whom two are the service's own inventions."""
    with siege.attempt() as plan:
        true = siege.sealed(plan)
        sybils = tuple(
            Contributor(partner=f"sybil-{place:02d}", manifest=true.body.contributors[0].manifest)
            for place in (1, 2)
        )
        padded = without(true, "partner-02", "partner-03")
        padded = padded.model_copy(update={"contributors": (*padded.contributors, *sybils)})
        siege.show_seal(plan, siege.by_server(padded), siege.names)
        siege.asked_to_open(plan)
        nothing_came_of(siege, plan, 3, siege.names)


def test_a_roster_partner_outside_the_cohort_pads_the_set() -> None:
    """Check 3. A colluder who did not join signs a manifest for J all the same, with boxes that open."""
    attempt = make_attempt()
    outsider = PARTNERS[-1]
    attempt.cohort = attempt.cohort.model_copy(update={"members": attempt.cohort.members[:-1]})
    inside = attempt.cohort.partners
    for dealer in PARTNERS:
        for receiver in inside:
            shares = encode_shares(attempt.shares[dealer, receiver])
            attempt.boxes[dealer, receiver] = box_for(attempt, dealer, receiver, shares)
        boxes = tuple(box for box in make_manifest(attempt, dealer).boxes if box.receiver in inside)
        attempt.manifests[dealer] = sign(make_manifest(attempt, dealer, boxes=boxes), dealer, KEYS[dealer])
    key = ROUND_KEYS["alpha"]

    def opened(contributors: tuple[str, ...]) -> set[str]:
        request = attempt.request(attempt.seal(contributors))
        return set(check_opening(request, lambda dealer: attempt.boxes[dealer, "alpha"], key, Verifier()))

    assert opened(inside) == set(inside)
    with pytest.raises(CheckRefused) as caught:
        opened((*inside, outsider))
    assert caught.value.number == 3


def test_one_manifest_counts_for_one_contributor(siege: Siege) -> None:
    """Check 3. An upload counted twice, under the name of another member."""
    with siege.attempt() as plan:
        true = siege.sealed(plan)
        first = true.body.contributors[0].manifest
        doubled = tuple(
            entry.model_copy(update={"manifest": first}) if entry.partner == "partner-02" else entry
            for entry in true.body.contributors
        )
        lying = siege.by_server(true.body.model_copy(update={"contributors": doubled}))
        siege.show_seal(plan, lying, [VICTIM])

        def doubled_manifests(shown: dict[str, list[dict[str, dict[str, str]]]]) -> None:
            found = {message["body"]["partner"]: message for message in shown["manifests"]}
            shown["manifests"] = [found["partner-01"] if name == "partner-02" else found[name] for name in found]

        siege.server.tell_json(f"/v1/rounds/{plan.digest}/uploads", doubled_manifests, [VICTIM])
        siege.asked_to_open(plan, [VICTIM])
        nothing_came_of(siege, plan, 3, [VICTIM])


def test_two_seals_of_one_attempt_get_one_opening(siege: Siege) -> None:
    """Check 7. The victim opens a set of three that leaves it out (it had no receipt), then is shown all four."""
    with siege.attempt() as plan:
        joined = siege.join(plan)
        siege.upload(joined)
        true = siege.seal_of(plan)
        siege.asked_to_open(plan, [VICTIM])
        assert VICTIM in siege.released(plan)
        opened = siege.record(VICTIM, plan)
        assert opened is not None
        siege.reopen(VICTIM)
        siege.show_seal(plan, siege.by_server(without(true, "partner-01")), [VICTIM])
        siege.asked_to_open(plan, [VICTIM])
        assert siege.refusals(plan) == {VICTIM: 7}
        after = siege.record(VICTIM, plan)
        assert after is not None
        assert (after.opening, after.opened_set) == (opened.opening, opened.opened_set)
        siege.server.be_honest()
        assert siege.finish(plan)["partner-01"].confirmed


@pytest.mark.full
def test_two_sets_shown_to_two_halves_give_no_two_quorums(tmp_path: Path) -> None:
    """Check 7, and t = floor((|J| + c) / 2) + 1. An honest partner would have to open both."""
    with besieged(tmp_path) as siege, siege.attempt(left_open=True) as plan:
        joined = siege.join(plan)
        siege.upload(joined)
        true = siege.seal_of(plan)
        siege.show_seal(plan, siege.by_server(without(true, "partner-01")), ["partner-02", "partner-03"])
        siege.server.swallow(f"/v1/rounds/{plan.digest}/openings", ["partner-02", "partner-03"])
        siege.asked_to_open(plan, ["partner-02", "partner-03"])
        siege.server.be_honest()
        siege.asked_to_open(plan, ["partner-01", VICTIM])
        records = [siege.record(name, plan) for name in siege.names]
        sets = Counter(record.opened_set for record in records if record is not None)
        assert sorted(sets.values()) == [2, 2]
        assert joined[VICTIM].quorum == 3
        assert 2 * joined[VICTIM].quorum > len(siege.names) + siege.charter.colluders
        # The two who were lied to open no other set afterwards.
        siege.asked_to_open(plan, ["partner-02", "partner-03"])
        assert siege.refusals(plan) == {"partner-02": 7, "partner-03": 7}


def test_a_folder_restored_from_before_the_opening_opens_no_second_set(siege: Siege, tmp_path: Path) -> None:
    """The round key was on a memory disk, in no copy, and is wiped. The older copy does not know check 7's set."""
    with siege.attempt() as plan:
        joined = siege.join(plan)
        siege.upload(joined)
        true = siege.seal_of(plan)
        folder = siege.choir.root / VICTIM

        def copied() -> None:
            shutil.copytree(folder, tmp_path / "copy")

        def restored() -> None:
            shutil.rmtree(folder)
            shutil.copytree(tmp_path / "copy", folder)

        siege.reopen(VICTIM, copied)
        siege.asked_to_open(plan, [VICTIM])
        assert VICTIM in siege.released(plan)
        siege.reopen(VICTIM, restored)
        before = siege.record(VICTIM, plan)
        assert before is not None
        assert before.opened_set is None
        siege.show_seal(plan, siege.by_server(without(true, "partner-01")), [VICTIM])
        siege.asked_to_open(plan, [VICTIM])
        after = siege.record(VICTIM, plan)
        assert after is not None
        assert after.opening is None
        siege.server.be_honest()
        outcomes = siege.finish(plan)
        assert outcomes[VICTIM].state.digest == outcomes["partner-01"].state.digest
