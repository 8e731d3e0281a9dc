"""A report's detached signature: a small file beside it that says whose word its bytes are.

`report.pdf.sig.json` holds the signed charter, the acceptances of it (of the whole roster for the service's report,
of the partner for its own) and a signed statement: the SHA-256 of the file, its format, whom it is about, the
period, the ledger head. Verification, in this order; the first that fails raises:
1. the signature file is of its schema, in its own canonical form;
2. the charter is signed by the operator that it names, is accepted by everyone it must be, and is one that the
   caller knew, or signed by the operator whose keys the caller knew, if any is given (`Known`);
3. the statement is under this charter, and signed by the charter's server key, or, for a partner's own ledger, by
   that partner's key: both algorithms;
4. the file is of the length and the SHA-256 that the statement names;
5. a JSON report says itself what the statement says of it.
Where the caller knew nothing, all this shows is that the files belong together: anyone can make a charter of their
own, with operator, service and partners of their own. `VerifiedReport.known_from` is None then, and a person
compares the charter's words.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, Literal

from pydantic import ValidationError

from privacy.errors import (
    BadSignature,
    ConfigurationError,
    DigestMismatch,
    MalformedMessage,
    WeakerThanCharter,
)
from privacy.protocol.body import CharteredBody
from privacy.protocol.canonical import canonical, digest, parse
from privacy.protocol.identifiers import OPERATOR, SERVER, Digest, DisplayName, Model, PartnerId
from privacy.protocol.messages import (
    ChainHead,
    Charter,
    CharterAcceptance,
    Count,
    Signed,
    SigningKeys,
    UnixSeconds,
)
from privacy.protocol.plan_checks import check_acceptance
from privacy.protocol.signing import SigningKey, sign, verify
from privacy.protocol.words import words
from privacy.report.budget_report import BudgetReport, Source
from privacy.report.period import Period

Format = Literal["pdf", "html", "csv", "json"]
FORMATS: Final[tuple[Format, ...]] = ("pdf", "html", "csv", "json")
MEDIA_TYPES: Final[dict[Format, str]] = {
    "pdf": "application/pdf",
    "html": "text/html; charset=utf-8",
    "csv": "text/csv; charset=utf-8",
    "json": "application/json",
}
SUFFIX: Final = ".sig.json"
MAX_SIGNATURE_BYTES: Final = 8 << 20
UNKNOWN_STATUS: Final = 3
"""What `report verify` ends with where the caller knew no charter: no script takes that for verified."""

UNKNOWN_VERDICT: Final = (
    "the files agree with the charter in the signature file only, which anyone could have made: compare its words"
    " with those the partners accepted, or name what you know with --charter, --config or --operator"
)


class ReportStatement(CharteredBody):
    """What is signed. participant: None where the report is about the whole consortium."""

    type: Literal["chorale/1 report"] = "chorale/1 report"
    consortium: DisplayName
    source: Source
    participant: PartnerId | None
    format: Format
    bytes: Count
    sha256: Digest
    period: Period
    ledger: ChainHead
    as_of: UnixSeconds


class ReportSignature(Model):
    """The file beside a report."""

    charter: Signed[Charter]
    acceptances: tuple[Signed[CharterAcceptance], ...]
    statement: Signed[ReportStatement]

    @property
    def canonical_bytes(self) -> bytes:
        return canonical(self.model_dump(mode="json"))


@dataclass(frozen=True)
class Known:
    """What the caller knew before it saw the files: digests of charters, or an operator's keys.

    source: where from, for people.
    """

    source: str
    charters: frozenset[str] = frozenset()
    operator_keys: SigningKeys | None = None

    @classmethod
    def charter(cls, digest_of: str) -> Known:
        """The one charter whose hash a person gave."""
        return cls("the hash that was given", frozenset([digest_of]))

    def check(self, charter: Charter) -> None:
        """Raises BadSignature."""
        if charter.digest in self.charters or (
            self.operator_keys is not None and charter.operator_keys == self.operator_keys
        ):
            return
        raise BadSignature(
            f"a report under a charter known from {self.source}",
            f"one under {charter.digest}, by an operator of that file's own choosing",
            "it is of another consortium or epoch: give --charter with that charter's hash if you know it",
        )


@dataclass(frozen=True)
class VerifiedReport:
    """What a report and its signature prove. known_from: how the caller knew the charter; None: it did not."""

    statement: ReportStatement
    charter: Charter
    signer: str
    known_from: str | None
    accepted: tuple[str, ...]
    report: BudgetReport | None

    def described(self) -> dict[str, Any]:
        said = self.statement
        return {
            "signed by": "the service" if self.signer == SERVER else self.signer,
            "consortium": said.consortium,
            "about": said.participant or "the whole consortium",
            "format": said.format,
            "sha256": said.sha256,
            "ledger": f"{said.ledger.count} entries, head {said.ledger.head}",
            "charter": said.charter,
            "words": words(said.charter),
            "accepted by": ", ".join(self.accepted),
            "charter known": "no" if self.known_from is None else f"yes, from {self.known_from}",
            "verdict": UNKNOWN_VERDICT if self.known_from is None else "verified",
        }


def format_of(name: str) -> Format:
    """Raises ConfigurationError unless it is one of FORMATS."""
    for form in FORMATS:
        if name == form:
            return form
    raise ConfigurationError(f"a format of {', '.join(FORMATS)}", repr(name[:20]), "choose one of these")


def about(report: BudgetReport) -> str | None:
    """The one participant that a report is about, if it is."""
    return report.participants[0].partner if len(report.participants) == 1 else None


def sign_report(
    report: BudgetReport,
    form: Format,
    raw: bytes,
    charter: Signed[Charter],
    acceptances: Iterable[Signed[CharterAcceptance]],
    signer: str,
    key: SigningKey,
) -> ReportSignature:
    """signer: `server`, or the partner whose own ledger it is. acceptances: of the roster, or of that partner."""
    statement = ReportStatement(
        charter=report.charter,
        consortium=report.consortium,
        source=report.source,
        participant=about(report),
        format=form,
        bytes=len(raw),
        sha256=digest(raw),
        period=report.period,
        ledger=report.ledger,
        as_of=report.as_of,
    )
    return ReportSignature(charter=charter, acceptances=tuple(acceptances), statement=sign(statement, signer, key))


def read_signature(raw: bytes) -> ReportSignature:
    """Step 1. Raises MalformedMessage, TooLarge."""
    value = parse(raw, MAX_SIGNATURE_BYTES)
    try:
        read = ReportSignature.model_validate_json(raw)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise MalformedMessage(
            "a report's signature file", f"{where}: {first['msg']}", f"name the file that ends in {SUFFIX}"
        ) from None
    if read.model_dump(mode="json") != value:
        raise MalformedMessage("every field written out", "fields left to defaults", "fetch the signature again")
    return read


def verify_report(raw: bytes, signature: bytes, known: Known | None = None) -> VerifiedReport:
    """What these bytes are, by whose word.

    Raises MalformedMessage, TooLarge, BadSignature, WeakerThanCharter (an acceptance is missing), DigestMismatch.
    """
    read = read_signature(signature)
    charter = verify(read.charter, {OPERATOR: read.charter.body.operator_keys})
    if known is not None:
        known.check(charter)
    said = read.statement.body
    if said.charter != charter.digest or said.consortium != charter.consortium:
        raise BadSignature(
            f"a statement under charter {charter.digest}", f"one under {said.charter}", "fetch both files again"
        )
    signer, keys = SERVER, charter.server_keys
    if said.source == "partner":
        if said.participant is None:
            raise BadSignature("a partner's report about itself", "one about everyone", "ask the partner for it")
        signer, keys = said.participant, charter.entry(said.participant).signing_keys
    accepted = _accepted(read, charter, None if signer == SERVER else signer)
    verify(read.statement, {signer: keys})
    if (len(raw), digest(raw)) != (said.bytes, said.sha256):
        raise DigestMismatch(
            f"the {said.bytes} bytes of SHA-256 {said.sha256} that were signed",
            f"{len(raw)} bytes of {digest(raw)}",
            "the file was changed since: ask for the report again",
        )
    return VerifiedReport(
        said, charter, signer, None if known is None else known.source, accepted, _report(raw, said)
    )


def _accepted(read: ReportSignature, charter: Charter, partner: str | None) -> tuple[str, ...]:
    """Step 2: those who must have accepted the charter, each once and in the roster's order."""
    expected = charter.partners if partner is None else (partner,)
    named = tuple(one.body.partner for one in read.acceptances)
    if named != expected:
        raise WeakerThanCharter(
            f"acceptances of the charter by {', '.join(expected)}",
            ", ".join(named) or "none",
            "fetch the signature again; without them the charter binds nobody",
        )
    for one in read.acceptances:
        check_acceptance(one, charter)
    return named


def _report(raw: bytes, said: ReportStatement) -> BudgetReport | None:
    """Step 5."""
    if said.format != "json":
        return None
    try:
        report = BudgetReport.model_validate_json(raw)
    except ValidationError as error:
        raise MalformedMessage(
            "a report of docs/schemas/budget-report.json",
            str(error.errors(include_url=False, include_input=False)[0]["msg"]),
            "verify it with the version that made it",
        ) from None
    found = (report.charter, report.source, about(report), report.period, report.ledger, report.as_of)
    if found != (said.charter, said.source, said.participant, said.period, said.ledger, said.as_of):
        raise DigestMismatch(
            "a report of the charter, ledger, period and time that were signed", "others", "do not rely on it"
        )
    return report
