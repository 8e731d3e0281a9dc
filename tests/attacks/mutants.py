"""The checks that the protocol numbers, each with what disables it and the attacks that must then get through.

Rules:
1. One mutant disables one check, in one place: `old` stands exactly once in `file` and becomes `new`.
2. `tests` are attacks of this folder: red under the mutant, and green without it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

_REFUSED: Final = "tests/attacks/test_each_check.py::test_an_opening_is_refused_by_the_number_of_the_check"
_RULES: Final = "tests/attacks/test_each_rule.py::"
_TOO_MUCH: Final = _RULES + "test_a_plan_that_takes_more_than_was_signed_is_not_joined"
_COHORTS: Final = _RULES + "test_a_cohort_that_is_not_what_its_members_signed_is_not_trained_for"
_REQUESTS: Final = "tests/attacks/test_forged_requests.py::"
_KEYS: Final = "tests/attacks/test_keys.py::"
_OPENING: Final = "privacy/protocol/opening_checks.py"
_PLAN: Final = "privacy/protocol/plan_checks.py"
_COHORT: Final = "privacy/protocol/cohort_checks.py"
_LEDGER: Final = "client_sdk/ledger_watch.py"
_GATE: Final = "aggregator/api/authentication.py"
_WEAK: Final = "tests/attacks/test_plans_and_states.py::test_a_plan_weaker_than_the_charter_is_not_joined"
_CLOCKS: Final = "tests/attacks/test_clocks.py::"
_ADDRESSES: Final = "tests/attacks/test_addresses.py::"
_CONSOLE: Final = "tests/attacks/test_console.py::"
_ENROLMENT: Final = "tests/attacks/test_enrolment.py::"
_OWN: Final = "tests/attacks/test_own_ledger.py::"


@dataclass(frozen=True)
class Mutant:
    """`quick`: also tried by `make test-full`."""

    check: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]
    quick: bool = False


def _opening(check: str, old: str, new: str, *tests: str, quick: bool = False) -> Mutant:
    return Mutant(f"4.4 {check}", _OPENING, old, new, tests, quick)


MUTANTS: Final = (
    _opening(
        "(1) the server's signature",
        "seal = verifier.verify(request.seal, {SERVER: request.charter.server_keys})",
        "seal = request.seal.body",
        "tests/attacks/test_seals.py::test_a_seal_by_any_other_key_than_the_services_is_none",
    ),
    _opening(
        "(1) the operator's signature",
        "plan = verifier.verify(request.plan, {OPERATOR: request.charter.operator_keys})",
        "plan = request.plan.body",
        _REFUSED,
    ),
    _opening(
        "(1) the pinned plan",
        "if plan.digest != request.accepted_plan or plan.charter != request.charter.digest:",
        "if False:",
        _REFUSED,
        quick=True,
    ),
    _opening(
        "(1) this attempt's seal",
        "if seal.plan != plan.digest or seal.charter != request.charter.digest:",
        "if False:",
        _REFUSED,
        quick=True,
    ),
    _opening(
        "(2) the accepted cohort",
        " or request.seal.body.cohort != request.accepted_cohort:",
        ":",
        "tests/attacks/test_cohorts.py::test_a_second_cohort_of_one_attempt_gets_neither_upload_nor_opening",
    ),
    _opening(
        "(3) contributors within J",
        "if name not in request.cohort.partners:",
        "if False:",
        "tests/attacks/test_seals.py::test_a_roster_partner_outside_the_cohort_pads_the_set",
        quick=True,
    ),
    _opening(
        "(3) the manifest that the seal names",
        "if signed is None or signed.digest != contributor.manifest:",
        "if signed is None:",
        _REFUSED,
        quick=True,
    ),
    _opening(
        "(3) the member's signature",
        "body = verifier.verify(signed, {name: request.charter.entry(name).signing_keys})",
        "body = signed.body",
        _REFUSED,
        quick=True,
    ),
    _opening(
        "(3) for this R, J and member",
        "body.partner != name\n",
        "False\n",
        _REFUSED,
    ),
    _opening(
        "(3) for this R",
        "            or body.plan != plan.digest\n",
        "",
        _REFUSED,
    ),
    _opening(
        "(3) for this J",
        "            or body.cohort != request.accepted_cohort\n",
        "",
        _REFUSED,
    ),
    _opening(
        "(3) under this charter",
        "            or body.charter != request.charter.digest\n",
        "",
        _REFUSED,
    ),
    _opening(
        "(3) the plan's length",
        "if body.coefficients != coefficients:",
        "if False:",
        _REFUSED,
    ),
    _opening(
        "(3) a box for everyone",
        "if tuple(box.receiver for box in body.boxes) != request.cohort.partners:",
        "if False:",
        _REFUSED,
    ),
    _opening(
        "(4) n_min",
        "if len(seal.contributors) < request.charter.n_min:",
        "if False:",
        "tests/attacks/test_seals.py::test_a_seal_below_n_min_is_opened_by_nobody",
    ),
    _opening(
        "(5) the upload it signed",
        "if named is not None and (own is None or named != own.manifest):",
        "if False:",
        _REFUSED,
        quick=True,
    ),
    _opening(
        "(5) the receipted upload",
        "if named is None and own is not None and own.receipted:",
        "if False:",
        "tests/attacks/test_seals.py::test_a_receipted_upload_is_left_out_and_its_partner_says_so",
    ),
    _opening(
        "(6) the box's digest",
        "if digest(box) != promised:",
        "if False:",
        "tests/attacks/test_boxes.py::test_shares_of_a_key_of_zero_for_all_honest_partners_but_one",
    ),
    _opening(
        "(7) one set",
        "if request.opened_set is not None and request.opened_set != seal.contributors_digest:",
        "if False:",
        _REFUSED,
        quick=True,
    ),
    Mutant(
        "4.4 (7) after a restart",
        "client_sdk/opening.py",
        "if seal.body.contributors_digest != record.opened_set:",
        "if False:",
        ("tests/attacks/test_seals.py::test_two_seals_of_one_attempt_get_one_opening",),
    ),
    Mutant(
        "5.3 the round key is taken once",
        "client_sdk/partner.py",
        "if not self.round_keys.claim(round_digest) and self.round_keys.outlive_the_process:",
        "if not self.round_keys.claim(round_digest) and False:",
        ("tests/attacks/test_one_partner.py::test_a_second_copy_that_lost_the_key_sends_its_opening_never",),
    ),
    Mutant(
        "4.4 (6) shares below p",
        "privacy/he/boxes.py",
        "if int(shares.max()) >= DEFAULT.share_prime:",
        "if False:",
        (_REFUSED,),
    ),
    # --- plans ---------------------------------------------------------------------------------------------
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
    # --- joins and cohorts -----------------------------------------------------------------------------------
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
    # --- decoding ----------------------------------------------------------------------------------------------
    Mutant(
        "5.1 every error is small",
        "privacy/he/envelope.py",
        "        if abs(error) > limit:\n            return index\n",
        "",
        (_KEYS + "test_a_key_that_is_one_off_opens_no_sum_though_every_lane_is_in_range",),
    ),
    Mutant(
        "5.2 every lane is in range",
        "privacy/he/lanes.py",
        "    top = np.uint64(ceiling)\n",
        "    top = np.uint64(2**63)\n",
        (_KEYS + "test_a_value_beyond_its_lane_is_no_sum_of_what_may_be_sent",),
    ),
    Mutant(
        "4.5 the summed key is small",
        "privacy/he/shamir.py",
        "    over = np.abs(secret) > key_bound\n",
        "    over = np.abs(secret) > PRIME\n",
        (_KEYS + "test_a_false_share_among_a_bare_quorum_makes_no_key",),
    ),
    Mutant(
        "5.4 the fingerprint of the sum",
        "client_sdk/fingerprints.py",
        "    if add_fingerprints(found.values()) == of_sum:\n        return found\n    for name",
        "    if True:\n        return found\n    for name",
        ("tests/attacks/test_sums.py::test_a_false_sum_is_void_for_everyone",),
    ),
    Mutant(
        "4.2 shards under the signed root",
        "client_sdk/shards.py",
        "if len(shard) != size or not fits:",
        "if False:",
        ("tests/attacks/test_sums.py::test_one_flipped_bit_in_any_shard_that_is_served",),
        quick=True,
    ),
    Mutant(
        "4.5 void is a quorum's word",
        "privacy/protocol/ending_checks.py",
        "    if len(voters) < needed:\n",
        "    if False:\n",
        (_RULES + "test_the_service_says_void_with_fewer_than_a_quorum",),
    ),
    Mutant(
        "4.5 a void vote's signature",
        "privacy/protocol/ending_checks.py",
        "body = verifier.verify(signed, {name: charter.entry(name).signing_keys})",
        "body = signed.body",
        (_RULES + "test_the_service_says_void_with_fewer_than_a_quorum",),
    ),
    Mutant(
        "4.5 a void vote's seal",
        "privacy/protocol/ending_checks.py",
        "if (body.charter, body.plan, body.seal) != (charter.digest, plan.digest, seal):",
        "if False:",
        (_RULES + "test_the_service_says_void_with_fewer_than_a_quorum",),
    ),
    Mutant(
        "4.5 a close by the service",
        "privacy/protocol/ending_checks.py",
        "close = verifier.verify(signed, {SERVER: charter.server_keys})",
        "close = signed.body",
        (_RULES + "test_a_close_by_any_other_key_than_the_services_ends_nothing",),
    ),
    # --- ledgers -----------------------------------------------------------------------------------------------
    Mutant(
        "6.4 the service's ledger only grows",
        _LEDGER,
        "if target.count < self.head.count:",
        "if False:",
        (_OWN + "test_a_service_whose_ledger_was_cut_is_an_alarm",),
    ),
    Mutant(
        "6.4 charges are on both ledgers",
        _LEDGER,
        "if other is None or _what(other) != _what(change) or under not in",
        "if False and under not in",
        (_OWN + "test_a_charge_that_the_service_does_not_have_is_an_alarm",),
    ),
    Mutant(
        "6.4 a folder older than its charges",
        _LEDGER,
        "        if unknown:\n",
        "        if False:\n",
        (_OWN + "test_a_folder_restored_from_an_older_copy_stops",),
    ),
    # --- requests ----------------------------------------------------------------------------------------------
    Mutant(
        "request: its signature",
        _GATE,
        "    verify_request(text, claims.signature, keys)\n",
        "",
        (_REQUESTS + "test_another_target_than_was_signed",),
    ),
    Mutant(
        "request: its time",
        _GATE,
        "if abs(now - claims.time) > MAX_SKEW_SECONDS:",
        "if False:",
        (_REQUESTS + "test_clock_skew",),
    ),
    Mutant(
        "request: its nonce",
        _GATE,
        "    service.nonces.take(claims.identity, claims.nonce, claims.time, now)\n",
        "    del now\n",
        (_REQUESTS + "test_replayed",),
    ),
    Mutant(
        "answer: not compressed",
        "client_sdk/transport.py",
        "            _require_plain(answer.headers, path)\n",
        "",
        ("tests/attacks/test_transport.py::test_a_compressed_answer_is_refused_before_a_byte_is_unpacked",),
    ),
    Mutant(
        "request: not one that was forgotten",
        "aggregator/storage/nonces.py",
        "        if signed_at <= until:\n",
        "        if False:\n",
        (_CLOCKS + "test_a_request_that_was_forgotten_is_not_fresh_again_when_the_clock_comes_back",),
        quick=True,
    ),
    Mutant(
        "provider: not compressed",
        "aggregator/console/provider.py",
        'if answer.headers.get("content-encoding", "identity").lower() != "identity":',
        "if False:",
        (_ADDRESSES + "test_a_compressed_answer_of_the_identity_provider_is_refused_before_a_byte_is_unpacked",),
    ),
    Mutant(
        "address: of the open internet",
        "aggregator/outgoing.py",
        "            check_addresses(name, found, self._inside)\n",
        "",
        ("tests/attacks/test_names.py::test_a_name_with_one_address_inside_is_gone_to_at_none",),
    ),
    Mutant(
        "form: its session's token",
        "aggregator/console/security.py",
        'check_csrf(request, first.pop(CSRF_FIELD, ""))',
        'first.pop(CSRF_FIELD, "")',
        (_CONSOLE + "test_every_form_needs_its_sessions_token_and_no_other_site_can_send_it",),
        quick=True,
    ),
    # --- what a partner signs ----------------------------------------------------------------------------------
    Mutant(
        "charter: a partner's own entry",
        "client_sdk/enrolment.py",
        "        if getattr(came, field) != getattr(expected, field):\n",
        "        if False:\n",
        (_ENROLMENT + "test_a_charter_with_a_swapped_key_is_not_signed_by_its_partner",),
    ),
    Mutant(
        "charter: the words that were compared",
        "client_sdk/enrolment.py",
        "    if charter.digest != confirmed_digest:\n",
        "    if False:\n",
        (_ENROLMENT + "test_two_charters_shown_to_two_halves_are_in_force_nowhere",),
    ),
    Mutant(
        "charter: names that draw nothing",
        "privacy/protocol/printable.py",
        "    if not text.isprintable() or ",
        "    if ",
        ("tests/attacks/test_screens.py::test_no_message_has_a_name_that_draws",),
        quick=True,
    ),
)
