"""What a partner checks before it joins and trains: charter, plan, state, joins, cohort (protocol 3 to 4.1)."""

from __future__ import annotations

from typing import Final

from tests.attacks.mutants.mutant import Mutant

_RULES: Final = "tests/attacks/test_each_rule.py::"
_TOO_MUCH: Final = _RULES + "test_a_plan_that_takes_more_than_was_signed_is_not_joined"
_COHORTS: Final = _RULES + "test_a_cohort_that_is_not_what_its_members_signed_is_not_trained_for"
_PLAN: Final = "privacy/protocol/plan_checks.py"
_COHORT: Final = "privacy/protocol/cohort_checks.py"
_WEAK: Final = "tests/attacks/test_plans_and_states.py::test_a_plan_weaker_than_the_charter_is_not_joined"


TERMS: Final = (
    Mutant(
        "plan: the operator's signature",
        _PLAN,
        "plan = verifier.verify(signed, {OPERATOR: charter.operator_keys})",
        "plan = signed.body",
        (_TOO_MUCH,),
    ),
    Mutant(
        "plan: charter and campaign",
        _PLAN,
        "if plan.charter != charter.digest or plan.campaign != campaign.digest:",
        "if False:",
        (_WEAK,),
    ),
    Mutant(
        "plan: noise, gamma, steps",
        _PLAN,
        "if not any(plan.event.fits_row(row.event) for row in charter.table):",
        "if False:",
        (_TOO_MUCH,),
        quick=True,
    ),
    Mutant(
        "plan: the vector's length",
        _PLAN,
        'if plan.kind == "training" and plan.layout.parameters != campaign.length:',
        "if False:",
        (_WEAK,),
    ),
    Mutant("plan: probes", _PLAN, "if plan.layout.probes < PROBES:", "if False:", (_WEAK,)),
    Mutant(
        "plan: a statistic is an event of its own",
        _PLAN,
        'if (plan.kind == "statistics") != (plan.event.kind == "statistics"):',
        "if False:",
        (_TOO_MUCH,),
    ),
    Mutant(
        "plan: deadlines",
        _PLAN,
        "if not deadlines.join < deadlines.upload < deadlines.open:",
        "if False:",
        (_TOO_MUCH,),
    ),
    Mutant(
        "charter: everyone's acceptance",
        _PLAN,
        "if missing:",
        "if False:",
        (_RULES + "test_a_charter_that_one_partner_did_not_sign_is_in_force_for_nobody",),
    ),
    Mutant(
        "state: a quorum's confirmations",
        "client_sdk/campaigns.py",
        "        _check_counts(partner, campaign, state_digest)\n",
        "        pass\n",
        (
            "tests/attacks/test_plans_and_states.py::test_a_state_that_no_quorum_confirmed_is_not_taken_by_a_late_joiner",
        ),
    ),
    Mutant(
        "state: its hash",
        "client_sdk/states.py",
        "if digest(raw) != state_digest:",
        "if False:",
        ("tests/attacks/test_plans_and_states.py::test_another_state_under_the_hash_that_was_asked_for",),
    ),
    Mutant(
        "join: the roster key's signature",
        _COHORT,
        "body = verifier.verify(signed, {partner: charter.entry(partner).signing_keys})",
        "body = signed.body",
        (_COHORTS,),
        quick=True,
    ),
    Mutant(
        "join: for this plan",
        _COHORT,
        "if body.partner != partner or body.plan != plan_digest or body.charter != charter.digest:",
        "if False:",
        ("tests/attacks/test_cohorts.py::test_a_join_of_another_attempt_is_no_join_of_this",),
    ),
    Mutant(
        "join: a test encapsulation",
        _COHORT,
        "    check_public_key(bytes.fromhex(body.round_key))\n",
        "",
        ("tests/attacks/test_cohorts.py::test_a_join_key_that_makes_every_encapsulation_fail",),
    ),
    Mutant(
        "cohort: the server's signature",
        _COHORT,
        "cohort = verifier.verify(signed, {SERVER: charter.server_keys})",
        "cohort = signed.body",
        ("tests/attacks/test_cohorts.py::test_a_cohort_that_the_service_did_not_sign",),
    ),
    Mutant(
        "cohort: of this attempt",
        _COHORT,
        "if cohort.charter != charter.digest or cohort.plan != plan.digest:",
        "if False:",
        (_COHORTS,),
    ),
    Mutant(
        "cohort: n_min and the quorum",
        _COHORT,
        "    check_cohort_size(len(cohort.members), charter.n_min, charter.colluders)\n",
        "",
        ("tests/attacks/test_cohorts.py::test_fewer_members_than_n_min",),
    ),
    Mutant(
        "cohort: the join that J names",
        _COHORT,
        "if join is None or join.digest != member.join:",
        "if join is None:",
        ("tests/attacks/test_cohorts.py::test_a_join_other_than_the_cohort_names",),
    ),
    Mutant(
        "cohort: a rolled-back member",
        _COHORT,
        "if body.ledger.count < seen_ledger_counts.get(member.partner, 0):",
        "if False:",
        (_COHORTS,),
        quick=True,
    ),
    Mutant(
        "cohort: the own join",
        "client_sdk/joining.py",
        "if verified[partner.name] != own.body:",
        "if False:",
        ("tests/attacks/test_cohorts.py::test_another_join_of_the_victims_own_key",),
    ),
)
