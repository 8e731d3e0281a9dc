"""The ledgers of a consortium and its epsilons, recomputed: chains, countersigned heads, charges, caps.

Rules:
1. Every head that anyone signed for lies on the chain it speaks of: the service's in confirmations, a partner's own
   in its joins.
2. Both chains of a partner list the same charges, and each confirmed attempt is charged to everyone in its cohort.
3. Epsilons come from the chains' counts by the accountant, and are compared with what the demo reported.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from deploy.demo.check_files import ConsortiumFiles
from deploy.demo.check_messages import VerifiedAttempt
from privacy.dp.accountant import epsilon
from privacy.dp.events import Guarantee, PrivacyEvent
from privacy.errors import AccountingFailed, BudgetExhausted, ChoraleError, DigestMismatch, LedgerBroken
from privacy.ledger.chain import ChainVerifier
from privacy.ledger.charter_checks import CharterChecks
from privacy.ledger.checkpoint import Landmarks
from privacy.ledger.entry import BudgetChange
from privacy.protocol.messages import ChainHead, Charter

TOLERANCE: Final = 1e-9
_CHARGES: Final = ("charge", "recovered")
_REMEDY = "raise the alarm, and keep the files"

Charges = Mapping[str, BudgetChange]
"""Charged attempts of one participant, by plan."""


Spent = Mapping[Guarantee, float]
"""A participant's epsilons at its own delta."""


def check_service_chain(
    files: ConsortiumFiles, charter: Charter, attempts: Sequence[VerifiedAttempt]
) -> tuple[ChainVerifier, int]:
    """The service's chain, verified, and the count of the newest head that a partner countersigned."""
    heads = [head for attempt in attempts for head in attempt.checkpoints]
    verifier = _replayed(files.ledger_lines(), ChainVerifier(), heads, charter)
    kept = files.ledger_head()
    if kept != (verifier.head.count, verifier.head.head):
        raise LedgerBroken(
            kept[0], f"head {kept[1][:16]}, as the service keeps it", verifier.head.head[:16], _REMEDY
        )
    return verifier, max(head.count for head in heads)


def check_own_chains(
    files: ConsortiumFiles, charter: Charter, attempts: Sequence[VerifiedAttempt]
) -> dict[str, Charges]:
    """Every partner's own charges, from its own chain."""
    charges = {}
    for partner in charter.partners:
        heads = [attempt.joins[partner].ledger for attempt in attempts if partner in attempt.joins]
        with_name = f"the own chain of {partner}"
        try:
            verifier = _replayed(files.own_ledger(partner), ChainVerifier(own=True), heads, charter)
        except ChoraleError as error:
            line = error.line if isinstance(error, LedgerBroken) else 1
            raise LedgerBroken(line, f"{with_name} to verify", str(error), _REMEDY) from error
        charges[partner] = charges_of(verifier, partner)
        if len(charges[partner]) != verifier.head.count:
            raise LedgerBroken(1, f"{with_name} to be of {partner} alone", "another's charges", _REMEDY)
    return charges


def charges_of(verifier: ChainVerifier, partner: str) -> Charges:
    held = verifier.totals.attempts
    return {plan: change for (name, plan), (kind, change) in held.items() if name == partner and kind in _CHARGES}


def check_agreement(service: ChainVerifier, own: Mapping[str, Charges], attempts: Sequence[VerifiedAttempt]) -> int:
    """Rule 2; how many charges both sides list."""
    for partner, charges in own.items():
        listed = charges_of(service, partner)
        for plan in listed.keys() | charges.keys():
            mine, theirs = (_words(side.get(plan)) for side in (charges, listed))
            if mine != theirs:
                raise LedgerBroken(
                    1, f"the charge of attempt {plan[:16]} in the own chain of {partner}: {mine}", theirs, _REMEDY
                )
    for attempt in attempts:
        for partner in attempt.cohort.partners:
            if attempt.plan.digest not in own[partner]:
                raise LedgerBroken(1, f"round {attempt.plan.round} charged to {partner}", "no charge", _REMEDY)
            if own[partner][attempt.plan.digest].event != attempt.plan.event:
                raise LedgerBroken(1, f"round {attempt.plan.round} charged as planned", "another event", _REMEDY)
    return sum(len(charges) for charges in own.values())


def check_epsilons(charter: Charter, own: Mapping[str, Charges], results: Path) -> tuple[dict[str, Spent], bool]:
    """Both epsilons of every partner, within its caps; and whether `results` reported them, which must agree."""
    reported = json.loads(results.read_text(encoding="utf-8"))["spent"] if results.is_file() else None
    spent: dict[str, Spent] = {}
    for partner, charges in own.items():
        caps = charter.entry(partner).caps
        counts: Counter[PrivacyEvent] = Counter(change.event for change in charges.values())
        found = {kind: epsilon(list(counts.items()), caps.delta, kind, charter.honest) for kind in Guarantee}
        for guarantee, value in found.items():
            _compare(partner, guarantee, value, caps.epsilon_for(guarantee), reported)
        spent[partner] = found
    return spent, reported is not None


def _compare(
    partner: str, guarantee: Guarantee, value: float, cap: float, reported: Mapping[str, Mapping[str, float]] | None
) -> None:
    if not value <= cap:
        raise BudgetExhausted(f"epsilon {guarantee.value} of {partner} of at most {cap}", f"{value}", _REMEDY)
    if reported is None:
        return
    if partner not in reported:
        raise AccountingFailed(f"reported epsilons of {partner}", "none", _REMEDY)
    name = guarantee.name.lower()
    told = reported[partner][name]
    if not math.isclose(told, value, rel_tol=0, abs_tol=TOLERANCE):
        raise DigestMismatch(f"epsilon {name} of {partner} to be {value:.12f}", f"{told:.12f} reported", _REMEDY)
    if reported[partner][f"cap_{name}"] != cap:
        raise DigestMismatch(f"a cap {name} of {cap} for {partner}", f"{reported[partner][f'cap_{name}']}", _REMEDY)


def _replayed(
    lines: Sequence[bytes], verifier: ChainVerifier, heads: Sequence[ChainHead], charter: Charter
) -> ChainVerifier:
    landmarks = Landmarks(heads)
    under = CharterChecks({charter.digest: charter})
    for line in lines:
        entry = verifier.add_line(line)
        landmarks.passed(verifier.head)
        under.check(entry)
    landmarks.finished(verifier.head)
    return verifier


def _words(change: BudgetChange | None) -> str:
    if change is None:
        return "none"
    return f"round {change.round}, attempt {change.attempt}, row {change.row}, {change.event}"
