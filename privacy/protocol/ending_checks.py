"""Whether an attempt without a result has ended as it is said to have (protocol 4.5).

Rules:
1. Void: t members of J signed a vote on this attempt's seal. The service's word alone ends nothing.
2. Closed: the server signed a close of this attempt.
A confirmed end is for those who hold the state it names: t members of J signed that.
"""

from __future__ import annotations

from collections.abc import Iterable

from privacy.errors import BadSignature, DigestMismatch, NotEnoughOpenings, NotFound
from privacy.protocol.identifiers import SERVER
from privacy.protocol.messages import Charter, Close, Cohort, Plan, Signed, VoidVote
from privacy.protocol.round_state import quorum
from privacy.protocol.signing import Verifier

_REMEDY = "raise the alarm: the service says that an attempt ended which did not end so; go on with nothing"


def check_void(
    votes: Iterable[Signed[VoidVote]], plan: Plan, cohort: Cohort, seal: str, charter: Charter, verifier: Verifier
) -> tuple[str, ...]:
    """Rule 1; who voted, sorted. seal: its digest. Raises BadSignature, NotEnoughOpenings."""
    voters: set[str] = set()
    for signed in votes:
        name = signed.body.partner
        if name not in cohort.partners:
            raise BadSignature("void votes by members of the cohort", f"one by {name}", _REMEDY)
        body = verifier.verify(signed, {name: charter.entry(name).signing_keys})
        if (body.charter, body.plan, body.seal) != (charter.digest, plan.digest, seal):
            raise BadSignature(f"void votes on seal {seal[:16]}", f"one by {name} on {body.seal[:16]}", _REMEDY)
        voters.add(name)
    needed = quorum(len(cohort.members), charter.colluders)
    if len(voters) < needed:
        raise NotEnoughOpenings(
            f"void votes signed by {needed} of the {len(cohort.members)} members of the cohort",
            f"{len(voters)}",
            _REMEDY,
        )
    return tuple(sorted(voters))


def check_close(signed: Signed[Close] | None, plan: Plan, charter: Charter, verifier: Verifier) -> Close:
    """Rule 2. Raises NotFound, BadSignature, DigestMismatch."""
    if signed is None:
        raise NotFound("the server's signed close of an attempt that ended", "none", _REMEDY)
    close = verifier.verify(signed, {SERVER: charter.server_keys})
    if (close.charter, close.plan) != (charter.digest, plan.digest):
        raise DigestMismatch(f"a close of attempt {plan.digest[:16]}", f"of {close.plan[:16]}", _REMEDY)
    return close
