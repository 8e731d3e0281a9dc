"""`chorale-server recover`: what a restored service lost, before it is served again.

Rules:
1. Nothing is served, and no entry is written, before it is known what was lost (storage/folder.py, rule 5).
2. Where the service was stopped before the backup was made, nothing was: that is the operator's word, stands in the
   ledger, and is found out by the first partner that has seen more.
"""

from __future__ import annotations

import json

from aggregator.rounds.records import charter_in_force
from aggregator.settings import Settings
from aggregator.storage import ledger, snapshot
from aggregator.storage.folder import RESTORED_FILE, load_keys, serving
from privacy.clock import Clock
from privacy.errors import WrongState
from privacy.protocol.messages import ChainHead


def declare_whole(settings: Settings, clock: Clock) -> ChainHead:
    """Rule 2; the head from which the chain goes on. Raises WrongState for a folder that bears no mark."""
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
