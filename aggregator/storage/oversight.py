"""What officers have decided about participants, as it stands: suspensions and tightened caps.

The ledger holds each decision with its reason; these rows are what joins are checked against. Who may decide, and
what follows, is rounds/oversight.py's matter.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from sqlalchemy import select
from sqlalchemy.orm import Session

from aggregator.storage.tables import SuspensionRow, TightenedCapRow
from privacy.dp.caps import Caps
from privacy.errors import ParticipantSuspended


def suspension(session: Session, participant: str) -> SuspensionRow | None:
    return session.get(SuspensionRow, participant)


def suspended(session: Session) -> frozenset[str]:
    """Everyone who is suspended."""
    return frozenset(session.scalars(select(SuspensionRow.participant)))


def require_not_suspended(session: Session, participant: str) -> None:
    """Raises ParticipantSuspended."""
    row = suspension(session, participant)
    if row is not None:
        raise ParticipantSuspended(
            f"a participant that may join; {participant} is suspended since {row.at}",
            f"a join after {row.officer} suspended it: {row.reason}",
            "talk to your security officer: rounds go on for you once the console says resumed",
        )


def limits(session: Session, charter: str, participant: str) -> Mapping[str, int]:
    """Row name -> the count left of it; empty where no cap was tightened."""
    row = session.get(TightenedCapRow, (charter, participant))
    found: dict[str, int] = {} if row is None else json.loads(row.limits)
    return found


def caps(session: Session, charter: str, participant: str) -> Caps | None:
    """The caps as tightened; None where they are the charter's."""
    row = session.get(TightenedCapRow, (charter, participant))
    return None if row is None else Caps.model_validate_json(row.caps)
