"""What this partner will not do, whoever asks (protocol 6.4): its own caps, and a stop after void attempts.

Rules:
1. Both epsilons of everything charged under a charter, and of the plan at hand, stay within this machine's policy.
   Under a charter with a filter that is decided by a filter of the same order made for the policy's epsilons, for a
   running PLD is no valid rule. The caps of all charters accepted here add up to no more than the policy's limits
   for a lifetime, where it has them: a charter that would pass them is not signed.
2. After `max_void_attempts` charged attempts in a row without a result it stops; only a person on this machine
   resumes it, with a reason that is written down. Nothing that comes from the service lifts it.
3. Events without protection (kind *none*) need `allow_unprotected` here, besides the charter's word.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from client_sdk.journal import Journal
from client_sdk.own_ledger import OwnLedger
from client_sdk.settings import PolicySection, Settings
from privacy.dp.accountant import epsilon
from privacy.dp.events import Guarantee, PrivacyEvent
from privacy.dp.renyi import RenyiFilter
from privacy.errors import ConfigurationError, PolicyRefused, UnsafeParameters
from privacy.protocol.messages import Charter, Plan

RESUME = "resume"
_Rows = tuple[tuple[PrivacyEvent, int], ...]


def capped(charter: Charter, partner: str, accepted: Iterable[Charter]) -> dict[Guarantee, float]:
    """What a partner may spend under a charter and all others that it accepted, caps added up."""
    all_of_them = {one.digest: one for one in (*accepted, charter)}
    caps = [one.entry(partner).caps for one in all_of_them.values()]
    return {guarantee: math.fsum(cap.epsilon_for(guarantee) for cap in caps) for guarantee in Guarantee}


class Policy:
    """The policy of one folder, judged against its journal and its own ledger."""

    def __init__(self, settings: Settings, journal: Journal, own: OwnLedger) -> None:
        self._settings = settings
        self._journal = journal
        self._own = own

    @property
    def limits(self) -> PolicySection:
        return self._settings.policy

    def check_charter(self, charter: Charter, partner: str) -> None:
        """Before a charter is signed: delta for the records held here, and caps within the policy.

        Raises UnsafeParameters, PolicyRefused.
        """
        caps = charter.entry(partner).caps
        largest = 1 / (10 * self.limits.records)
        if caps.delta > largest:
            raise UnsafeParameters(
                f"a delta of at most {largest:.3g} for {self.limits.records} records",
                f"{caps.delta}",
                "agree on a smaller delta: a larger one would allow a record to be published outright",
            )
        for guarantee, limit in self._by_guarantee():
            if caps.epsilon_for(guarantee) > limit:
                raise PolicyRefused(
                    f"a cap of at most {limit} ({guarantee.value})",
                    f"{caps.epsilon_for(guarantee)} in the charter",
                    "have the charter drafted anew, or change policy in partner.toml",
                )
        if charter.allow_none and not self.limits.allow_unprotected:
            raise PolicyRefused(
                "a charter without unprotected events",
                "one that allows kind none",
                "set policy.allow_unprotected only if data without any protection is meant",
            )

    def check_lifetime(self, charter: Charter, partner: str, accepted: Iterable[Charter]) -> None:
        """Before a charter is signed: its caps and those of all others accepted, whatever was spent of them.

        Epsilons add up whatever the events were (Dwork and Roth 2014, theorem 3.16). Raises PolicyRefused.
        """
        for guarantee, total in capped(charter, partner, accepted).items():
            limit = (
                self.limits.max_lifetime_epsilon_alone
                if guarantee is Guarantee.ALONE
                else self.limits.max_lifetime_epsilon_in_sum
            )
            if limit is not None and total > limit:
                raise PolicyRefused(
                    f"caps of all charters that add up to at most {limit:g} ({guarantee.value})",
                    f"{total:g} with this one",
                    "have it drafted with smaller caps, or change policy in partner.toml",
                )

    def check_records(self, charter: Charter, partner: str, records: int) -> None:
        """Before training on so many records, which may be more than this machine's policy names (protocol 6.1).

        Raises UnsafeParameters.
        """
        delta = charter.entry(partner).caps.delta
        if records and delta > 1 / (10 * records):
            raise UnsafeParameters(
                f"a delta of at most {1 / (10 * records):.3g} for the {records} records that are trained on",
                f"{delta:g} in the charter",
                "train on fewer, or sign a charter with a smaller delta",
            )

    def check_plan(self, plan: Plan, charter: Charter) -> None:
        """Before a join. Raises PolicyRefused, BudgetExhausted, AccountingFailed."""
        stop = self.stopped()
        if stop is not None:
            raise stop
        budget = self._own.budget(charter)
        spent = dict(budget.spent())
        if plan.digest not in budget.holdings:
            budget.reserve(plan.digest, plan.event)
            spent[plan.event] = spent.get(plan.event, 0) + 1
        delta = charter.entry(self._settings.partner.id).caps.delta
        if charter.filter_order is not None:
            self._check_filter(tuple(spent.items()), charter.filter_order, delta, charter.honest)
            return
        # The plan has its place in the table: where all of the table fits, so does what is spent of it, unless
        # recovery passed the table.
        table = () if budget.passed else tuple((row.event, row.count) for row in charter.table)
        self._check_spent(tuple(spent.items()), table, delta, charter)

    def _check_filter(self, spent: _Rows, order: int, delta: float, honest: int) -> None:
        if not self.limits.allow_unprotected and any(event.kind == "none" for event, _ in spent):
            raise PolicyRefused(
                "no event of kind none by this machine's own policy",
                "one, with this plan",
                "stop here, or change policy in partner.toml",
            )
        own = RenyiFilter.of_caps(order, dict(self._by_guarantee()), delta, honest)
        if not own.has_room(spent):
            raise PolicyRefused(
                "events that a filter for this machine's own policy has room for, epsilon"
                f" {self.limits.max_epsilon_in_sum:g} in the sum and {self.limits.max_epsilon_alone:g} alone",
                "more, with this plan",
                "stop here, or change policy in partner.toml",
            )

    def _check_spent(self, spent: _Rows, table: _Rows, delta: float, charter: Charter) -> None:
        for guarantee, limit in self._by_guarantee():
            if table and epsilon(table, delta, guarantee, charter.honest) <= limit:
                continue
            cost = epsilon(spent, delta, guarantee, charter.honest)
            if cost > limit and not (math.isinf(cost) and self.limits.allow_unprotected):
                raise PolicyRefused(
                    f"at most epsilon {limit} ({guarantee.value}) by this machine's own policy",
                    f"{cost:.4f} with this plan",
                    "stop here, or change policy in partner.toml",
                )

    def _by_guarantee(self) -> tuple[tuple[Guarantee, float], ...]:
        return (
            (Guarantee.ALONE, self.limits.max_epsilon_alone),
            (Guarantee.IN_SUM, self.limits.max_epsilon_in_sum),
        )

    def void_in_a_row(self) -> int:
        """Charged attempts without a result since the last one that had a result, or the last `resume`.

        Also those that only the service's ledger charged: a service that shows a cohort to others and not here
        would spend a budget unseen. The results of attempts that cost this partner nothing count for nothing.
        """
        since = self._journal.last_decision(RESUME)
        charged = self._own.charges()
        count = 0
        for plan, accepted, ending in self._journal.query(
            "SELECT plan, cohort IS NOT NULL, ending FROM attempt WHERE sequence > ? ORDER BY sequence DESC",
            (since,),
        ):
            if plan not in charged:
                continue
            if ending == "confirmed":
                break
            if ending is not None or not accepted:
                count += 1
        return count

    def stopped(self) -> PolicyRefused | None:
        """Why this partner joins nothing, or None."""
        void = self.void_in_a_row()
        if void < self.limits.max_void_attempts:
            return None
        return PolicyRefused(
            f"fewer than {self.limits.max_void_attempts} charged attempts in a row without a result",
            f"{void}",
            "find out why they failed; then, on this machine: chorale-partner budget resume --reason TEXT",
        )

    def resume(self, reason: str, at: int) -> None:
        """Rule 2. Raises ConfigurationError without a reason."""
        if not reason.strip():
            raise ConfigurationError("a reason", "none", "say why it is safe to go on")
        self._journal.decide(at, RESUME, reason.strip())
