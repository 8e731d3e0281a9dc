"""What a partner checks before it opens (protocol 4.4), and its round key (5.3)."""

from __future__ import annotations

from typing import Final

from tests.attacks.mutants.mutant import Mutant

_REFUSED: Final = "tests/attacks/test_each_check.py::test_an_opening_is_refused_by_the_number_of_the_check"
_OPENING: Final = "privacy/protocol/opening_checks.py"


def _opening(check: str, old: str, new: str, *tests: str, quick: bool = False) -> Mutant:
    return Mutant(f"4.4 {check}", _OPENING, old, new, tests, quick)


OPENING: Final = (
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
)
