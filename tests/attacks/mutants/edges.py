"""What is checked of requests, answers, addresses, forms and names."""

from __future__ import annotations

from typing import Final

from tests.attacks.mutants.mutant import Mutant

_REQUESTS: Final = "tests/attacks/test_forged_requests.py::"
_GATE: Final = "aggregator/api/authentication.py"
_CLOCKS: Final = "tests/attacks/test_clocks.py::"
_ADDRESSES: Final = "tests/attacks/test_addresses.py::"
_CONSOLE: Final = "tests/attacks/test_console.py::"
_ENROLMENT: Final = "tests/attacks/test_enrolment.py::"


EDGES: Final = (
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
