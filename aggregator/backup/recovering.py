"""`chorale-server recover`: what a restored service lost, before it is served again.

Rules:
1. Nothing is served, and no entry is written, before it is known what was lost (storage/folder.py, rule 5).
2. Lost entries come back as they were, so the chain is the one that partners countersigned and nobody has to let go
   of a checkpoint. What no file holds an entry of, but a cohort or an own chain proves, is appended as *recovered*.
3. It is one transaction, verified as an export would be before it commits. It may be run again, also on a service
   that was served since, when a partner's file comes late.
4. Every roster partner's file is needed, or the operator's word that it goes on without: that partner then finds
   out whether the service still lacks anything of its own.
5. Where the service was stopped before the backup was made, nothing was lost: that is the operator's word, stands
   in the ledger, and is found out by the first partner that has seen more.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from aggregator.backup.evidence import Evidence, gather
from aggregator.backup.reentering import enter_attempts, enter_campaigns, enter_charges, follow_action
from aggregator.backup.verifying import check_session
from aggregator.rounds.records import charter_in_force
from aggregator.settings import Settings
from aggregator.storage import ledger, snapshot
from aggregator.storage.folder import RESTORED_FILE, ServiceKeys, load_keys, serving
from aggregator.storage.service import stored
from aggregator.storage.tables import CharterRow
from privacy.clock import Clock
from privacy.errors import ConfigurationError, WrongState
from privacy.ledger.handed_back import HandedBack
from privacy.protocol.messages import ChainHead, Charter, Plan, Signed
from privacy.protocol.signing import Verifier


@dataclass(frozen=True)
class Recovered:
    """What came of it. entries: handed back as they were. charges: appended as recovered."""

    head: ChainHead
    entries: int
    charges: int
    confirmed: int
    closed: int


def recover(
    settings: Settings,
    clock: Clock,
    files: Sequence[HandedBack],
    plans: Sequence[Signed[Plan]] = (),
    without: Sequence[str] = (),
) -> Recovered:
    """plans: those that the operator's record says were posted. without: partners whose file will not come.

    Raises ConfigurationError, FolderInUse, RolledBack, LedgerBroken, Conflict, BadSignature; changes nothing then.
    """
    with serving(settings.folder):
        keys = load_keys(settings.folder)
        with snapshot.database_at(settings.database) as database:
            database.migrate()
            with database.write() as session:
                found = _recover(session, settings, keys, int(clock.now()), files, plans, without)
                check_session(session, keys)
        (settings.folder / RESTORED_FILE).unlink(missing_ok=True)
    return found


def _recover(
    session: Session,
    settings: Settings,
    keys: ServiceKeys,
    at: int,
    files: Sequence[HandedBack],
    plans: Sequence[Signed[Plan]],
    without: Sequence[str],
) -> Recovered:
    in_force, charter = charter_in_force(session)
    _require_everyone(charter, files, without)
    rows = session.scalars(select(CharterRow).order_by(CharterRow.sequence)).all()
    charters = {row.digest: stored(Charter, row.message).body for row in rows}
    before = ledger.head(session)
    evidence = gather(files, plans, charters, ledger.lines(session, 0, before.count), Verifier())
    for line in evidence.entries:
        follow_action(session, ledger.replay(session, line))
    enter_campaigns(session, evidence)
    confirmed, closed = enter_attempts(session, evidence, charters, settings, keys.server, at)
    charges = enter_charges(session, evidence, charters, at)
    if ledger.head(session) != before or confirmed or closed:
        ledger.record_action(session, in_force, at, None, _reason(before, evidence, charges))
    return Recovered(ledger.head(session), len(evidence.entries), charges, confirmed, closed)


def _require_everyone(charter: Charter, files: Sequence[HandedBack], without: Sequence[str]) -> None:
    given = [file.partner for file in files]
    missing = sorted(set(charter.partners) - set(given) - set(without))
    if missing or len(given) != len(set(given)) or not given:
        raise ConfigurationError(
            "one file of every partner on the roster, or --without NAME",
            f"none of {', '.join(missing)}" if missing else "no file, or two of one partner",
            "have each write one with `chorale-partner recovery FILE`",
        )


def _reason(before: ChainHead, evidence: Evidence, charges: int) -> str:
    names = ", ".join(evidence.partners)
    said = f"recovered after {before.count} entries: {len(evidence.entries)} handed back, {charges} charges proved"
    return f"{said}, by {names}"[:500]


def declare_whole(settings: Settings, clock: Clock) -> ChainHead:
    """Rule 5; the head from which the chain goes on. Raises WrongState for a folder that bears no mark."""
    mark = settings.folder / RESTORED_FILE
    with serving(settings.folder):
        load_keys(settings.folder)
        try:
            found = json.loads(mark.read_bytes())
        except FileNotFoundError:
            raise WrongState(
                "a folder that `restore` made", "one that nobody restored", "serve it as it is"
            ) from None
        with snapshot.database_at(settings.database) as database:
            database.migrate()
            with database.write() as session:
                restored = ChainHead.model_validate(found["chain"])
                # After a crash between the commit and the end of the mark it is written already.
                if ledger.head(session) == restored and restored.count > 0:
                    charter, _ = charter_in_force(session)
                    reason = f"restored from a backup of {restored.count} entries; nothing was lost"
                    ledger.record_action(session, charter, int(clock.now()), None, reason)
                head = ledger.head(session)
        mark.unlink()
    return head
