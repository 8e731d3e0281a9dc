"""What a partner checks before it opens, in this order (protocol 4.4). Each failure names its number.

(1) plan and charter are the pinned ones, the seal is the server's, for this attempt;
(2) J is the cohort that this partner accepted;
(3) U is within J, and every manifest in U is signed by that member, for this R and J, with the plan's length,
    once each, and has the digest that the seal names;
(4) |U| >= n_min;
(5) its own upload, if in U, is the one it signed, and it is in U if it holds a receipt;
(6) every box of U addressed to it has the digest in its manifest, opens, and holds N values < p;
(7) it has opened no other set for this attempt.

Rules: the checks run in this order and stop at the first that fails; nothing is released by this module, it
returns the opened shares. (7) is also enforced by the journal's unique key, in the transaction that opens.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from privacy.errors import CheckRefused, ChoraleError, DigestMismatch, NotFound, TooLarge
from privacy.he.boxes import BoxKey, decode_shares, open_box, share_box_info
from privacy.he.lanes import LaneLayout
from privacy.he.parameters import PARAMETER_SETS
from privacy.protocol.canonical import digest
from privacy.protocol.identifiers import OPERATOR, SERVER
from privacy.protocol.messages import Charter, Cohort, Manifest, Plan, Seal, Signed
from privacy.protocol.signing import Verifier

ShareVector = NDArray[np.uint32]


@dataclass(frozen=True)
class OwnUpload:
    """What this partner knows of its own upload: the manifest it signed, and whether the server gave a receipt."""

    manifest: str
    receipted: bool


@dataclass(frozen=True)
class OpeningRequest:
    """Everything that the seven checks look at, for one partner and one seal."""

    partner: str
    charter: Charter
    plan: Signed[Plan]
    cohort: Cohort
    seal: Signed[Seal]
    manifests: Mapping[str, Signed[Manifest]]
    accepted_plan: str
    accepted_cohort: str
    own_upload: OwnUpload | None
    opened_set: str | None


def check_opening(
    request: OpeningRequest, fetch_box: Callable[[str], bytes], round_key: BoxKey, verifier: Verifier
) -> dict[str, ShareVector]:
    """The shares, by dealer, that this partner may now add and release. `fetch_box(dealer)` brings a box."""
    seal = _check_1_plan_charter_and_seal(request, verifier)
    _check_2_cohort(request)
    manifests = _check_3_manifests(request, seal, verifier)
    _check_4_size(request, seal)
    _check_5_own_upload(request, seal)
    shares = _check_6_boxes(request, manifests, fetch_box, round_key)
    _check_7_one_set(request, seal)
    return shares


def check_sealed_set(request: OpeningRequest, verifier: Verifier) -> dict[str, Manifest]:
    """Checks 1 to 4, for whoever decodes what others opened: U's manifests, verified, by partner."""
    seal = _check_1_plan_charter_and_seal(request, verifier)
    _check_2_cohort(request)
    manifests = _check_3_manifests(request, seal, verifier)
    _check_4_size(request, seal)
    return manifests


def _check_1_plan_charter_and_seal(request: OpeningRequest, verifier: Verifier) -> Seal:
    try:
        plan = verifier.verify(request.plan, {OPERATOR: request.charter.operator_keys})
        seal = verifier.verify(request.seal, {SERVER: request.charter.server_keys})
    except ChoraleError as error:
        raise CheckRefused(1, error.expected, error.came, "open nothing; tell the operator") from error
    if plan.digest != request.accepted_plan or plan.charter != request.charter.digest:
        raise CheckRefused(1, "the plan this partner joined", f"plan {plan.digest[:16]}", "open nothing")
    if seal.plan != plan.digest or seal.charter != request.charter.digest:
        raise CheckRefused(1, "a seal of this attempt", f"a seal of plan {seal.plan[:16]}", "open nothing")
    return seal


def _check_2_cohort(request: OpeningRequest) -> None:
    if request.cohort.digest != request.accepted_cohort or request.seal.body.cohort != request.accepted_cohort:
        raise CheckRefused(
            2,
            f"the accepted cohort {request.accepted_cohort[:16]}",
            request.seal.body.cohort[:16],
            "open nothing: the server showed two cohorts",
        )


def _check_3_manifests(request: OpeningRequest, seal: Seal, verifier: Verifier) -> dict[str, Manifest]:
    plan = request.plan.body
    degree = PARAMETER_SETS[request.charter.parameter_set].degree
    lanes = LaneLayout(plan.layout.lane_width, request.charter.n_max)
    coefficients = lanes.polynomials(plan.layout.length) * degree
    manifests: dict[str, Manifest] = {}
    for contributor in seal.contributors:
        name = contributor.partner
        if name not in request.cohort.partners:
            raise CheckRefused(3, "contributors within the cohort", name, "open nothing: the set was padded")
        signed = request.manifests.get(name)
        if signed is None or signed.digest != contributor.manifest:
            raise CheckRefused(3, f"the manifest of {name} that the seal names", "none or another", "open nothing")
        try:
            body = verifier.verify(signed, {name: request.charter.entry(name).signing_keys})
        except ChoraleError as error:
            raise CheckRefused(3, error.expected, error.came, "open nothing") from error
        if (
            body.partner != name
            or body.charter != request.charter.digest
            or body.plan != plan.digest
            or body.cohort != request.accepted_cohort
        ):
            raise CheckRefused(
                3,
                f"a manifest by {name} for this round and cohort",
                "one for another",
                "open nothing: a replay",
            )
        if body.coefficients != coefficients:
            raise CheckRefused(
                3,
                f"{coefficients} coefficients from {name}",
                str(body.coefficients),
                "open nothing: wrong length",
            )
        if tuple(box.receiver for box in body.boxes) != request.cohort.partners:
            raise CheckRefused(
                3,
                f"a box by {name} for every member of the cohort",
                "some left out",
                "open nothing: name that dealer",
            )
        manifests[name] = body
    return manifests


def _check_4_size(request: OpeningRequest, seal: Seal) -> None:
    if len(seal.contributors) < request.charter.n_min:
        raise CheckRefused(
            4,
            f"at least n_min = {request.charter.n_min} contributors",
            str(len(seal.contributors)),
            "open nothing: so small a sum tells too much",
        )


def _check_5_own_upload(request: OpeningRequest, seal: Seal) -> None:
    named = {contributor.partner: contributor.manifest for contributor in seal.contributors}.get(request.partner)
    own = request.own_upload
    if named is not None and (own is None or named != own.manifest):
        raise CheckRefused(5, "the upload this partner signed", f"manifest {named[:16]}", "open nothing: a forgery")
    if named is None and own is not None and own.receipted:
        raise CheckRefused(
            5,
            "this partner's upload in the set, as its receipt promises",
            "a set without it",
            "open nothing: the server dropped a receipted upload",
        )


def _check_6_boxes(
    request: OpeningRequest,
    manifests: Mapping[str, Manifest],
    fetch_box: Callable[[str], bytes],
    round_key: BoxKey,
) -> dict[str, ShareVector]:
    plan_digest = bytes.fromhex(request.plan.digest)
    cohort_digest = bytes.fromhex(request.accepted_cohort)
    shares: dict[str, ShareVector] = {}
    for name, manifest in manifests.items():
        try:
            box = fetch_box(name)
        except (NotFound, TooLarge, DigestMismatch) as error:
            raise CheckRefused(
                6, f"the box that {name} signed for", error.came, f"open nothing; {name} or the server is at fault"
            ) from error
        promised = next(entry.digest for entry in manifest.boxes if entry.receiver == request.partner)
        if digest(box) != promised:
            raise CheckRefused(
                6,
                f"the box that {name} signed for",
                "other bytes",
                f"open nothing; {name} or the server is at fault",
            )
        info = share_box_info(
            plan_digest, cohort_digest, name, request.partner, bytes.fromhex(manifest.shards.root)
        )
        try:
            shares[name] = decode_shares(open_box(round_key, info, box))
        except ChoraleError as error:
            raise CheckRefused(
                6, f"a box by {name} with N shares below p", error.came, f"open nothing; {name} is at fault"
            ) from error
    return shares


def _check_7_one_set(request: OpeningRequest, seal: Seal) -> None:
    if request.opened_set is not None and request.opened_set != seal.contributors_digest:
        raise CheckRefused(
            7,
            f"the set {request.opened_set[:16]} that was opened before",
            seal.contributors_digest[:16],
            "open nothing: two sets of one attempt would give a difference of sums",
        )
