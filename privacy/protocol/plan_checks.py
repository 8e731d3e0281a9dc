"""Is this charter sound, and does this campaign or plan keep to it? Asked by every partner and by the service.

Rules:
1. A partner asks before it signs a charter, before it joins a plan, and again before it opens (check 1).
2. Nothing is taken from the plan that the charter or campaign already fixes.
3. Signatures are verified here too; whoever calls gets a body that may be relied on.
Budgets (is there room left?) are the accountant's and the ledgers' matter; that the table fits the caps, or the
filter could let each row happen, is checked here.
"""

from __future__ import annotations

from privacy.dp.accountant import epsilon
from privacy.dp.caps import check_filter, check_table
from privacy.dp.events import Guarantee
from privacy.dp.mechanism import PROBES, MechanismPlan
from privacy.dp.noise_error import check_implementation
from privacy.errors import AccountingFailed, ConfigurationError, UnsafeParameters, WeakerThanCharter
from privacy.he.boxes import check_public_key
from privacy.he.lanes import LaneLayout
from privacy.he.parameters import PARAMETER_SETS
from privacy.protocol.identifiers import OPERATOR, SERVER
from privacy.protocol.messages import Campaign, Charter, CharterAcceptance, Plan, Signed
from privacy.protocol.round_state import check_cohort_size
from privacy.protocol.signing import Verifier


def check_charter(charter: Charter) -> None:
    """Whether a charter's own numbers are safe: sizes, keys, lanes' noise bound, and the table against each cap."""
    if charter.parameter_set not in PARAMETER_SETS:
        raise UnsafeParameters(
            f"a parameter set of {', '.join(PARAMETER_SETS)}",
            charter.parameter_set,
            "draft it with one of these",
        )
    parameters = PARAMETER_SETS[charter.parameter_set]
    if charter.n_max > parameters.max_contributors:
        raise UnsafeParameters(
            f"a roster of at most {parameters.max_contributors}", str(charter.n_max), "split the consortium"
        )
    check_cohort_size(charter.n_max, charter.n_min, charter.colluders)
    keys = [entry.signing_keys.ed25519 for entry in charter.roster]
    keys += [charter.operator_keys.ed25519, charter.server_keys.ed25519]
    if len(set(keys)) != len(keys) or len({e.result_key for e in charter.roster}) != charter.n_max:
        raise UnsafeParameters("a key of its own for each signer", "one key twice", "have it enrolled again")
    taken = sorted({OPERATOR, SERVER} & set(charter.partners))
    if taken:
        # Signatures are named by their signer: the lead's alone would count for the operator's as well.
        came = f"{' and '.join(taken)}, which the protocol uses"
        raise UnsafeParameters("partner ids", came, "enrol under others")
    charter.entry(charter.lead)
    if not charter.allow_none and any(row.event.kind == "none" for row in charter.table):
        raise UnsafeParameters(
            "no event of kind none, which the charter does not allow",
            "one in the table",
            "set allow_none or drop it",
        )
    for entry in charter.roster:
        check_public_key(bytes.fromhex(entry.result_key))
        try:
            if charter.filter_order is None:
                check_table(charter.table, entry.caps, charter.honest)
            else:
                check_filter(charter.table, charter.filter_order, entry.caps, charter.honest)
        except AccountingFailed as error:
            # Of numbers that somebody proposed it is the proposal that fails.
            raise UnsafeParameters(
                f"caps and a table for which an epsilon of {entry.partner} can be stated", error.came, error.remedy
            ) from error


def check_acceptances(
    charter: Charter, acceptances: dict[str, Signed[CharterAcceptance]], verifier: Verifier
) -> None:
    """A charter counts once every roster partner has signed it."""
    missing = [partner for partner in charter.partners if partner not in acceptances]
    if missing:
        raise WeakerThanCharter(
            "an acceptance by every partner of the roster",
            f"none by {', '.join(missing)}",
            "wait until all signed",
        )
    for partner in charter.partners:
        if acceptances[partner].body.partner != partner:
            raise WeakerThanCharter(
                f"an acceptance by {partner}",
                f"one by {acceptances[partner].body.partner}",
                "accept it in its own name",
            )
        check_acceptance(acceptances[partner], charter, verifier)


def check_acceptance(
    signed: Signed[CharterAcceptance], charter: Charter, verifier: Verifier | None = None
) -> CharterAcceptance:
    """One partner's acceptance of this charter. Raises MalformedMessage (no partner of it), BadSignature,
    WeakerThanCharter."""
    entry = charter.entry(signed.body.partner)
    body = (verifier or Verifier()).verify(signed, {entry.partner: entry.signing_keys})
    if body.charter != charter.digest:
        raise WeakerThanCharter(
            f"an acceptance of charter {charter.digest[:16]}", f"one of {body.charter[:16]}", "accept this one"
        )
    return body


def check_campaign(signed: Signed[Campaign], charter: Charter, verifier: Verifier) -> Campaign:
    """A campaign under this charter, signed by the operator and the lead."""
    lead = charter.entry(charter.lead)
    campaign = verifier.verify(signed, {OPERATOR: charter.operator_keys, charter.lead: lead.signing_keys})
    if campaign.charter != charter.digest:
        raise WeakerThanCharter(f"a campaign under charter {charter.digest[:16]}", "another's", "draft it anew")
    check_noise_error(charter, campaign.length + PROBES)
    return campaign


def check_noise_error(charter: Charter, shared: int, private: int = 0) -> None:
    """That the sampler's and the clamp's error, over all that is drawn, stays within the caps' delta (6.2).

    shared: coordinates of one upload, probes included. private: of a partner's own part of the model, which nobody
    else knows: it asks for itself. Raises UnsafeParameters.
    """
    rows = [(row.event, row.count) for row in charter.table if row.event.kind != "none"]
    for caps in sorted({entry.caps for entry in charter.roster}, key=str):
        for guarantee in Guarantee:
            # Under a filter the counts together may pass a cap; what happens never does.
            spent = (
                epsilon(rows, caps.delta, guarantee, charter.honest)
                if charter.filter_order is None
                else caps.epsilon_for(guarantee)
            )
            check_implementation(spent, caps.delta, rows, shared, private, guarantee, charter.honest)


def mechanism(plan: Plan, charter: Charter, campaign: Campaign) -> MechanismPlan:
    """The privacy mechanism that plan, charter and campaign fix together (protocol 6.2)."""
    lanes = LaneLayout(plan.layout.lane_width, charter.n_max)
    return MechanismPlan(
        clip=campaign.clip,
        noise_multiplier=plan.event.noise_multiplier,
        honest=charter.honest,
        dimension=plan.layout.parameters,
        shift=plan.layout.shift,
        lane_offset=lanes.offset,
        probes=plan.layout.probes,
    )


def check_plan(signed: Signed[Plan], charter: Charter, campaign: Campaign, verifier: Verifier) -> Plan:
    """A plan by the operator that promises no less than the charter, and fits the campaign's vector."""
    plan = verifier.verify(signed, {OPERATOR: charter.operator_keys})
    if plan.charter != charter.digest or plan.campaign != campaign.digest:
        raise WeakerThanCharter("a plan under the pinned charter and campaign", "another's", "ask the operator")
    if not any(plan.event.fits_row(row.event) for row in charter.table):
        raise WeakerThanCharter(
            f"an event that fits a row of the charter's table ({'; '.join(str(row) for row in charter.table)})",
            str(plan.event),
            "sign a plan with at least that noise, and no larger sampling rate or step count",
        )
    if plan.kind == "training" and plan.layout.parameters != campaign.length:
        raise WeakerThanCharter(
            f"a vector of {campaign.length} parameters",
            str(plan.layout.parameters),
            "sign a plan for this campaign",
        )
    if (plan.kind == "statistics") != (plan.event.kind == "statistics"):
        raise WeakerThanCharter(
            "a statistics event for a statistics round, and for no other",
            f"{plan.event.kind} for {plan.kind}",
            "sign a plan whose kind and event agree",
        )
    deadlines = plan.deadlines
    if not deadlines.join < deadlines.upload < deadlines.open:
        raise ConfigurationError(
            "join < upload < open deadlines", str(deadlines), "sign a plan with ordered deadlines"
        )
    _check_layout(plan, charter, campaign)
    return plan


def _check_layout(plan: Plan, charter: Charter, campaign: Campaign) -> None:
    noised = plan.event.kind in ("distributed", "statistics")
    if noised:
        if plan.layout.probes < PROBES:
            raise WeakerThanCharter(
                f"at least {PROBES} probes",
                str(plan.layout.probes),
                "add probes: they show that noise is there",
            )
        mechanism(plan, charter, campaign)  # raises UnsafeParameters where the lanes leave too little
        if plan.layout.length > campaign.length + PROBES:
            check_noise_error(charter, plan.layout.length)
    elif plan.layout.scale is None:
        raise WeakerThanCharter(
            f"a public scale for an event of kind {plan.event.kind}", "none", "set layout.scale in the plan"
        )
