"""Adversary: a service that shows partners, or a partner that sends to the service, what was signed for another
round, attempt or cohort. It wants an upload counted again, or shares of one sum taken for those of another. Every
message names what it is for: check 3, rule 1 of decoding, and what the service takes (protocol 4.2 to 4.5).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from client_sdk.opening import release
from privacy.protocol.canonical import canonical
from privacy.protocol.messages import Manifest, Opening, Plan, Signed, parse_signed
from privacy.protocol.signing import sign
from tests.aggregator.driver import STATE, RoundDriver
from tests.attacks.siege import Siege, besieged
from tests.consortium import done, refused

VICTIM = "partner-04"
LIAR = "partner-02"
HONEST = "partner-01"
Rounds = tuple[RoundDriver, RoundDriver]


# --- to the service -------------------------------------------------------------------------------------


@pytest.fixture
def rounds(driver: RoundDriver) -> Rounds:
    """A round that is over, and the next one, which everybody has joined."""
    driver.to_confirmed()
    later = RoundDriver(
        driver.consortium, driver.http, driver.charter, driver.campaign, round=2, attempt=2, base_state=STATE
    )
    later.join_all()
    return driver, later


def test_a_manifest_of_another_round_cohort_or_partner_is_not_taken(
    rounds: tuple[RoundDriver, RoundDriver],
) -> None:
    """Check 3, by the service before the seal: nothing is kept of it, and the honest upload goes through."""
    earlier, later = rounds
    name, other = later.names[:2]
    signed, attachment = earlier.frames[name]
    of_other, of_others_boxes = later.manifest(other)
    replays = {
        "another round": (signed, attachment),
        "another cohort": later.manifest(name, cohort=earlier.document()["cohort"]),
        "another attempt": later.manifest(name, plan=earlier.plan.digest),
        "another charter": later.manifest(name, charter="ab" * 32),
        "another partner": (of_other, of_others_boxes),
    }
    for how, (message, rest) in replays.items():
        answer = later.client(name).post_frame(f"{later.base}/uploads", message, rest)
        assert answer.status_code in (401, 403, 409, 422), (how, answer.text)
    assert later.document()["uploaded"] == []
    for each in later.names:
        later.upload(each)
    assert later.wait_for("opening")["receipts"] == sorted(later.names)


def test_an_opening_of_another_round_seal_or_partner_is_not_taken(rounds: Rounds) -> None:
    earlier, later = rounds
    for each in later.names:
        later.upload(each)
    later.wait_for("opening")
    name, other = later.names[:2]
    seal = earlier.seal_digest(earlier.document())
    for how, (message, boxes) in {
        "another round": earlier.opening(name),
        "another seal": later.opening(name, seal=seal),
        "another cohort": later.opening(name, cohort=earlier.document()["cohort"]),
        "another attempt": later.opening(name, plan=earlier.plan.digest),
        "another partner": later.opening(other),
    }.items():
        answer = later.client(name).post_frame(f"{later.base}/openings", message, boxes)
        assert answer.status_code in (401, 403, 409, 422), (how, answer.text)
    assert later.document()["openings"] == []
    done(later.open(name), 201)
    # An opening that was taken is not replaced, and not undone by its replay.
    refused(later.open(name), 409, "conflict")
    assert later.document()["openings"] == [name]


def test_a_confirmation_of_another_round_confirms_nothing(rounds: Rounds) -> None:
    earlier, later = rounds
    for each in later.names:
        later.upload(each)
    later.wait_for("opening")
    for name in later.names:
        answer = later.client(name).post(f"{later.base}/confirmations", earlier.confirmation(name))
        assert answer.status_code in (401, 403, 409, 422), answer.text
    assert later.document()["confirmations"] == {}


# --- to the partners ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def siege(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Siege]:
    with besieged(tmp_path_factory.mktemp("siege")) as made:
        yield made


def manifest_of(siege: Siege, name: str, plan: Plan) -> Signed[Manifest]:
    record = siege.record(name, plan)
    assert record is not None
    assert record.manifest is not None
    return parse_signed(Manifest, record.manifest)


@pytest.mark.full
@pytest.mark.parametrize("how", ["another attempt", "another cohort"])
def test_a_seal_that_names_a_replayed_manifest_is_opened_by_nobody(siege: Siege, how: str) -> None:
    """Check 3. Well signed by its partner, but for another attempt; or for this one with a cohort of the past."""
    with siege.attempt() as earlier:
        siege.sealed(earlier)
        old = manifest_of(siege, LIAR, earlier)
    with siege.attempt() as plan:
        true = siege.sealed(plan)
        replayed = old
        if how == "another cohort":
            key = siege.at(LIAR, lambda agent: agent.partner.keys.signing)
            replayed = sign(old.body.model_copy(update={"plan": plan.digest}), LIAR, key)
        contributors = tuple(
            entry.model_copy(update={"manifest": replayed.digest}) if entry.partner == LIAR else entry
            for entry in true.body.contributors
        )
        seal = siege.by_server(true.body.model_copy(update={"contributors": contributors}))
        siege.show_seal(plan, seal, siege.names)

        def lie(shown: dict[str, Any]) -> None:
            shown["manifests"] = [
                replayed.model_dump(mode="json") if one["body"]["partner"] == LIAR else one
                for one in shown["manifests"]
            ]

        siege.server.tell_json(f"/v1/rounds/{plan.digest}/uploads", lie, siege.names)
        others = [name for name in siege.names if name != LIAR]
        siege.asked_to_open(plan, others)
        assert siege.refusals(plan) == dict.fromkeys(others, 3)
        assert not siege.released(plan)


@pytest.mark.full
@pytest.mark.parametrize("how", ["another round", "another seal", "another cohort", "another attempt"])
def test_a_replayed_opening_is_set_aside_and_the_sum_is_exact(siege: Siege, how: str) -> None:
    """Served for what one partner released now. Without it a quorum is left, and no share of then is used."""
    with siege.attempt() as earlier:
        siege.sealed(earlier)
        siege.finish(earlier)
        record = siege.record(LIAR, earlier)
        assert record is not None
        assert record.opening is not None
        old = parse_signed(Opening, record.opening)
    with siege.attempt() as plan:
        siege.sealed(plan)
        key = siege.at(LIAR, lambda agent: agent.partner.keys.signing)
        field = {"another seal": "seal", "another cohort": "cohort", "another attempt": "plan"}.get(how)

        def lie(shown: dict[str, Any]) -> None:
            for place, one in enumerate(shown["openings"]):
                if one["body"]["partner"] == LIAR:
                    now = parse_signed(Opening, canonical(one))
                    changed = (
                        old
                        if field is None
                        else sign(now.body.model_copy(update={field: getattr(old.body, field)}), LIAR, key)
                    )
                    shown["openings"][place] = changed.model_dump(mode="json")

        siege.server.tell_json(f"/v1/rounds/{plan.digest}/openings", lie, [VICTIM, HONEST])
        outcomes = siege.finish(plan)
        for name in (VICTIM, HONEST):
            assert outcomes[name].confirmed
            assert outcomes[name].values is not None
            assert (outcomes[name].values == siege.exact()).all()
            assert "expected an opening for this seal" in outcomes[name].report.accused[LIAR]
        assert outcomes[LIAR].report.accused == {}


@pytest.mark.full
def test_a_seal_of_another_attempt_is_opened_by_nobody(siege: Siege) -> None:
    """Check 1, with the manifests of then: the whole answer is a replay."""
    with siege.attempt() as earlier:
        old = siege.sealed(earlier)
        manifests = {name: manifest_of(siege, name, earlier) for name in siege.names}
    with siege.attempt() as plan:
        siege.sealed(plan)

        def asked(agent: Any) -> None:
            record = agent.partner.journal.record(plan.digest)
            release(agent.partner, record, old, manifests)

        siege.each(siege.names, lambda _, agent: asked(agent))
        assert siege.refusals(plan) == dict.fromkeys(siege.names, 1)
        assert not siege.released(plan)
