"""Is this the cohort that a partner may train for? (protocol 4.1)

Rules:
1. The server signed J; every member's join is signed by that member's roster key, for this R, with the digest
   that J names; every round key can be encapsulated to.
2. |J| >= n_min and the quorum fits. A partner trains for no J that it is not in.
3. A member whose own ledger is shorter than it was seen before runs a rolled-back machine: J is refused.
That a partner accepts one J for an attempt, ever, is its journal's matter.
"""

from __future__ import annotations

from collections.abc import Mapping

from privacy.errors import RolledBack, WeakerThanCharter
from privacy.he.boxes import check_public_key
from privacy.protocol.identifiers import SERVER
from privacy.protocol.messages import Charter, Cohort, Join, Plan, Signed
from privacy.protocol.round_state import check_cohort_size
from privacy.protocol.signing import Verifier


def check_join(signed: Signed[Join], plan_digest: str, charter: Charter, partner: str, verifier: Verifier) -> Join:
    """A join by `partner` for this attempt, with a round key that works."""
    body = verifier.verify(signed, {partner: charter.entry(partner).signing_keys})
    if body.partner != partner or body.plan != plan_digest or body.charter != charter.digest:
        raise WeakerThanCharter(
            f"a join by {partner} for plan {plan_digest[:16]}",
            f"one by {body.partner} for {body.plan[:16]}",
            "sign a join for this plan",
        )
    check_public_key(bytes.fromhex(body.round_key))
    return body


def check_cohort(
    signed: Signed[Cohort],
    joins: Mapping[str, Signed[Join]],
    plan: Plan,
    charter: Charter,
    seen_ledger_counts: Mapping[str, int],
    verifier: Verifier,
) -> tuple[Cohort, dict[str, Join]]:
    """The cohort and each member's verified join."""
    cohort = verifier.verify(signed, {SERVER: charter.server_keys})
    if cohort.charter != charter.digest or cohort.plan != plan.digest:
        raise WeakerThanCharter("the cohort of this plan", "another's", "fetch the cohort of this attempt")
    check_cohort_size(len(cohort.members), charter.n_min, charter.colluders)
    verified: dict[str, Join] = {}
    for member in cohort.members:
        join = joins.get(member.partner)
        if join is None or join.digest != member.join:
            raise WeakerThanCharter(
                f"the join of {member.partner} that the cohort names",
                "none or another",
                "fetch the cohort again",
            )
        body = check_join(join, plan.digest, charter, member.partner, verifier)
        if body.ledger.count < seen_ledger_counts.get(member.partner, 0):
            raise RolledBack(
                f"a ledger of at least {seen_ledger_counts[member.partner]} entries at {member.partner}",
                f"{body.ledger.count}",
                f"train no round with {member.partner} until it has explained what became of its folder",
            )
        verified[member.partner] = body
    return cohort, verified
