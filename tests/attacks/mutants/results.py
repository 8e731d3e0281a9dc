"""What is checked of a sum, of how an attempt ended, and of the ledgers (protocol 4.2, 4.5, 5, 6.4)."""

from __future__ import annotations

from typing import Final

from tests.attacks.mutants.mutant import Mutant

_RULES: Final = "tests/attacks/test_each_rule.py::"
_KEYS: Final = "tests/attacks/test_keys.py::"
_LEDGER: Final = "client_sdk/ledger_watch.py"
_OWN: Final = "tests/attacks/test_own_ledger.py::"


RESULTS: Final = (
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
)
