"""The tables. Rows hold messages as the canonical bytes that came, and columns for what is looked up.

Rules:
1. A message's bytes are never rewritten; columns beside them repeat what they say.
2. `attempts.version` grows with every change that the round document shows.
3. `ledger_entries` is append-only: the migrations' triggers refuse all but the next entry.
4. Tokens are stored as their SHA-256.
5. `received` is when a signed statement came, by our clock; None where it came before that was kept.
Times are seconds since 1970 UTC.
"""

from __future__ import annotations

from aggregator.storage.tables.accounts import (
    AccountRow,
    AttemptLimitRow,
    ConsoleLinkRow,
    ConsoleSessionRow,
    KnownBrowserRow,
    RecoveryCodeRow,
)
from aggregator.storage.tables.alarms import AlarmDeliveryRow, AlarmRow
from aggregator.storage.tables.attempts import (
    AttemptRow,
    ConfirmationRow,
    JoinRow,
    OpeningRow,
    RefusalRow,
    ShardRow,
    StageRow,
    UploadRow,
    VoidRow,
)
from aggregator.storage.tables.base import Table
from aggregator.storage.tables.consortium import (
    AcceptanceRow,
    CampaignRow,
    CharterRow,
    EnrolmentRow,
    FormerEnrolmentRow,
    InvitationRow,
    LeaseRow,
    StateBoxRow,
    StateRequestRow,
)
from aggregator.storage.tables.ledger import (
    HoldingRow,
    LedgerEntryRow,
    LedgerHeadRow,
    SuspensionRow,
    TightenedCapRow,
)

__all__ = [
    "AcceptanceRow",
    "AccountRow",
    "AlarmDeliveryRow",
    "AlarmRow",
    "AttemptLimitRow",
    "AttemptRow",
    "CampaignRow",
    "CharterRow",
    "ConfirmationRow",
    "ConsoleLinkRow",
    "ConsoleSessionRow",
    "EnrolmentRow",
    "FormerEnrolmentRow",
    "HoldingRow",
    "InvitationRow",
    "JoinRow",
    "KnownBrowserRow",
    "LeaseRow",
    "LedgerEntryRow",
    "LedgerHeadRow",
    "OpeningRow",
    "RecoveryCodeRow",
    "RefusalRow",
    "ShardRow",
    "StageRow",
    "StateBoxRow",
    "StateRequestRow",
    "SuspensionRow",
    "Table",
    "TightenedCapRow",
    "UploadRow",
    "VoidRow",
]
