"""Fixing U, adding the uploads, and publishing the signed seal (protocol 4.3).

Rules:
1. U is everyone who holds a receipt. It is written down (uploading -> summing) before anything is added, so a sum
   that a crash cut off is made again over the same U.
2. Shards are added one by one, each in a process of the pool, from disk to disk.
3. The seal is signed once, in the transaction that moves the attempt on; the sum's files are in place before it.
"""

from __future__ import annotations

from concurrent.futures import Executor, ThreadPoolExecutor

from sqlalchemy import select

from aggregator.rounds.blind_sum import sum_shard
from aggregator.rounds.join import close
from aggregator.rounds.records import charter_of, cohort_of, find, move, state_of
from aggregator.rounds.upload import sealed_uploads, shard_name
from aggregator.storage.service import Service
from aggregator.storage.tables import UploadRow
from privacy.errors import NotFound
from privacy.protocol.identifiers import SERVER
from privacy.protocol.merkle import root
from privacy.protocol.messages import Contributor, Seal, ShardRoot
from privacy.protocol.round_state import RoundState
from privacy.protocol.signing import sign


def sum_name(round_digest: str, index: int) -> str:
    return f"rounds/{round_digest}/sum/{index}"


def settle_uploading(service: Service, round_digest: str) -> None:
    """Fix U if everyone is in or the deadline has passed, or close where too few came; otherwise nothing."""
    with service.database.write() as session:
        attempt = find(session, round_digest, lock=True)
        if state_of(attempt) is not RoundState.UPLOADING:
            return
        uploads = session.scalars(
            select(UploadRow).where(UploadRow.round == round_digest, UploadRow.receipt.is_not(None))
        ).all()
        whole = len(uploads) == len(cohort_of(attempt).members)
        if not whole and service.now() <= attempt.upload_deadline:
            return
        needed = charter_of(session, attempt.charter).n_min
        if len(uploads) < needed:
            reason = f"{len(uploads)} uploads complete, of the {needed} that the charter asks for"
            close(service, session, attempt, "too-few-uploads", reason)
            return
        for upload in uploads:
            upload.in_seal = True
        move(session, attempt, RoundState.SUMMING, service.clock.now())


def make_seal(service: Service, round_digest: str, pool: Executor) -> None:
    """Add what U uploaded and publish the seal; nothing if that was done or the attempt has ended meanwhile."""
    with service.database.read() as session:
        attempt = find(session, round_digest)
        if state_of(attempt) is not RoundState.SUMMING:
            return
        uploads = sealed_uploads(session, round_digest)
    words = uploads[0].words
    count = -(-8 * words // attempt.shard_bytes)
    digests = _add(service, round_digest, [row.partner for row in uploads], 8 * words, attempt.shard_bytes, pool)
    body = Seal(
        charter=attempt.charter,
        plan=round_digest,
        cohort=attempt.cohort_digest or "",
        contributors=tuple(Contributor(partner=row.partner, manifest=row.digest) for row in uploads),
        sum=ShardRoot(root=root(digests), count=count, shard_bytes=attempt.shard_bytes),
    )
    signed = sign(body, SERVER, service.keys.server)
    with service.database.write() as session:
        attempt = find(session, round_digest, lock=True)
        if state_of(attempt) is not RoundState.SUMMING:
            return
        attempt.seal = signed.canonical_bytes
        attempt.seal_digest = signed.digest
        attempt.sum_digests = b"".join(digests)
        move(session, attempt, RoundState.OPENING, service.clock.now())


def _add(
    service: Service, round_digest: str, partners: list[str], size: int, shard_bytes: int, pool: Executor
) -> list[bytes]:
    """The digests of the sum's shards, as many of which are made at once as the service has workers."""

    def add(index: int) -> bytes:
        paths = [str(service.blobs.path(shard_name(round_digest, partner, index))) for partner in partners]
        with service.blobs.writer(sum_name(round_digest, index)) as writer:
            job = pool.submit(sum_shard, paths, str(writer.path), min(shard_bytes, size - index * shard_bytes))
            digest: bytes = job.result()
            writer.publish()
        return digest

    waiting = ThreadPoolExecutor(service.settings.sum_workers, "seal")
    try:
        return list(waiting.map(add, range(-(-size // shard_bytes))))
    finally:
        waiting.shutdown(cancel_futures=True)


def sum_digests(service: Service, round_digest: str) -> bytes:
    """The sum's shard digests, 32 bytes each."""
    with service.database.read() as session:
        attempt = find(session, round_digest)
        if attempt.sum_digests is None:
            raise NotFound("a sealed sum", f"an attempt that is {attempt.state}", "wait for the seal")
        return attempt.sum_digests
