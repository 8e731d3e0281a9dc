"""Whose word a report is: every byte of the file and of its signature counts, and nobody signs for another."""

from __future__ import annotations

import re
from dataclasses import dataclass

import pytest

from privacy.errors import BadSignature, ChoraleError, DigestMismatch, MalformedMessage, WeakerThanCharter
from privacy.ledger.export import own_export, service_export
from privacy.protocol.canonical import canonical
from privacy.protocol.identifiers import OPERATOR, SERVER
from privacy.protocol.messages import Charter, CharterAcceptance, Checkpoint, OwnCheckpoint, Signed
from privacy.protocol.signing import SigningKey, sign
from privacy.report.budget_report import BudgetReport
from privacy.report.build import build_report
from privacy.report.period import Period
from privacy.report.recompute import check_against_ledger, described
from privacy.report.render import render_json, rendered
from privacy.report.signature import FORMATS, Known, ReportSignature, sign_report, verify_report
from tests.privacy.ledger.chains import SERVER_KEY, ChainWriter
from tests.privacy.report.reports import EVENT, consortium, outcomes

OPERATOR_KEY = SigningKey(bytes(range(1, 65)))
PARTNER_KEYS = {f"partner-{place:03d}": SigningKey(bytes([place + 2]) * 64) for place in range(3)}


@dataclass(frozen=True)
class Consortium:
    """A signed charter of three partners with real keys, the service's chain and the first partner's own."""

    charter: Signed[Charter]
    chain: ChainWriter
    own: ChainWriter

    def report(self, source: str = "service", **more: object) -> BudgetReport:
        chain = self.own if source == "partner" else self.chain
        as_of = chain.entries[-1].at + 60
        mine = {"participants": ["partner-000"]} if source == "partner" else {}
        return build_report(
            self.charter.body, chain.entries, as_of, source=source, outcomes=outcomes(6), **{**mine, **more}
        )  # type: ignore[arg-type]

    def signed(self, report: BudgetReport, form: str = "json", language: str = "en") -> tuple[bytes, bytes]:
        raw = rendered(report, form, language)  # type: ignore[arg-type]
        own = report.source == "partner"
        signer, key = ("partner-000", PARTNER_KEYS["partner-000"]) if own else (SERVER, SERVER_KEY)
        by = ["partner-000"] if own else list(PARTNER_KEYS)
        made = sign_report(report, form, raw, self.charter, self.acceptances(*by), signer, key)  # type: ignore[arg-type]
        return raw, made.canonical_bytes

    def acceptances(self, *by: str) -> list[Signed[CharterAcceptance]]:
        digest = self.charter.digest
        return [sign(CharterAcceptance(charter=digest, partner=name), name, PARTNER_KEYS[name]) for name in by]

    def service_lines(self) -> list[bytes]:
        digest, head = self.charter.digest, self.chain.verifier.head
        acceptances = self.acceptances(*PARTNER_KEYS)
        checkpoint = sign(Checkpoint(charter=digest, chain=head), SERVER, SERVER_KEY)
        return list(
            service_export(
                [(self.charter, acceptances)], checkpoint, [], [one.canonical_bytes for one in self.chain.entries]
            )
        )

    def own_lines(self) -> list[bytes]:
        digest, head, name = self.charter.digest, self.own.verifier.head, "partner-000"
        key = PARTNER_KEYS[name]
        checkpoint = sign(OwnCheckpoint(charter=digest, partner=name, chain=head), name, key)
        return list(
            own_export(
                [(self.charter, self.acceptances(name))],
                checkpoint,
                [one.canonical_bytes for one in self.own.entries],
            )
        )


@pytest.fixture(scope="module")
def three() -> Consortium:
    plain, _ = consortium(3, 6)
    roster = tuple(
        entry.model_copy(update={"signing_keys": PARTNER_KEYS[entry.partner].public}) for entry in plain.roster
    )
    body = plain.model_copy(update={"roster": roster, "operator_keys": OPERATOR_KEY.public})
    chain = ChainWriter(charter=body.digest)
    own = ChainWriter(charter=body.digest, own=True)
    chain.action(None, "charter in force")
    for number in range(1, 7):
        chain.attempt(number, body.partners, EVENT)
        own.move("charge", "partner-000", number, event=EVENT)
    chain.move("reserve", "partner-001", 7, event=EVENT)
    return Consortium(sign(body, OPERATOR, OPERATOR_KEY), chain, own)


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("source", ["service", "partner"])
def test_every_form_verifies_and_says_whose_word_it_is(three: Consortium, form: str, source: str) -> None:
    report = three.report(source)
    raw, signature = three.signed(report, form, "ko")
    found = verify_report(raw, signature, Known.charter(three.charter.digest))
    assert found.signer == ("partner-000" if source == "partner" else SERVER)
    assert found.statement.participant == ("partner-000" if source == "partner" else None)
    assert found.known_from is not None
    assert found.described()["verdict"] == "verified"
    assert found.described()["words"] == report.words
    assert found.accepted == (("partner-000",) if source == "partner" else tuple(PARTNER_KEYS))
    by_operator = verify_report(raw, signature, Known("a key", operator_keys=OPERATOR_KEY.public))
    assert by_operator.described()["charter known"] == "yes, from a key"
    unknown = verify_report(raw, signature).described()
    assert unknown["charter known"] == "no"
    assert "compare its words" in unknown["verdict"]
    for wrong in (Known.charter("0" * 64), Known("a key", operator_keys=SERVER_KEY.public), Known("nothing")):
        with pytest.raises(BadSignature):
            verify_report(raw, signature, wrong)


@pytest.mark.parametrize("source", ["service", "partner"])
def test_a_charter_of_an_operator_of_ones_own_is_never_verified(three: Consortium, source: str) -> None:
    """All keys but the partners' and the service's are the forger's, and so is the charter: caps of any size."""
    forger = SigningKey(bytes(range(64, 128)))
    body = three.charter.body.model_copy(update={"operator_keys": forger.public})
    forged = Consortium(sign(body, OPERATOR, forger), three.chain, three.own)
    raw, signature = forged.signed(three.report(source).model_copy(update={"charter": body.digest}))
    assert "anyone could have made" in verify_report(raw, signature).described()["verdict"]
    for known in (Known.charter(three.charter.digest), Known("a key", operator_keys=OPERATOR_KEY.public)):
        with pytest.raises(BadSignature, match="own choosing"):
            verify_report(raw, signature, known)


def test_a_charter_that_not_everyone_accepted_is_refused(three: Consortium) -> None:
    report = three.report()
    raw = render_json(report)
    everyone = three.acceptances(*PARTNER_KEYS)
    for_another = CharterAcceptance(charter="0" * 64, partner="partner-002")
    by_another = CharterAcceptance(charter=three.charter.digest, partner="partner-002")
    key = PARTNER_KEYS["partner-002"]
    for wrong in (
        [],
        everyone[:-1],
        [*everyone, everyone[0]],
        everyone[::-1],
        [*everyone[:-1], sign(for_another, "partner-002", key)],
        [*everyone[:-1], sign(by_another, "partner-002", PARTNER_KEYS["partner-001"])],
    ):
        made = sign_report(report, "json", raw, three.charter, wrong, SERVER, SERVER_KEY)
        with pytest.raises((WeakerThanCharter, BadSignature)):
            verify_report(raw, made.canonical_bytes)


@pytest.mark.parametrize("source", ["service", "partner"])
def test_a_changed_byte_of_the_report_is_refused(three: Consortium, source: str) -> None:
    raw, signature = three.signed(three.report(source))
    for place in range(0, len(raw), 101):
        with pytest.raises(DigestMismatch):
            verify_report(raw[:place] + bytes([raw[place] ^ 1]) + raw[place + 1 :], signature)
    for other in (raw + b" ", raw[:-1], b""):
        with pytest.raises(DigestMismatch):
            verify_report(other, signature)


def _flipped(three: Consortium, *, every: bool) -> None:
    """Every 61st byte, in keys and signatures too; every: also each byte outside their long runs of hex digits."""
    raw, signature = three.signed(three.report())
    assert verify_report(raw, signature)
    places = set(range(0, len(signature), 61))
    if every:
        runs = [run.span() for run in re.finditer(rb"[0-9a-f]{100,}", signature)]
        inside = {place for start, end in runs for place in range(start + 1, end - 1)}
        places |= set(range(len(signature))) - inside
    for place in sorted(places):
        mutant = signature[:place] + bytes([signature[place] ^ 1]) + signature[place + 1 :]
        with pytest.raises(ChoraleError):
            verify_report(raw, mutant)


@pytest.mark.full
def test_a_changed_byte_of_the_signature_is_refused(three: Consortium) -> None:
    _flipped(three, every=False)


@pytest.mark.full
def test_each_changed_byte_of_the_signature_is_refused(three: Consortium) -> None:
    _flipped(three, every=True)


def test_nobody_signs_for_another(three: Consortium) -> None:
    service, own = three.report(), three.report("partner")
    for report, signer, key in (
        (service, SERVER, OPERATOR_KEY),
        (service, "partner-000", PARTNER_KEYS["partner-000"]),
        (service, OPERATOR, OPERATOR_KEY),
        (own, SERVER, SERVER_KEY),
        (own, "partner-001", PARTNER_KEYS["partner-001"]),
        (own, "partner-000", PARTNER_KEYS["partner-001"]),
    ):
        raw = render_json(report)
        by = three.acceptances(*(PARTNER_KEYS if report is service else ["partner-000"]))
        with pytest.raises(BadSignature):
            verify_report(raw, sign_report(report, "json", raw, three.charter, by, signer, key).canonical_bytes)
    everyone = three.report("partner", participants=None)
    raw = render_json(everyone)
    signature = sign_report(
        everyone,
        "json",
        raw,
        three.charter,
        three.acceptances("partner-000"),
        "partner-000",
        PARTNER_KEYS["partner-000"],
    )
    with pytest.raises(BadSignature):
        verify_report(raw, signature.canonical_bytes)


def test_a_statement_under_another_charter_is_refused(three: Consortium) -> None:
    other = sign(three.charter.body.model_copy(update={"epoch": 2}), OPERATOR, OPERATOR_KEY)
    raw, signature = three.signed(three.report())
    read = ReportSignature.model_validate_json(signature)
    swapped = ReportSignature(charter=other, acceptances=read.acceptances, statement=read.statement)
    with pytest.raises(BadSignature):
        verify_report(raw, swapped.canonical_bytes)


def test_a_report_that_says_another_head_than_its_statement_is_refused(three: Consortium) -> None:
    report = three.report()
    raw = render_json(report.model_copy(update={"ledger": report.opening}))
    signature = sign_report(
        report, "json", raw, three.charter, three.acceptances(*PARTNER_KEYS), SERVER, SERVER_KEY
    )
    with pytest.raises(DigestMismatch):
        verify_report(raw, signature.canonical_bytes)


@pytest.mark.parametrize("raw", [b"", b"{}", b"[]", b"null", b'{"charter":1,"statement":2}', b"\xff", b"[" * 99])
def test_what_is_no_signature_file_is_refused(three: Consortium, raw: bytes) -> None:
    with pytest.raises(MalformedMessage):
        verify_report(b"", raw)


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("source", ["service", "partner"])
def test_figures_are_computed_anew_from_the_ledger(three: Consortium, source: str, half: bool) -> None:
    entries = (three.own if source == "partner" else three.chain).entries
    end = entries[-1].at + 61
    period = Period(start=entries[len(entries) // 2].at, end=entries[-2].at + 1 if half else end) if half else None
    report = three.report(source, period=period)
    lines = three.own_lines() if source == "partner" else three.service_lines()
    raw, signature = three.signed(report)
    said = described(raw, signature, Known.charter(three.charter.digest), lines)
    assert said["recomputed"].startswith(f"from {report.ledger.count} entries")


def test_a_report_on_one_participant_is_computed_anew_too(three: Consortium) -> None:
    report = three.report(participants=["partner-001"])
    found = check_against_ledger(report, three.charter.body, three.service_lines())
    assert found.head.count == len(three.chain.entries)


@pytest.mark.parametrize(
    ("where", "change"),
    [
        ("epsilon", lambda p: {**p, "guarantees": [{**p["guarantees"][0], "epsilon": 0.01}, p["guarantees"][1]]}),
        ("charged", lambda p: {**p, "charged": p["charged"] - 1}),
        ("rounds_left", lambda p: {**p, "rounds_left": 99}),
        ("entries", lambda p: {**p, "entries": p["entries"][1:]}),
        ("delta", lambda p: {**p, "delta": 1e-4}),
        ("name", lambda p: {**p, "name": "Another"}),
    ],
)
def test_a_signed_figure_that_is_not_the_ledgers_is_found(three: Consortium, where: str, change: object) -> None:
    """The service signs what it likes: its signature does not make a figure true."""
    value = three.report().model_dump(mode="json")
    value["participants"][1] = change(value["participants"][1])  # type: ignore[operator]
    report = BudgetReport.model_validate_json(canonical(value))
    raw, signature = three.signed(report)
    assert verify_report(raw, signature)
    with pytest.raises(DigestMismatch, match=where):
        described(raw, signature, None, three.service_lines())


def test_the_wrong_ledger_is_refused(three: Consortium) -> None:
    report = three.report()
    with pytest.raises(DigestMismatch, match="another"):
        check_against_ledger(report, three.charter.body, three.own_lines())
    longer = report.model_copy(update={"ledger": report.ledger.model_copy(update={"count": 10**6})})
    forked = report.model_copy(update={"ledger": report.ledger.model_copy(update={"head": "f" * 64})})
    for wrong in (longer, forked):
        with pytest.raises(DigestMismatch):
            check_against_ledger(wrong, three.charter.body, three.service_lines())
    raw, signature = three.signed(report, "csv")
    with pytest.raises(ChoraleError, match="JSON form"):
        described(raw, signature, None, three.service_lines())
