"""Chains and charters for tests: small, legal, made by the same door as everyone's."""

from __future__ import annotations

from dataclasses import dataclass, field

from privacy.dp.caps import Caps
from privacy.dp.events import PrivacyEvent, TableRow
from privacy.ledger.chain import BudgetMove, ChainVerifier, next_action_entry, next_budget_entry
from privacy.ledger.entry import ActionKind, EntryKind, LedgerEntry, OfficersAction, RowLimit
from privacy.ledger.export import own_export, service_export
from privacy.protocol.identifiers import OPERATOR, SERVER
from privacy.protocol.messages import (
    ChainHead,
    Charter,
    CharterAcceptance,
    Checkpoint,
    Confirmation,
    OwnCheckpoint,
    RosterEntry,
    Signed,
)
from privacy.protocol.signing import SigningKey, sign

EVENT = PrivacyEvent(kind="distributed", noise_multiplier=0.9, sampling_rate=0.05, steps=1)
COUNTS = PrivacyEvent(kind="statistics", noise_multiplier=20.0, sampling_rate=1.0, steps=1)
NOTHING = PrivacyEvent(kind="none", noise_multiplier=0.0, sampling_rate=1.0, steps=1)
CHARTER = "c" * 64
SERVER_KEY = SigningKey(bytes(range(64)))
OPERATOR_KEY = SigningKey(bytes(range(1, 65)))


def partner_key(partner: str) -> SigningKey:
    return SigningKey(partner.encode().ljust(64, b"."))


def plan_digest(number: int) -> str:
    return f"{number:064x}"


def charter(
    partners: tuple[str, ...] = ("aster", "birch", "cedar"),
    table: tuple[TableRow, ...] = (TableRow(name="training", event=EVENT, count=200),),
    caps: Caps = Caps(epsilon_alone=34.0, epsilon_in_sum=8.0, delta=1e-5),
    n_min: int = 3,
) -> Charter:
    return Charter(
        consortium="Test consortium",
        epoch=1,
        previous="0" * 64,
        roster=tuple(
            RosterEntry(
                partner=partner,
                name=partner.title(),
                signing_keys=partner_key(partner).public,
                result_key=f"{place:02432x}",
                caps=caps,
            )
            for place, partner in enumerate(partners, start=1)
        ),
        n_min=n_min,
        colluders=1,
        parameter_set="bfv-4096-60",
        privacy_unit="one compound with all its measurements",
        table=table,
        allow_none=any(row.event.kind == "none" for row in table),
        lead=partners[0],
        operator_keys=OPERATOR_KEY.public,
        server_keys=SERVER_KEY.public,
    )


@dataclass
class ChainWriter:
    """Writes legal entries one after another, and keeps them with their lines."""

    charter: str = CHARTER
    own: bool = False
    entries: list[LedgerEntry] = field(default_factory=list)
    verifier: ChainVerifier = field(init=False)

    def __post_init__(self) -> None:
        self.verifier = ChainVerifier(self.own)

    @property
    def lines(self) -> list[bytes]:
        return [entry.canonical_bytes + b"\n" for entry in self.entries]

    def move(
        self, kind: EntryKind, participant: str, number: int, row: str = "training", event: PrivacyEvent = EVENT
    ) -> LedgerEntry:
        attempts = self.verifier.totals.attempts
        held = attempts.get((participant, plan_digest(number)), (None,))[0] == "reserve"
        before = self.verifier.totals.row(self.charter, participant, row)
        move = BudgetMove(kind, participant, plan_digest(number), number, 1, event, row)
        at = 1_760_000_000 + 3600 * len(self.entries)
        return self.append(next_budget_entry(self.verifier.head, self.charter, at, move, before, held))

    def action(self, participant: str | None, reason: str) -> LedgerEntry:
        at = 1_760_000_000 + 3600 * len(self.entries)
        return self.append(next_action_entry(self.verifier.head, self.charter, at, participant, reason))

    def officer(
        self,
        participant: str | None,
        what: ActionKind,
        reason: str,
        *,
        officer: str = "kim",
        second: str | None = None,
        alarm: str | None = None,
        caps: Caps | None = None,
        limits: tuple[RowLimit, ...] = (),
    ) -> LedgerEntry:
        action = OfficersAction(
            what=what, officer=officer, role="officer", second=second, alarm=alarm, caps=caps, limits=limits
        )
        at = 1_760_000_000 + 3600 * len(self.entries)
        return self.append(next_action_entry(self.verifier.head, self.charter, at, participant, reason, action))

    def append(self, entry: LedgerEntry) -> LedgerEntry:
        self.verifier.add(entry)
        self.entries.append(entry)
        return entry

    def attempt(self, number: int, partners: tuple[str, ...], event: PrivacyEvent = EVENT) -> None:
        """Everyone joins, everyone is charged."""
        for partner in partners:
            self.move("reserve", partner, number, event=event)
        for partner in partners:
            self.move("charge", partner, number, event=event)


def small_chain(under: str = CHARTER) -> ChainWriter:
    """Every kind of entry once, and a second participant."""
    writer = ChainWriter(under)
    writer.move("reserve", "aster", 1)
    writer.move("reserve", "birch", 1)
    writer.move("charge", "aster", 1)
    writer.move("lapse", "birch", 1)
    writer.action(None, "charter in force")
    writer.move("recovered", "birch", 2)
    return writer


# --- exports ------------------------------------------------------------------------------------------------


def signed_charter(made: Charter) -> Signed[Charter]:
    return sign(made, OPERATOR, OPERATOR_KEY)


def accepted(made: Charter, partner: str) -> Signed[CharterAcceptance]:
    return sign(CharterAcceptance(charter=made.digest, partner=partner), partner, partner_key(partner))


def confirmation(made: Charter, partner: str, seen: ChainHead) -> Signed[Confirmation]:
    body = Confirmation(
        charter=made.digest,
        plan="1" * 64,
        seal="2" * 64,
        partner=partner,
        state="3" * 64,
        fingerprints=(),
        checkpoint=seen,
        probes=None,
    )
    return sign(body, partner, partner_key(partner))


def export_of(
    writer: ChainWriter,
    made: Charter,
    countersigned: dict[str, ChainHead] | None = None,
    key: SigningKey = SERVER_KEY,
) -> list[bytes]:
    """The service's export of this chain under one charter."""
    checkpoint = sign(Checkpoint(charter=made.digest, chain=writer.verifier.head), SERVER, key)
    return list(
        service_export(
            [(signed_charter(made), [accepted(made, partner) for partner in made.partners])],
            checkpoint,
            [confirmation(made, partner, seen) for partner, seen in sorted((countersigned or {}).items())],
            [entry.canonical_bytes for entry in writer.entries],
        )
    )


def own_export_of(writer: ChainWriter, made: Charter, partner: str) -> list[bytes]:
    checkpoint = OwnCheckpoint(charter=made.digest, partner=partner, chain=writer.verifier.head)
    return list(
        own_export(
            [(signed_charter(made), [accepted(made, partner)])],
            sign(checkpoint, partner, partner_key(partner)),
            [entry.canonical_bytes for entry in writer.entries],
        )
    )
