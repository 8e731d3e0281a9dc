"""Whether a backup, or a folder made from one, says what the service signed and recorded.

The steps, in order; the first that fails raises:
1. the manifest is signed by the online key, both algorithms, and of a form that this release reads;
2. each file that the manifest names has the digest that it names; no other file is ever used;
3. the database is sound, and its references hold;
4. the ledger verifies as an export would: charters, acceptances, countersignatures, every entry and total
   (privacy/ledger/verification.py), up to the head that the manifest names;
5. head and holdings, which joins are decided by, say what the chain says;
6. every blob that the database refers to is there, byte for byte.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from aggregator.backup.contents import MANIFEST_FILE, BackupManifest, blobs, file_digest
from aggregator.rounds import ledger_export
from aggregator.rounds.records import charter_in_force
from aggregator.storage import ledger, snapshot
from aggregator.storage.database import Database
from aggregator.storage.folder import ServiceKeys
from aggregator.storage.tables import HoldingRow
from privacy.dp.budget import HoldingState
from privacy.errors import ConfigurationError, DigestMismatch, LedgerBroken, NotFound, WrongState
from privacy.ledger.chain import ChainTotals, verify_lines
from privacy.ledger.checkpoint import sign_checkpoint
from privacy.ledger.verification import verify_export
from privacy.protocol.identifiers import SERVER
from privacy.protocol.messages import ChainHead, Signed, parse_signed
from privacy.protocol.signing import SigningKey, verify

_STATES = {"reserve": HoldingState.RESERVED, "charge": HoldingState.CHARGED, "recovered": HoldingState.CHARGED}
_ALL = 1 << 60


def read_manifest(backup: Path, key: SigningKey) -> Signed[BackupManifest]:
    """Steps 1 and 2. Raises ConfigurationError where it is no whole backup, BadSignature, DigestMismatch."""
    try:
        raw = (backup / MANIFEST_FILE).read_bytes().removesuffix(b"\n")
    except OSError as error:
        raise ConfigurationError(
            f"a backup at {backup}",
            f"{error.strerror}: {MANIFEST_FILE}",
            "name a folder that was finished",
        ) from None
    signed = parse_signed(BackupManifest, raw)
    if signed.body.server_keys != key.public:
        raise ConfigurationError(
            f"the online key with the public half {signed.body.server_keys.ed25519[:16]}",
            f"another, {key.public.ed25519[:16]}",
            "give the `server.key` that the service had when the backup was made",
        )
    verify(signed, {SERVER: key.public})
    if not snapshot.is_known(signed.body.revision):
        raise ConfigurationError(
            "a backup by this release or an older one", f"revision {signed.body.revision}", "use a newer release"
        )
    for file in signed.body.files:
        try:
            found = file_digest(backup / file.name)
        except OSError as error:
            raise ConfigurationError(
                f"{file.name} in {backup}", str(error.strerror), "use another copy of this backup"
            ) from None
        if found != file.digest:
            raise DigestMismatch(
                f"{file.name} of digest {file.digest[:16]}", found[:16], "use another copy of this backup"
            )
    return signed


def check_ledger(database: Database, keys: ServiceKeys, expected: ChainHead | None = None) -> ChainHead:
    """Steps 4 and 5. Raises LedgerBroken."""
    with database.read() as session:
        return check_session(session, keys, expected)


def check_session(session: Session, keys: ServiceKeys, expected: ChainHead | None = None) -> ChainHead:
    """The same of what this transaction sees."""
    head = ledger.head(session)
    if expected is not None and head != expected:
        raise LedgerBroken(
            head.count,
            f"a chain of {expected.count} entries with head {expected.head[:16]}",
            f"{head.count} and {head.head[:16]}",
            "use another backup",
        )
    _compare_holdings(session, _replayed(session, keys, head))
    return head


def check_blobs(session: Session, folder: Path, told: Callable[[int, int], None]) -> int:
    """Step 6; how many there are. Raises NotFound, DigestMismatch."""
    wanted = list(blobs(session))
    for place, blob in enumerate(wanted):
        told(place, len(wanted))
        try:
            with (folder / blob.name).open("rb") as file:
                blob.copy(file)
        except FileNotFoundError:
            raise missing(blob.name) from None
    told(len(wanted), len(wanted))
    return len(wanted)


def missing(name: str) -> NotFound:
    return NotFound("every blob that the database refers to", f"none at {name}", "use another copy of this backup")


def _replayed(session: Session, keys: ServiceKeys, head: ChainHead) -> ChainTotals:
    entries = ledger.lines(session, 0, _ALL)
    try:
        charter, _ = charter_in_force(session)
    except WrongState:
        # Before the first charter there is nothing that a chain could be held to but itself.
        chain = verify_lines(entries)
        if chain.head != head:
            raise _other_head(head, chain.head) from None
        return chain.totals
    preamble = ledger_export.lines(session, sign_checkpoint(charter, head, keys.server))
    return verify_export(_joined(preamble, entries)).totals


def _joined(preamble: Iterable[bytes], entries: Iterable[bytes]) -> Iterable[bytes]:
    yield from preamble
    for entry in entries:
        yield entry + b"\n"


def _compare_holdings(session: Session, totals: ChainTotals) -> None:
    expected = {key: _STATES.get(kind, HoldingState.LAPSED).value for key, (kind, _) in totals.attempts.items()}
    found = {(row.participant, row.round): row.state for row in session.scalars(select(HoldingRow))}
    for key in sorted(expected.keys() | found.keys()):
        if expected.get(key) != found.get(key):
            raise LedgerBroken(
                0,
                f"{key[0]} to hold of attempt {key[1][:16]} what the chain says: {expected.get(key, 'nothing')}",
                str(found.get(key, "nothing")),
                "the database was altered beside the ledger: use another backup, and raise the alarm",
            )


def _other_head(expected: ChainHead, came: ChainHead) -> LedgerBroken:
    return LedgerBroken(
        expected.count, f"head {expected.head[:16]}", came.head[:16], "the database was altered: use another backup"
    )
