"""Joining an attempt, and accepting its cohort once (protocol 4.1).

Rules:
1. The round key is kept and the join is in the journal before the join is sent; a resend is the same bytes.
2. A cohort is accepted if every check of `cohort_checks` passes and it holds the very join that this partner
   signed; accepting it and charging the own ledger are one transaction.
3. The service's ledger is verified and compared before a folder's first join and after an attempt without a result;
   otherwise at each confirmation.
"""

from __future__ import annotations

from types import MappingProxyType

from client_sdk.answers import RoundDocument
from client_sdk.attempt import Attempt, JoinedAttempt
from client_sdk.journal import AttemptRecord
from client_sdk.meter import Meter
from client_sdk.partner import Partner
from privacy.errors import AttemptOver, Conflict, WrongState
from privacy.he.boxes import BoxKey
from privacy.protocol.cohort_checks import check_cohort
from privacy.protocol.messages import Cohort, Join, Plan, Signed, parse_signed
from privacy.protocol.round_state import RoundState


def join(partner: Partner, attempt: Attempt, meter: Meter) -> JoinedAttempt:
    """Join, wait for J, accept it. Raises AttemptOver where no cohort with this partner comes; BudgetExhausted,
    RolledBack, LedgerBroken, Conflict."""
    round_digest = attempt.round_digest
    record = partner.journal.record(round_digest)
    if record is not None and record.cohort is not None:
        return rebuild(partner, attempt, record)
    with meter.phase("join", f"round {attempt.plan.round}"):
        if not partner.ledger_watch.compared:
            partner.ledger_watch.sync(partner.service)
        message = _own_join(partner, attempt, record)
        try:
            partner.service.join(message)
        except WrongState as late:
            # The first answer may have been lost, and the cohort published since: the document tells.
            partner.progress.notice(f"not joined now: {late.came}")
        document = partner.wait_until(round_digest, RoundState.JOINING, lambda shown: shown.cohort is not None)
        accept(partner, document)
    record = partner.journal.record(round_digest)
    if record is None or record.cohort is None:
        partner.ledger_watch.compared = False  # the service may have charged for it all the same
        raise _over(document)
    return rebuild(partner, attempt, record)


def accept(partner: Partner, document: RoundDocument) -> bool:
    """Accept the published cohort if this partner is in it, and charge for it; whether it is."""
    record = partner.journal.record(document.round)
    if record is None or record.signed_join is None or document.cohort is None:
        return False
    if record.cohort is not None:
        return True
    plan = parse_signed(Plan, record.signed_plan).body
    signed, joins = partner.service.cohort(document.round)
    if not any(member.partner == partner.name for member in signed.body.members):
        return False
    cohort, verified = check_cohort(
        signed, joins, plan, partner.charter, partner.journal.seen_counts(), partner.verifier
    )
    own = parse_signed(Join, record.signed_join)
    if verified[partner.name] != own.body:
        raise Conflict(
            "the join that this partner's journal holds",
            "another one, signed with the same key",
            "find the other copy of this folder: two must not take part",
        )
    charge = partner.own_ledger.next_charge(plan, partner.charter, partner.now())
    partner.journal.accept_cohort(
        document.round,
        cohort.digest,
        signed.canonical_bytes,
        {name: joins[name].canonical_bytes for name in cohort.partners},
        {name: body.ledger.count for name, body in verified.items()},
        charge,
    )
    partner.own_ledger.written(charge)
    return True


def rebuild(partner: Partner, attempt: Attempt, record: AttemptRecord) -> JoinedAttempt:
    """A joined attempt from the journal: its joins were verified before they were written."""
    cohort = parse_signed(Cohort, record.signed_cohort or b"").body
    joins = {name: parse_signed(Join, raw).body for name, raw in record.join_messages().items()}
    return JoinedAttempt(attempt, cohort, MappingProxyType(joins), partner.charter.colluders)


def _own_join(partner: Partner, attempt: Attempt, record: AttemptRecord | None) -> Signed[Join]:
    if record is not None and record.signed_join is not None:
        return parse_signed(Join, record.signed_join)
    key = BoxKey.generate()
    partner.round_keys.keep(attempt.round_digest, key)
    message = partner.sign(
        Join(
            charter=partner.charter.digest,
            plan=attempt.round_digest,
            partner=partner.name,
            round_key=key.public_bytes.hex(),
            ledger=partner.own_ledger.head,
        )
    )
    plan = attempt.plan
    partner.journal.met(
        attempt.round_digest,
        plan.campaign,
        plan.round,
        plan.deadlines.open,
        attempt.signed_plan.canonical_bytes,
    )
    partner.journal.write_once("joined", attempt.round_digest, {"signed_join": message.canonical_bytes})
    return message


def _over(document: RoundDocument) -> AttemptOver:
    if document.close is not None:
        came = f"one that closed: {document.close.body.reason}"
    else:
        came = "a cohort without this partner: its join came too late"
    return AttemptOver("an attempt with this partner in its cohort", came, "go on with the next attempt")
