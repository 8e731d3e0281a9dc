"""Adversary: a service, also with the operator's key, that puts a signing or result key of its own into the roster
in an honest partner's name. It would sign for that partner, or read what is sent to it. A partner signs no charter
that misstates it, people compare the charter's words outside the service, and everyone on the roster has to sign.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from aggregator.operator.answers import EnrolmentRecord
from aggregator.operator.trusted import approved_enrolments, enrolment_of
from client_sdk.enrolment import Offered, accept_charter, enrol, offered_charter, wait_in_force
from client_sdk.partner import PINNED_CHARTER, Partner
from privacy.errors import BadSignature, ChoraleError, NotAllowed, WeakerThanCharter
from privacy.he.boxes import BoxKey
from privacy.protocol.canonical import canonical, digest
from privacy.protocol.identifiers import OPERATOR
from privacy.protocol.messages import Charter, CharterAcceptance, Enrolment, Signed, parse_signed
from privacy.protocol.signing import SigningKey, sign
from privacy.protocol.words import words
from tests.attacks.lying_server import LyingServer
from tests.client_sdk.choir import Choir, choir, outside, passphrase
from tests.consortium import SeededSource, done, refused

VICTIM = "partner-03"
KEY = SigningKey.generate(SeededSource("the service's own, in a partner's name"))


@pytest.fixture(scope="module")
def constituting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Choir, LyingServer, dict[str, str]]]:
    """Three partners enrolled and approved; the words that each was shown of its enrolment."""
    server = LyingServer()
    with choir(tmp_path_factory.mktemp("choir"), 3, wrap=server.before) as made:
        shown = {}
        for name in made.names:
            invited = made.operator.post("/v1/invitations", {"partner": name, "expires_in_seconds": 3600})
            shown[name] = enrol(made.config(name), done(invited, 201)["token"], outside(), passphrase)
            done(made.operator.post(f"/v1/enrolments/{name}/approval"))
        yield made, server, shown


@pytest.fixture
def enrolled(constituting: Enrolled) -> Enrolled:
    constituting[1].be_honest()
    return constituting


Enrolled = tuple[Choir, LyingServer, dict[str, str]]
SWAPS = {
    "the signing keys": {"signing_keys": KEY.public},
    "the result key": {"result_key": BoxKey.generate().public_bytes.hex()},
}


def swapped(signed: Signed[Enrolment], **changes: Any) -> Signed[Enrolment]:
    """What the service makes of an honest enrolment: well signed, by its own key."""
    body = signed.body.model_copy(update={"signing_keys": KEY.public, **changes})
    return sign(body, body.partner, KEY)


def listed(made: Choir) -> list[EnrolmentRecord]:
    return [
        EnrolmentRecord.model_validate(line) for line in done(made.operator.get("/v1/enrolments"))["enrolments"]
    ]


def show_swapped(server: LyingServer, **changes: Any) -> None:
    """The operator is shown another enrolment of the victim than it sent."""

    def lie(shown: dict[str, Any]) -> None:
        for line in shown["enrolments"]:
            if line["enrolment"]["body"]["partner"] == VICTIM:
                honest = parse_signed(Enrolment, canonical(line["enrolment"]))
                line["enrolment"] = swapped(honest, **changes).model_dump(mode="json")

    server.tell_json("/v1/enrolments", lie, [OPERATOR])


def test_a_key_swapped_after_the_approval_is_not_what_the_operator_approved(enrolled: Enrolled) -> None:
    made, server, _ = enrolled
    approvals = {record.enrolment.body.partner: record.enrolment.digest for record in listed(made)}
    assert set(approved_enrolments(listed(made), approvals)) == set(made.names)
    show_swapped(server)
    with pytest.raises(NotAllowed, match=VICTIM):
        approved_enrolments(listed(made), approvals)


def test_a_key_swapped_before_the_approval_has_other_words_than_the_partner_was_shown(enrolled: Enrolled) -> None:
    """It is well signed, by the key that it brings: people who compare are what stops it."""
    made, server, shown = enrolled

    def words_of(name: str) -> str:
        record = next(record for record in listed(made) if record.enrolment.body.partner == name)
        return words(enrolment_of(record).digest)

    assert {name: words_of(name) for name in made.names} == shown
    show_swapped(server)
    assert words_of(VICTIM) != shown[VICTIM]
    assert words_of("partner-01") == shown["partner-01"]


@pytest.mark.parametrize("what", SWAPS)
def test_a_charter_with_a_swapped_key_is_not_signed_by_its_partner(enrolled: Enrolled, what: str) -> None:
    """The operator compared no words. The victim signs nothing, and an honest service would not take the draft."""
    made, server, _ = enrolled
    honest = made.draft_charter()
    roster = tuple(
        entry.model_copy(update=SWAPS[what]) if entry.partner == VICTIM else entry for entry in honest.roster
    )
    charter = honest.model_copy(update={"roster": roster})
    refused(made.operator.post("/v1/charters", sign(charter, OPERATOR, made._key)), 422, "weaker-than-charter")
    show(made, server, charter, {}, [VICTIM])
    with made.partner(VICTIM) as partner:
        offered = offered_charter(partner)
        assert offered.charter.digest == charter.digest
        with pytest.raises(WeakerThanCharter, match=f"own {what.removeprefix('the ')}"):
            accept_charter(partner, offered, charter.digest)
        assert partner.journal.fact(PINNED_CHARTER) is None
    assert VICTIM not in done(made.operator.get("/v1/charters/latest"))["acceptances"]


def show(
    made: Choir,
    server: LyingServer,
    charter: Charter,
    acceptances: dict[str, Signed[CharterAcceptance]],
    to: list[str],
) -> None:
    """These are told that this charter, by the operator's key, is in force."""
    document = {
        "charter": sign(charter, OPERATOR, made._key).model_dump(mode="json"),
        "acceptances": {name: one.model_dump(mode="json") for name, one in acceptances.items()},
        "in_force": True,
    }
    server.answer_instead("/v1/charters/latest", canonical(document), to)


def test_two_charters_shown_to_two_halves_are_in_force_nowhere(enrolled: Enrolled) -> None:
    """Operator's and server's keys: the victim is shown the true charter, and the others one with a false key."""
    made, server, _ = enrolled
    true = made.draft_charter()
    roster = tuple(
        entry.model_copy(update={"signing_keys": KEY.public}) if entry.partner == VICTIM else entry
        for entry in true.roster
    )
    false = true.model_copy(update={"roster": roster})

    def accepts(partner: Partner, confirmed: str) -> Offered:
        offered = offered_charter(partner)
        accept_charter(partner, offered, confirmed)
        return offered

    show(made, server, false, {}, ["partner-01", "partner-02"])
    with made.partner(VICTIM) as victim:
        seen = accepts(victim, true.digest)
    with made.partner("partner-01") as other:
        offered = offered_charter(other)
        assert offered.words != seen.words
        with pytest.raises(WeakerThanCharter, match="compare them"):
            accept_charter(other, offered, seen.charter.digest)
    server.be_honest()

    # Nor is the true one in force for the victim by signatures that its partners never made.
    def forged(name: str) -> Signed[CharterAcceptance]:
        return sign(CharterAcceptance(charter=true.digest, partner=name), name, KEY)

    show(made, server, true, {name: forged(name) for name in made.names}, [VICTIM])
    with made.partner(VICTIM) as victim, pytest.raises(BadSignature):
        wait_in_force(victim, victim.now() - 1)
    server.be_honest()
    show(made, server, true, {VICTIM: forged(VICTIM)}, [VICTIM])
    with made.partner(VICTIM) as victim, pytest.raises(ChoraleError):
        wait_in_force(victim, victim.now() - 1)


def test_a_second_enrolment_needs_an_invitation_that_names_the_first_and_is_seen_by_its_words(
    enrolled: Enrolled,
) -> None:
    """The last in this file, for it takes place: whoever has that token enrols, and is not approved."""
    made, _, shown = enrolled
    approvals = {record.enrolment.body.partner: record.enrolment.digest for record in listed(made)}
    first = next(record.enrolment for record in listed(made) if record.enrolment.body.partner == VICTIM)
    asked = {"partner": VICTIM, "expires_in_seconds": 60}
    refused(made.operator.post("/v1/invitations", asked), 409, "conflict")

    def enrols(token: str) -> httpx.Response:
        second = swapped(first, invitation=digest(token.encode()))
        body = canonical({"token": token, "enrolment": second.model_dump(mode="json")})
        return made.operator.http.post("/v1/enrolments", content=body)

    refused(enrols("0" * 64), 401, "not-authenticated")
    assert set(approved_enrolments(listed(made), approvals)) == set(made.names)
    done(enrols(done(made.operator.post("/v1/invitations", {**asked, "again": True}), 201)["token"]), 201)
    assert set(approved_enrolments(listed(made), approvals)) == set(made.names) - {VICTIM}
    thiefs = next(record for record in listed(made) if record.enrolment.body.partner == VICTIM)
    assert thiefs.state == "pending"
    assert words(thiefs.enrolment.digest) != shown[VICTIM]
