"""Confirmations and void votes: what a partner says of a sum, and what the others said (protocol 4.5).

Rules:
1. A confirmation carries the state's hash, every F_i used, what the probes showed, and the service's chain as it
   was verified and compared.
2. It is in the journal before it is sent, and a resend is the same bytes.
3. The state of an attempt is the one that t members of its J confirmed; signatures are verified here.
"""

from __future__ import annotations

from collections import Counter

from client_sdk.decode import SealedSum, Unsealed
from client_sdk.partner import Partner
from privacy.errors import ChoraleError, DigestMismatch, NotEnoughOpenings, WrongState
from privacy.protocol.identifiers import SERVER
from privacy.protocol.messages import (
    Cohort,
    Confirmation,
    Plan,
    ProbeFigures,
    UploadFingerprint,
    VoidVote,
    parse_signed,
)
from privacy.protocol.round_state import quorum

_REASON_LIMIT = 500


def confirm(partner: Partner, unsealed: Unsealed, state_digest: str, probes: ProbeFigures | None) -> None:
    """Rules 1 and 2. Raises LedgerBroken or RolledBack instead, where the ledgers differ."""
    checkpoint = partner.ledger_watch.sync(partner.service)
    body = Confirmation(
        charter=partner.charter.digest,
        plan=unsealed.seal.plan,
        seal=unsealed.seal.digest,
        partner=partner.name,
        state=state_digest,
        fingerprints=tuple(
            UploadFingerprint(partner=name, fingerprint=(str(first), str(second)))
            for name, (first, second) in sorted(unsealed.fingerprints.items())
        ),
        checkpoint=checkpoint,
        probes=probes,
    )
    raw = partner.sign(body).canonical_bytes
    partner.journal.write_once("confirmation", body.plan, {"confirmation": raw})
    send_confirmation(partner, raw, body.plan)


def send_confirmation(partner: Partner, confirmation: bytes, round_digest: str) -> None:
    """Send what the journal holds. After a void attempt and a later cohort it comes too late: that is said."""
    try:
        partner.service.confirm(confirmation, round_digest)
    except WrongState as ended:
        partner.progress.notice(f"the confirmation is not taken any more: {ended.came}")


def verified_confirmations(partner: Partner, plan: Plan) -> dict[str, Confirmation]:
    """Confirmations of this attempt whose signature verifies, by partner; others are named and left out."""
    found: dict[str, Confirmation] = {}
    for name, signed in partner.service.confirmations(plan.digest).items():
        try:
            body = partner.verifier.verify(signed, {name: partner.charter.entry(name).signing_keys})
        except ChoraleError as error:
            partner.progress.notice(f"a confirmation in the name of {name} was set aside: {error}")
            continue
        if body.plan == plan.digest and body.partner == name:
            found[name] = body
    return found


def accepted_cohort(partner: Partner, plan: Plan) -> Cohort:
    """J of an attempt: the one that this partner accepted, else the one that the server signed.

    Raises BadSignature, DigestMismatch.
    """
    record = partner.journal.record(plan.digest)
    if record is not None and record.signed_cohort is not None:
        signed = parse_signed(Cohort, record.signed_cohort)
    else:
        signed, _ = partner.service.cohort(plan.digest)
    cohort = partner.verifier.verify(signed, {SERVER: partner.charter.server_keys})
    if cohort.plan != plan.digest:
        raise DigestMismatch(f"the cohort of attempt {plan.digest[:16]}", f"of {cohort.plan[:16]}", "do not go on")
    return cohort


def confirmed_state(partner: Partner, plan: Plan) -> str:
    """Rule 3. Raises NotEnoughOpenings where no state has t confirmations."""
    cohort = accepted_cohort(partner, plan)
    needed = quorum(len(cohort.members), partner.charter.colluders)
    confirmations = verified_confirmations(partner, plan)
    votes = Counter(body.state for name, body in confirmations.items() if name in cohort.partners)
    state, count = votes.most_common(1)[0] if votes else ("", 0)
    if count < needed:
        raise NotEnoughOpenings(
            f"{needed} confirmations of one state by members of the cohort",
            f"{count}",
            "raise the alarm: the partners' models have parted",
        )
    return state


def vote_void(partner: Partner, sealed: SealedSum, reason: str) -> bool:
    """Say that no decoding works over the openings seen; said once, and resent as the same bytes.

    False where the service's clock still gives time to open: the vote is to be sent again.
    """
    record = partner.journal.record(sealed.round_digest)
    if record is None or record.cohort is None:
        return True
    raw = record.void_vote
    if raw is None:
        body = VoidVote(
            charter=partner.charter.digest,
            plan=sealed.round_digest,
            seal=sealed.seal.digest,
            partner=partner.name,
            openings=tuple(sorted(sealed.opening_digests.values())),
            reason=reason[:_REASON_LIMIT],
        )
        raw = partner.sign(body).canonical_bytes
        partner.journal.write_once("void vote", sealed.round_digest, {"void_vote": raw})
    try:
        partner.service.vote_void(raw, sealed.round_digest)
    except WrongState as ended:
        partner.progress.notice(f"the void vote came after the attempt had ended: {ended.came}")
    except NotEnoughOpenings as early:
        partner.progress.notice(f"the void vote is not taken yet: {early.came}")
        return False
    return True
