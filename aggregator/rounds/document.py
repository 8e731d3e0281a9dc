"""From rows to the round document, which everyone waits on (docs/http.md).

It shows what is public within the consortium: no boxes, no shards. It decides nothing.
"""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from aggregator.rounds.confirmation import confirmations_of, voids_of
from aggregator.rounds.join import joins_of
from aggregator.rounds.opening import openings_of
from aggregator.rounds.records import find, state_of
from aggregator.storage.service import Service
from aggregator.storage.tables import AttemptRow, ConfirmationRow, RefusalRow, StageRow, UploadRow
from privacy.dp.probes import ProbeStatistic
from privacy.protocol.round_state import RoundState

_ORDER = tuple(RoundState)


_KEPT = 64


def document_bytes(service: Service, session: Session, round_digest: str, version: int) -> bytes:
    """The document as JSON at this version, which the session sees; made once, however many wait for it.

    Seconds in the present state are those when it was made. Another process's changes raise the version in the
    database, so what is kept is never taken for newer than it is.
    """
    kept = service.documents.get(round_digest)
    if kept is not None and kept[0] == version:
        return kept[1]
    attempt = find(session, round_digest)
    made = json.dumps(round_document(session, attempt, service.clock.now()), separators=(",", ":")).encode()
    if len(service.documents) >= _KEPT:
        service.documents.clear()
    service.documents[round_digest] = (attempt.version, made)
    return made


def round_document(session: Session, attempt: AttemptRow, now: float) -> dict[str, Any]:
    """JSON values; signed messages in it are those that came, re-parsed."""
    digest = attempt.round
    uploads = session.scalars(select(UploadRow).where(UploadRow.round == digest).order_by(UploadRow.partner)).all()
    refusals = session.scalars(select(RefusalRow).where(RefusalRow.round == digest).order_by(RefusalRow.partner))
    confirmations = confirmations_of(session, digest)
    receipts = [row.partner for row in uploads if row.receipt is not None]
    return {
        "round": digest,
        "version": attempt.version,
        "state": attempt.state,
        "number": attempt.number,
        "attempt": attempt.attempt,
        "plan": json.loads(attempt.plan),
        "joined": [row.partner for row in joins_of(session, digest)],
        "cohort": attempt.cohort_digest,
        "manifests": [row.partner for row in uploads],
        "uploaded": receipts,
        "seal": json.loads(attempt.seal) if attempt.seal else None,
        "openings": [row.partner for row in openings_of(session, digest)],
        "confirmations": {row.partner: row.state for row in confirmations},
        "probes": {row.partner: shown for row in confirmations if (shown := _probes(attempt, row)) is not None},
        "refusals": [json.loads(row.message) for row in refusals],
        "voids": [row.partner for row in voids_of(session, digest)],
        "close": json.loads(attempt.close) if attempt.close else None,
        "receipts": receipts,
        "seconds": _seconds(session, attempt, now),
    }


def _probes(attempt: AttemptRow, row: ConfirmationRow) -> dict[str, float] | None:
    """What a confirmation says of the noise, and how many standard deviations that is off (protocol 6.2)."""
    said = json.loads(row.message)["body"]["probes"]
    if said is None:
        return None
    probes = json.loads(attempt.plan)["body"]["layout"]["probes"]
    return {
        **said,
        "deviations": ProbeStatistic(said["ratio"], probes).deviations,
        "total_deviations": ProbeStatistic(said["total_ratio"], said["total_probes"]).deviations,
    }


def _seconds(session: Session, attempt: AttemptRow, now: float) -> dict[str, float]:
    """Seconds spent in each state but the last one of an attempt that has ended."""
    stages = session.scalars(select(StageRow).where(StageRow.round == attempt.round)).all()
    ordered = sorted(stages, key=lambda stage: (stage.entered, _ORDER.index(RoundState(stage.state))))
    spent: dict[str, float] = {}
    for stage, following in pairwise(ordered):
        spent[stage.state] = round(following.entered - stage.entered, 3)
    if ordered and not state_of(attempt).ended:
        spent[ordered[-1].state] = round(max(0.0, now - ordered[-1].entered), 3)
    return spent
