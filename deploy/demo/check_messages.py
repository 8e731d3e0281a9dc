"""Every signed message of a consortium, verified again from its files: charter, campaign, and each attempt.

Rules:
1. The charter is the one that every partner pinned in its own journal; the service's word is not enough.
2. Each attempt passes the checks that a partner makes before it joins, opens and confirms, by the same code.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from deploy.demo.check_files import AttemptFiles, ConsortiumFiles, only, parse_all
from privacy.errors import (
    BadSignature,
    ChoraleError,
    DigestMismatch,
    FingerprintMismatch,
    MalformedMessage,
    NotEnoughOpenings,
    NotFound,
    WeakerThanCharter,
    WrongState,
)
from privacy.he.fingerprint import FingerprintValue
from privacy.protocol.cohort_checks import check_cohort
from privacy.protocol.ending_checks import check_close, check_void
from privacy.protocol.identifiers import OPERATOR, SERVER
from privacy.protocol.messages import (
    Campaign,
    ChainHead,
    Charter,
    CharterAcceptance,
    Close,
    Cohort,
    Confirmation,
    Join,
    Manifest,
    Opening,
    Plan,
    Receipt,
    Seal,
    Signed,
    VoidVote,
    parse_signed,
)
from privacy.protocol.opening_checks import OpeningRequest, check_sealed_set
from privacy.protocol.plan_checks import check_acceptances, check_campaign, check_charter, check_plan
from privacy.protocol.round_state import RoundState, quorum
from privacy.protocol.signing import Verifier

_REMEDY = "raise the alarm, and keep the files"


@dataclass(frozen=True)
class Constitution:
    charter: Charter
    campaign: Campaign


@dataclass(frozen=True)
class VerifiedAttempt:
    """A confirmed attempt of which every message verified. `fingerprints`: of the uploads, by their openings."""

    plan: Plan
    cohort: Cohort
    joins: dict[str, Join]
    seal: Seal
    manifests: dict[str, Manifest]
    fingerprints: dict[str, FingerprintValue]
    state: str
    checkpoints: tuple[ChainHead, ...]
    votes: int


def check_constitution(files: ConsortiumFiles, verifier: Verifier) -> Constitution:
    """Charter and campaign, with every signature that makes them count."""
    signed = parse_signed(Charter, only("charter in force", files.charters()))
    charter = verifier.verify(signed, {OPERATOR: signed.body.operator_keys})
    check_charter(charter)
    if files.partners() != list(charter.partners):
        raise MalformedMessage(f"folders of {charter.partners}", f"{files.partners()}", "check the whole folder")
    for partner in charter.partners:
        pinned = parse_signed(Charter, files.pinned_charter(partner)).digest
        if pinned != charter.digest:
            raise WeakerThanCharter(f"charter {charter.digest[:16]} pinned by {partner}", f"{pinned[:16]}", _REMEDY)
    check_acceptances(charter, parse_all(CharterAcceptance, files.acceptances(charter.digest)), verifier)
    campaign = parse_signed(Campaign, only("campaign", files.campaigns(charter.digest)))
    return Constitution(charter, check_campaign(campaign, charter, verifier))


class AttemptCheck:
    """Verifies a campaign's attempts in their order. `ended_otherwise`: how many were closed or void."""

    def __init__(self, files: ConsortiumFiles, constitution: Constitution, verifier: Verifier) -> None:
        self._files = files
        self._charter = constitution.charter
        self._campaign = constitution.campaign
        self._verifier = verifier
        self._state = constitution.campaign.genesis
        self._counts: dict[str, int] = {}
        self.messages = 0
        self.ended_otherwise = 0

    def run(self) -> list[VerifiedAttempt]:
        """The confirmed attempts. Raises what is wrong with the first that does not verify."""
        confirmed = []
        for attempt in self._files.attempts(self._campaign.digest):
            try:
                verified = self._take(attempt)
            except ChoraleError as error:
                error.add_note(f"in round {attempt.number}, attempt {attempt.attempt}")
                raise
            if verified is not None:
                confirmed.append(verified)
        if not confirmed:
            raise NotFound("a confirmed attempt", "none", "run `make demo` to its end first")
        return confirmed

    def _take(self, attempt: AttemptFiles) -> VerifiedAttempt | None:
        plan = self._plan(attempt)
        if attempt.state != RoundState.CONFIRMED.value:
            self._ended(attempt, plan.body)
            return None
        verified = self._confirmed(attempt, plan)
        if plan.body.kind == "training":
            self._state = verified.state
        return verified

    def _plan(self, attempt: AttemptFiles) -> Signed[Plan]:
        signed = parse_signed(Plan, attempt.plan)
        plan = check_plan(signed, self._charter, self._campaign, self._verifier)
        self.messages += 1
        if plan.digest != attempt.round:
            raise DigestMismatch(f"the plan of attempt {attempt.round[:16]}", plan.digest[:16], _REMEDY)
        if plan.base_state != self._state:
            raise DigestMismatch(
                f"round {plan.round} to start from the state that was confirmed last, {self._state[:16]}",
                plan.base_state[:16],
                _REMEDY,
            )
        return signed

    def _ended(self, attempt: AttemptFiles, plan: Plan) -> None:
        """Void by the votes of t members on the seal, or closed by the server; a close may not hide a sum."""
        self.ended_otherwise += 1
        if attempt.state == RoundState.VOID.value:
            self._void(attempt, plan)
            return
        signed = None if attempt.close is None else parse_signed(Close, attempt.close)
        close = check_close(signed, plan, self._charter, self._verifier)
        self.messages += 1
        if close.cause == "not-opened":
            needed = quorum(len(self._cohort(attempt, plan).members), self._charter.colluders)
            came = len(self._files.openings(plan.digest))
            if came >= needed:
                raise WrongState(f"fewer than {needed} openings of what closed as not opened", f"{came}", _REMEDY)

    def _void(self, attempt: AttemptFiles, plan: Plan) -> None:
        if attempt.seal is None:
            raise NotFound("the seal of an attempt that is void", "none", _REMEDY)
        votes = parse_all(VoidVote, self._files.void_votes(plan.digest)).values()
        seal = parse_signed(Seal, attempt.seal).digest
        check_void(votes, plan, self._cohort(attempt, plan), seal, self._charter, self._verifier)
        self.messages += len(votes)

    def _cohort(self, attempt: AttemptFiles, plan: Plan) -> Cohort:
        """The cohort that the server signed for an attempt without a result."""
        if attempt.cohort is None:
            raise NotFound(f"the cohort of round {plan.round}", "none", _REMEDY)
        signed = parse_signed(Cohort, attempt.cohort)
        cohort = self._verifier.verify(signed, {SERVER: self._charter.server_keys})
        if cohort.plan != plan.digest:
            raise DigestMismatch(f"the cohort of attempt {plan.digest[:16]}", cohort.plan[:16], _REMEDY)
        return cohort

    def _confirmed(self, attempt: AttemptFiles, signed: Signed[Plan]) -> VerifiedAttempt:
        plan, files = signed.body, self._files
        if attempt.cohort is None or attempt.seal is None:
            raise NotFound(f"cohort and seal of round {plan.round}", "none", _REMEDY)
        cohort, joins = check_cohort(
            parse_signed(Cohort, attempt.cohort),
            parse_all(Join, files.joins(plan.digest)),
            plan,
            self._charter,
            self._counts,
            self._verifier,
        )
        self._counts.update({name: join.ledger.count for name, join in joins.items()})
        seal = parse_signed(Seal, attempt.seal)
        request = OpeningRequest(
            partner=self._charter.lead,
            charter=self._charter,
            plan=signed,
            cohort=cohort,
            seal=seal,
            manifests=parse_all(Manifest, files.manifests(plan.digest)),
            accepted_plan=plan.digest,
            accepted_cohort=cohort.digest,
            own_upload=None,
            opened_set=None,
        )
        manifests = check_sealed_set(request, self._verifier)
        self._receipts(plan, seal.body)
        fingerprints = self._openings(plan, cohort, seal.body)
        checkpoints, votes = self._confirmations(attempt, plan, cohort, seal.body, fingerprints)
        self.messages += 2 + len(joins) + len(manifests)
        return VerifiedAttempt(
            plan=plan,
            cohort=cohort,
            joins=joins,
            seal=seal.body,
            manifests=manifests,
            fingerprints=fingerprints,
            state=str(attempt.confirmed_state),
            checkpoints=checkpoints,
            votes=votes,
        )

    def _receipts(self, plan: Plan, seal: Seal) -> None:
        """Who holds a receipt is in U, with the manifest that the receipt names."""
        receipts = parse_all(Receipt, self._files.receipts(plan.digest))
        named = {}
        for name, signed in receipts.items():
            body = self._verifier.verify(signed, {SERVER: self._charter.server_keys})
            named[name] = body.manifest
            if (body.plan, body.partner) != (plan.digest, name):
                raise BadSignature(f"a receipt for {name} in round {plan.round}", "another's", _REMEDY)
        self.messages += len(named)
        sealed = {contributor.partner: contributor.manifest for contributor in seal.contributors}
        if named != sealed:
            raise DigestMismatch(f"a seal of who holds a receipt, {sorted(named)}", f"{sorted(sealed)}", _REMEDY)

    def _openings(self, plan: Plan, cohort: Cohort, seal: Seal) -> dict[str, FingerprintValue]:
        found: dict[str, FingerprintValue] = {}
        openings = parse_all(Opening, self._files.openings(plan.digest))
        for name, signed in openings.items():
            body = self._verifier.verify(signed, {name: self._charter.entry(name).signing_keys})
            expected = (plan.digest, cohort.digest, seal.digest, name)
            if (body.plan, body.cohort, body.seal, body.partner) != expected or name not in cohort.partners:
                raise BadSignature(f"an opening by {name} for the seal of round {plan.round}", "another", _REMEDY)
            if body.fingerprint is not None and name in seal.partners:
                found[name] = (int(body.fingerprint[0]), int(body.fingerprint[1]))
        self.messages += len(openings)
        needed = quorum(len(cohort.members), self._charter.colluders)
        if len(openings) < needed:
            raise NotEnoughOpenings(f"{needed} openings in round {plan.round}", f"{len(openings)}", _REMEDY)
        return found

    def _confirmations(
        self,
        attempt: AttemptFiles,
        plan: Plan,
        cohort: Cohort,
        seal: Seal,
        fingerprints: dict[str, FingerprintValue],
    ) -> tuple[tuple[ChainHead, ...], int]:
        votes: Counter[str] = Counter()
        checkpoints = []
        for name, signed in parse_all(Confirmation, self._files.confirmations(plan.digest)).items():
            body = self._verifier.verify(signed, {name: self._charter.entry(name).signing_keys})
            if (body.plan, body.seal, body.partner) != (plan.digest, seal.digest, name):
                raise BadSignature(f"a confirmation by {name} of round {plan.round}", "of another", _REMEDY)
            for item in body.fingerprints:
                value = (int(item.fingerprint[0]), int(item.fingerprint[1]))
                if fingerprints.get(item.partner, value) != value:
                    raise FingerprintMismatch(
                        f"the fingerprint that {item.partner} signed in round {plan.round}",
                        f"another in the confirmation of {name}",
                        _REMEDY,
                    )
            votes[body.state] += name in cohort.partners
            checkpoints.append(body.checkpoint)
            self.messages += 1
        needed = quorum(len(cohort.members), self._charter.colluders)
        count = votes[str(attempt.confirmed_state)]
        if count < needed:
            raise NotEnoughOpenings(
                f"{needed} confirmations of {str(attempt.confirmed_state)[:16]} in round {plan.round}",
                f"{count}",
                _REMEDY,
            )
        return tuple(checkpoints), count
