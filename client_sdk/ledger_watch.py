"""The service's ledger as this partner has verified it, kept in step and compared with its own (protocol 6.4).

Rules:
1. The service's chain is verified entry by entry up to a checkpoint that it signed; what was seen never changes.
   Whether others' entries keep to their charters is for whoever verifies an export (ledger/verification.py).
2. This partner's charges on both chains are the same list of (charter, plan, round, attempt, event). A charge that
   only the service has, for an attempt that this journal joined, is taken over; for one it never joined, this
   folder is older than the charge: RolledBack. A charge that only this partner has is the service's fault:
   LedgerBroken.
3. A charge under a charter that names other keys for this partner was made by a folder that was lost: this one,
   which enrolled anew, takes it over. A record does not forget, and neither does its budget.
4. Only what was compared is countersigned.
5. Entries are kept as they came: evidence of what was signed, and what a service that lost them can be given back.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from client_sdk.journal import Journal
from client_sdk.own_ledger import OwnLedger
from client_sdk.service import Service
from privacy.clock import Clock
from privacy.errors import LedgerBroken, RolledBack
from privacy.ledger.chain import ChainVerifier, RowTotals
from privacy.ledger.checkpoint import check_checkpoint
from privacy.ledger.entry import CHARGES, BudgetChange
from privacy.protocol.canonical import canonical
from privacy.protocol.messages import ChainHead, Charter, Checkpoint, Signed, parse_signed
from privacy.protocol.signing import Verifier

_HEAD = "server ledger head"


class LedgerWatch:
    """What has verified of the service's chain; durable, so that each round reads only what is new."""

    def __init__(
        self,
        journal: Journal,
        own: OwnLedger,
        partner: str,
        charter: Charter,
        verifier: Verifier,
        clock: Clock,
        earlier: Mapping[str, Charter] = MappingProxyType({}),
    ) -> None:
        """earlier: by digest, the charters that this partner accepted, in this folder or in one that was lost."""
        self._journal = journal
        self._own = own
        self._partner = partner
        self._charter = charter
        self._charters = {**earlier, charter.digest: charter}
        self._verifier = verifier
        self._clock = clock
        self._chain = self._load()
        self.compared = False

    @property
    def head(self) -> ChainHead:
        return self._chain.head

    def seen(self) -> list[ChainHead]:
        """Heads that the service signed and this partner has verified: evidence, whatever is shown later."""
        rows = self._journal.query("SELECT signed FROM checkpoint ORDER BY count")
        return [parse_signed(Checkpoint, raw).body.chain for (raw,) in rows]

    def sync(self, service: Service) -> ChainHead:
        """Bring the chain to the service's checkpoint and compare; the head that may be countersigned."""
        checkpoint = service.checkpoint()
        target = check_checkpoint(checkpoint, self._charter.server_keys, self._charter.digest, self._verifier)
        if target.count < self.head.count:
            raise LedgerBroken(
                self.head.count,
                f"a ledger of at least the {self.head.count} entries that were seen before",
                f"a checkpoint of {target.count}",
                "raise the alarm: the service's ledger was cut, or restored from an older copy",
            )
        while self.head.count < target.count:
            lines = service.ledger(self.head.count, target.count - self.head.count)
            if not lines or len(lines) > target.count - self.head.count:
                raise LedgerBroken(
                    self.head.count + 1,
                    f"entries up to the checkpoint's {target.count}",
                    f"{len(lines)} of them",
                    "fetch the ledger again; if it stays so, raise the alarm",
                )
            self._take(lines)
        if self.head != target:
            raise LedgerBroken(
                target.count,
                f"the chain that the checkpoint signs, {target.head[:16]}",
                self.head.head[:16],
                "raise the alarm: the service shows a ledger other than it signs",
            )
        self._keep(checkpoint)
        self._compare()
        self.compared = True
        return target

    def _take(self, lines: list[bytes]) -> None:
        """Verify a page in memory, then write what it changed; a page that fails changes nothing on disk."""
        try:
            entries = [self._chain.add_line(line) for line in lines]
        except LedgerBroken:
            self._chain = self._load()
            raise
        with self._journal.transaction("server ledger") as database:
            for entry, line in zip(entries, lines, strict=True):
                database.execute(
                    "INSERT INTO server_entry VALUES (?, ?, ?)",
                    (entry.index, None if entry.budget is None else entry.budget.plan, line.removesuffix(b"\n")),
                )
                if entry.budget is None:
                    continue
                totals = self._chain.totals.row(entry.charter, str(entry.participant), entry.budget.row)
                database.execute(
                    "INSERT OR REPLACE INTO server_row VALUES (?, ?, ?, ?, ?)",
                    (entry.charter, entry.participant, entry.budget.row, totals.charged, totals.reserved),
                )
                database.execute(
                    "INSERT OR REPLACE INTO server_attempt VALUES (?, ?, ?, ?)",
                    (
                        entry.participant,
                        entry.budget.plan,
                        entry.kind,
                        canonical(entry.budget.model_dump(mode="json")),
                    ),
                )
            head = canonical(self._chain.head.model_dump(mode="json"))
            database.execute("INSERT OR REPLACE INTO fact VALUES (?, ?)", (_HEAD, head))

    def _keep(self, checkpoint: Signed[Checkpoint]) -> None:
        """Seen checkpoints are evidence: two that disagree at one count prove a fork."""
        chain = checkpoint.body.chain
        for (raw,) in self._journal.query("SELECT signed FROM checkpoint WHERE count = ?", (chain.count,)):
            before = parse_signed(Checkpoint, raw)
            if before.body.chain.head != chain.head:
                raise LedgerBroken(
                    chain.count,
                    f"the head that the service signed before, {before.body.chain.head[:16]}",
                    chain.head[:16],
                    "raise the alarm: two signed checkpoints of one length differ",
                )
        with self._journal.transaction("checkpoint") as database:
            database.execute(
                "INSERT OR IGNORE INTO checkpoint VALUES (?, ?)", (chain.count, checkpoint.canonical_bytes)
            )

    def _compare(self) -> None:
        theirs = self._server_charges()
        mine = self._own.charges()
        for plan, change in mine.items():
            other = theirs.get(plan)
            under = self._chain.totals.charters.get(plan)
            if other is None or _what(other) != _what(change) or under not in (None, self._own.charter_of(plan)):
                raise LedgerBroken(
                    self.head.count,
                    f"{self._partner}'s charge for round {change.round}, attempt {change.attempt} on the service's"
                    " ledger as on its own",
                    "none there"
                    if other is None
                    else f"another there: {other.event}, under charter {str(under)[:16]}",
                    f"raise the alarm: the service's ledger differs from {self._partner}'s own",
                )
        missing = [(self._charter_of(plan), change) for plan, change in theirs.items() if plan not in mine]
        unknown = [
            change
            for charter, change in missing
            if not self._joined(change.plan) and not self._of_a_lost_folder(charter)
        ]
        if unknown:
            first = unknown[0]
            raise RolledBack(
                f"{self._partner}'s own ledger to hold the {len(theirs)} charges of the service's signed ledger",
                f"{len(mine)}; round {first.round}, attempt {first.attempt} was never joined from this folder",
                "put back the newest copy of this folder; if this is it, the service charges what was not joined:"
                " show the operator both ledgers",
            )
        self._own.recover(missing, int(self._clock.now()))

    def _charter_of(self, plan: str) -> Charter:
        """Under which an attempt was charged; the pinned one where the entry came before entries were kept."""
        return self._charters.get(self._chain.totals.charters.get(plan, ""), self._charter)

    def _of_a_lost_folder(self, charter: Charter) -> bool:
        """Rule 3."""
        keys = self._charter.entry(self._partner).signing_keys
        return charter.digest != self._charter.digest and charter.entry(self._partner).signing_keys != keys

    def _joined(self, plan: str) -> bool:
        record = self._journal.record(plan)
        return record is not None and record.signed_join is not None

    def attempts(self) -> dict[str, tuple[str, BudgetChange]]:
        """What each attempt of this partner stands at on the service's chain, as far as it has verified, by R."""
        return {
            plan: standing
            for (participant, plan), standing in self._chain.totals.attempts.items()
            if participant == self._partner
        }

    def _server_charges(self) -> dict[str, BudgetChange]:
        return {plan: change for plan, (kind, change) in self.attempts().items() if kind in CHARGES}

    def _load(self) -> ChainVerifier:
        chain = ChainVerifier()
        head = self._journal.fact(_HEAD)
        if head is None:
            return chain
        chain.head = ChainHead.model_validate_json(head)
        for charter, participant, row, charged, reserved in self._journal.query("SELECT * FROM server_row"):
            chain.totals.rows[(charter, participant, row)] = RowTotals(charged, reserved)
        for participant, plan, kind, raw in self._journal.query("SELECT * FROM server_attempt"):
            chain.totals.attempts[(participant, plan)] = (kind, BudgetChange.model_validate_json(raw))
        charters = "SELECT DISTINCT plan, json_extract(CAST(line AS TEXT), '$.charter') FROM server_entry"
        chain.totals.charters.update(self._journal.query(f"{charters} WHERE plan IS NOT NULL"))
        return chain


def _what(change: BudgetChange) -> tuple[object, ...]:
    return change.plan, change.round, change.attempt, change.event
