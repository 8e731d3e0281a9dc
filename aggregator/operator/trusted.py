"""What the operator may rely on, out of what the service says.

Rules:
1. The service's keys are those pinned when the folder was made.
2. An enrolment is signed by the keys it enrols, and is the one that was approved from this folder.
3. A charter is one this operator signed; it is in force by every partner's signature, not by the service's word.
4. A campaign is signed by the lead before the operator signs it, and is the one that was asked for.
5. The state a plan starts from is the genesis, or one that t partners of a verified cohort signed (protocol 3).
6. An attempt without a result is closed by the server's signature, or void by t members' votes on its seal.
It speaks to nobody: answers come in, verified bodies go out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from aggregator.operator.answers import (
    About,
    CampaignRecord,
    CharterRecord,
    CohortRecord,
    Confirmations,
    EnrolmentRecord,
    RoundDocument,
)
from aggregator.operator.folder import keys_digest
from privacy.errors import BadSignature, NotAllowed, NotFound, WeakerThanCharter, WrongState
from privacy.protocol.cohort_checks import check_cohort
from privacy.protocol.ending_checks import check_close, check_void
from privacy.protocol.identifiers import OPERATOR
from privacy.protocol.messages import (
    Campaign,
    Charter,
    Confirmation,
    Enrolment,
    Plan,
    Signed,
    SigningKeys,
    VoidVote,
)
from privacy.protocol.plan_checks import check_acceptances
from privacy.protocol.round_state import quorum
from privacy.protocol.signing import Verifier, verify


@dataclass(frozen=True)
class ConfirmedRound:
    """An attempt whose result t partners of J signed. state: the hash they signed."""

    plan: Plan
    state: str
    signers: tuple[str, ...]


def pinned_server_keys(about: About, pinned: str) -> SigningKeys:
    if keys_digest(about.server_keys) != pinned:
        raise BadSignature(
            f"the service whose keys were pinned ({pinned[:16]})",
            f"one with other keys ({keys_digest(about.server_keys)[:16]})",
            "check the address in operator.toml; sign nothing that this service proposes",
        )
    return about.server_keys


def enrolment_of(record: EnrolmentRecord) -> Enrolment:
    """The enrolment, signed by the keys it brings."""
    body = record.enrolment.body
    return verify(record.enrolment, {body.partner: body.signing_keys})


def approved_enrolments(records: Sequence[EnrolmentRecord], approvals: Mapping[str, str]) -> dict[str, Enrolment]:
    """By partner, the enrolments approved from this folder. Raises NotAllowed where the service's differ."""
    found: dict[str, Enrolment] = {}
    for record in records:
        if record.state != "approved":
            continue
        body = enrolment_of(record)
        if approvals.get(body.partner) != body.digest:
            raise NotAllowed(
                f"the enrolment of {body.partner} that was approved from this folder",
                f"another ({body.digest[:16]}), or one approved elsewhere",
                f"compare its words with the partner, then run `chorale-server approve {body.partner}` here",
            )
        found[body.partner] = body
    return found


def signed_charter(record: CharterRecord, operator_keys: SigningKeys) -> Charter:
    """The charter as this operator signed it; whether it is in force is another question."""
    return verify(record.charter, {OPERATOR: operator_keys})


def charter_in_force(record: CharterRecord, operator_keys: SigningKeys, pinned: str, verifier: Verifier) -> Charter:
    charter = signed_charter(record, operator_keys)
    if keys_digest(charter.server_keys) != pinned:
        raise BadSignature(
            "a charter with the pinned service's keys", "other keys", "draft a charter for this service"
        )
    check_acceptances(charter, dict(record.acceptances), verifier)
    return charter


def campaign_by_lead(record: CampaignRecord, campaign: str, charter: Charter) -> Signed[Campaign]:
    """The campaign as the lead signed it, for the operator to countersign."""
    signed = record.campaign
    if signed.digest != campaign:
        raise WeakerThanCharter(f"campaign {campaign[:16]}", f"campaign {signed.digest[:16]}", "ask for it again")
    lead_keys = {charter.lead: charter.entry(charter.lead).signing_keys}
    lead_alone = {signer: pair for signer, pair in signed.signatures.items() if signer == charter.lead}
    if not lead_alone:
        raise BadSignature(
            f"a campaign signed by the lead, {charter.lead}",
            f"signatures by {', '.join(sorted(signed.signatures))}",
            "have the lead sign it",
        )
    by_lead = signed.model_copy(update={"signatures": lead_alone})
    verify(by_lead, lead_keys)
    if signed.body.charter != charter.digest:
        raise WeakerThanCharter(
            f"a campaign under charter {charter.digest[:16]}",
            f"one under {signed.body.charter[:16]}",
            "draft it anew",
        )
    return by_lead


def closed_round(document: RoundDocument, charter: Charter, verifier: Verifier) -> None:
    """Rule 6. Raises NotFound, BadSignature, DigestMismatch."""
    plan = verifier.verify(document.plan, {OPERATOR: charter.operator_keys})
    check_close(document.close, plan, charter, verifier)


def void_round(
    document: RoundDocument,
    cohort: CohortRecord,
    votes: Sequence[Signed[VoidVote]],
    charter: Charter,
    verifier: Verifier,
) -> None:
    """Rule 6. Raises NotEnoughOpenings, BadSignature, NotFound."""
    plan = verifier.verify(document.plan, {OPERATOR: charter.operator_keys})
    if document.seal is None:
        raise NotFound("the seal of an attempt that is void", "none", "do not go on")
    joins = {join.body.partner: join for join in cohort.joins}
    members, _ = check_cohort(cohort.cohort, joins, plan, charter, {}, verifier)
    check_void(votes, plan, members, document.seal.digest, charter, verifier)


def confirmed_round(
    document: RoundDocument,
    cohort: CohortRecord,
    confirmations: Confirmations,
    charter: Charter,
    campaign: Campaign,
    verifier: Verifier,
) -> ConfirmedRound:
    """Rule 5. Raises WrongState where no hash has t signatures by members of J, or more than one has."""
    plan = verifier.verify(document.plan, {OPERATOR: charter.operator_keys})
    if plan.digest != document.round or plan.charter != charter.digest or plan.campaign != campaign.digest:
        raise WeakerThanCharter(
            f"round {document.round[:16]} of campaign {campaign.digest[:16]}", "another's plan", "do not go on"
        )
    joins = {join.body.partner: join for join in cohort.joins}
    members, _ = check_cohort(cohort.cohort, joins, plan, charter, {}, verifier)
    needed = quorum(len(members.partners), charter.colluders)
    signed: dict[str, Confirmation] = {}
    for confirmation in confirmations.confirmations:
        partner = confirmation.body.partner
        if partner not in members.partners:
            continue
        body = verifier.verify(confirmation, {partner: charter.entry(partner).signing_keys})
        if body.plan == plan.digest:
            signed[partner] = body
    votes = Counter((body.seal, body.state) for body in signed.values())
    agreed = [vote for vote, count in votes.items() if count >= needed]
    if len(agreed) != 1:
        raise WrongState(
            f"one state signed by at least {needed} of {len(members.partners)} partners of round {plan.round}",
            f"{sorted(votes.values(), reverse=True)} signatures on {len(votes)} state(s)",
            "wait for more confirmations; if partners disagree, `chorale-server round show` names them",
        )
    seal_and_state = agreed[0]
    signers = tuple(sorted(p for p, body in signed.items() if (body.seal, body.state) == seal_and_state))
    return ConfirmedRound(plan, seal_and_state[1], signers)
