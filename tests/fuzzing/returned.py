"""Files that come back to who wrote them, perhaps altered: what partners hand back, a backup's manifest, a report.

Rules:
1. What a signature covers is signed again after it was altered, by the key that the honest file bears: what stands
   behind the check is what that key's holder can reach.
2. Seeds are whole files that are taken.
"""

from __future__ import annotations

import hashlib
import io
import tempfile
from functools import cache
from pathlib import Path

from aggregator.backup.contents import DATABASE_FILE, MANIFEST_FILE, BackupFile, BackupManifest
from aggregator.backup.evidence import gather
from aggregator.backup.verifying import read_manifest
from privacy.ledger import handed_back
from privacy.ledger.export import read_file
from privacy.protocol import messages
from privacy.protocol.canonical import digest
from privacy.protocol.identifiers import SERVER
from privacy.protocol.messages import Body, parse_signed
from privacy.protocol.signing import SigningKey, Verifier, sign
from privacy.report.recompute import described
from privacy.report.render import rendered
from privacy.report.signature import ReportSignature, sign_report
from tests.privacy.ledger import chains
from tests.privacy.protocol import sealed_attempt
from tests.privacy.report import reports

# --- what a partner hands back ------------------------------------------------------------------------------


@cache
def handed_back_file() -> bytes:
    """Of one attempt, sealed and confirmed, which the service's chain and the partner's own both charge."""
    made, name = sealed_attempt.make_attempt(), sealed_attempt.PARTNERS[0]
    key, under = sealed_attempt.KEYS[name], made.charter.digest
    service, own = chains.ChainWriter(under), chains.ChainWriter(under, own=True)
    service.move("reserve", name, 1, "train", sealed_attempt.EVENT)
    service.move("charge", name, 1, "train", sealed_attempt.EVENT)
    own.move("charge", name, 1, "train", sealed_attempt.EVENT)
    head, seal = service.verifier.head, made.seal()
    confirmed = messages.Confirmation(
        charter=under,
        plan=made.plan.digest,
        seal=seal.digest,
        partner=name,
        state="cd" * 32,
        fingerprints=(messages.UploadFingerprint(partner=name, fingerprint=("1", "2")),),
        checkpoint=head,
        probes=None,
    )
    bodies: list[tuple[Body, str, SigningKey]] = [
        (made.cohort, SERVER, sealed_attempt.SERVER_KEY),
        (seal, SERVER, sealed_attempt.SERVER_KEY),
        (confirmed, name, key),
        (messages.Checkpoint(charter=under, chain=head), SERVER, sealed_attempt.SERVER_KEY),
        (messages.OwnCheckpoint(charter=under, partner=name, chain=own.verifier.head), name, key),
    ]
    signed = [
        sealed_attempt.make_campaign(made.charter),
        made.plan,
        *sealed_attempt.make_joins(made.charter, made.plan.body).values(),
        *(sign(*one) for one in bodies),
    ]
    entries = [[entry.canonical_bytes for entry in chain.entries] for chain in (service, own)]
    return b"".join(handed_back.write(name, [one.canonical_bytes for one in signed], *entries))


def handed_back_files() -> list[bytes]:
    """The whole one, and what once was no refusal: lines that are canonical and no object."""
    whole = handed_back_file()
    header, rest = whole.split(b"\n", 1)
    return [whole, b"4\n" + rest, header + b"\n[]\n" + rest]


def handed(raw: bytes, verifier: Verifier) -> object:
    """As `chorale-server recover` reads it, to a service that lost all but its charter."""
    found = handed_back.read(read_file(io.BytesIO(raw)))
    charter = sealed_attempt.make_charter()
    return gather([found], [], {charter.digest: charter}, [], verifier)


# --- a backup's manifest ------------------------------------------------------------------------------------

_DATABASE = b"a database, as far as the manifest knows"


def backup_manifest() -> bytes:
    body = BackupManifest(
        server_keys=sealed_attempt.SERVER_KEY.public,
        made_at=1_760_000_000,
        revision="0001",
        chain=messages.ChainHead(count=5, head="33" * 32),
        blobs=3,
        files=(BackupFile(name=DATABASE_FILE, digest=hashlib.sha256(_DATABASE).hexdigest()),),
    )
    return sign(body, SERVER, sealed_attempt.SERVER_KEY).canonical_bytes


def manifest(raw: bytes) -> object:
    signed = parse_signed(BackupManifest, raw)
    with tempfile.TemporaryDirectory() as folder:
        again = sign(signed.body, SERVER, sealed_attempt.SERVER_KEY)
        Path(folder, MANIFEST_FILE).write_bytes(again.canonical_bytes)
        Path(folder, DATABASE_FILE).write_bytes(_DATABASE)
        return read_manifest(Path(folder), sealed_attempt.SERVER_KEY)


# --- a report -----------------------------------------------------------------------------------------------


@cache
def _report() -> tuple[bytes, ReportSignature, tuple[bytes, ...]]:
    """A report's JSON, its signature file and the ledger that it rests on."""
    made, writer = reports.consortium(3, 2)
    built = reports.report(3, 2)
    raw = rendered(built, "json", "en")
    accepted = [chains.accepted(made, name) for name in made.partners]
    signature = sign_report(built, "json", raw, chains.signed_charter(made), accepted, SERVER, chains.SERVER_KEY)
    return raw, signature, tuple(chains.export_of(writer, made))


def report_json() -> bytes:
    return _report()[0]


def report(raw: bytes) -> object:
    """As `report verify --ledger` reads it."""
    _, honest, lines = _report()
    body = honest.statement.body.model_copy(update={"bytes": len(raw), "sha256": digest(raw)})
    statement = sign(body, SERVER, chains.SERVER_KEY)
    signature = honest.model_copy(update={"statement": statement})
    return described(raw, signature.canonical_bytes, None, lines)
