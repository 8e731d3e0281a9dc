"""Every message of the protocol, in one place to import from.

body.py: what they share. constitution.py: charter, campaign, states. attempt.py: a round attempt. signed.py: the
signed form. Nothing here decides: plan_checks, cohort_checks and opening_checks do.
"""

from __future__ import annotations

from privacy.protocol.attempt import (
    Abort,
    AddressedDigest,
    Close,
    Cohort,
    CohortMember,
    Confirmation,
    Contributor,
    Deadlines,
    Join,
    Manifest,
    Opening,
    Plan,
    ProbeFigures,
    Receipt,
    Refusal,
    Seal,
    ShardRoot,
    UploadFingerprint,
    VectorLayout,
    VoidVote,
)
from privacy.protocol.body import Body, ChainHead, CharteredBody, Count, Positive, SigningKeys, UnixSeconds
from privacy.protocol.constitution import (
    Campaign,
    Charter,
    CharterAcceptance,
    Checkpoint,
    Enrolment,
    ParameterShape,
    RosterEntry,
    StateBox,
    StateRequest,
    UpdateRule,
)
from privacy.protocol.signed import BodyT, SignaturePair, Signed, parse_signed, signed_model

__all__ = [
    "Abort",
    "AddressedDigest",
    "Body",
    "BodyT",
    "Campaign",
    "ChainHead",
    "Charter",
    "CharterAcceptance",
    "CharteredBody",
    "Checkpoint",
    "Close",
    "Cohort",
    "CohortMember",
    "Confirmation",
    "Contributor",
    "Count",
    "Deadlines",
    "Enrolment",
    "Join",
    "Manifest",
    "Opening",
    "ParameterShape",
    "Plan",
    "Positive",
    "ProbeFigures",
    "Receipt",
    "Refusal",
    "RosterEntry",
    "Seal",
    "ShardRoot",
    "SignaturePair",
    "Signed",
    "SigningKeys",
    "StateBox",
    "StateRequest",
    "UnixSeconds",
    "UpdateRule",
    "UploadFingerprint",
    "VectorLayout",
    "VoidVote",
    "parse_signed",
    "signed_model",
]
