"""The last round's sum, added again from its uploads and opened twice; the model's step, taken again.

Rules:
1. Every upload is what its manifest committed to, before it is added.
2. The sum is opened by the product's own code and by SEAL's Decryptor; the two must give the same numbers.
3. S and the states before and after come from one partner's export, since nobody else may hold them. They are not
   taken on trust: S opens every coefficient or none, and both states have digests that the partners signed for.
Holds the sum of one round in memory, which a demo's is small enough for.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from client_sdk.model_state import ModelState, apply_sum
from deploy.demo.check_files import ConsortiumFiles
from deploy.demo.check_messages import Constitution, VerifiedAttempt
from deploy.demo.seal_oracle import decrypt
from privacy.errors import DigestMismatch, FingerprintMismatch, MalformedMessage, OpeningFailed
from privacy.he.addition import modular_sum
from privacy.he.envelope import open_sum
from privacy.he.fingerprint import Fingerprint, FingerprintValue
from privacy.he.fingerprint import add as add_fingerprints
from privacy.he.lanes import LaneLayout
from privacy.he.parameters import DEFAULT
from privacy.he.ring import Ring
from privacy.protocol.merkle import root, shard_digest
from privacy.protocol.messages import Plan, ShardRoot
from privacy.protocol.plan_checks import mechanism

_REMEDY = "raise the alarm, and keep the files"


@dataclass(frozen=True)
class Added:
    """The sum of U's uploads, in shards, uint64 words each."""

    shards: tuple[NDArray[np.uint64], ...]

    @property
    def words(self) -> NDArray[np.uint64]:
        return np.concatenate(self.shards)


def check_added(files: ConsortiumFiles, attempt: VerifiedAttempt) -> Added:
    """Rule 1; then the sum's root is the seal's; fingerprints are those that their owners signed, and add up."""
    uploads: dict[str, list[NDArray[np.uint64]]] = {}
    fingerprints: dict[str, FingerprintValue] = {}
    for name, manifest in attempt.manifests.items():
        uploads[name] = _upload(files, attempt.plan.digest, name, manifest.shards)
        fingerprints[name] = _fingerprint(uploads[name], attempt.seal.digest)
        signed = attempt.fingerprints.get(name)
        if signed is not None and signed != fingerprints[name]:
            raise FingerprintMismatch(f"the fingerprint that {name} signed", "another of its upload", _REMEDY)
    shards = tuple(modular_sum(parts, parts[0].size) for parts in zip(*uploads.values(), strict=True))
    found = root([shard_digest(shard.astype("<u8").tobytes()) for shard in shards])
    if found != attempt.seal.sum.root or len(shards) != attempt.seal.sum.count:
        raise DigestMismatch(f"a sum of root {attempt.seal.sum.root[:16]}, as sealed", found[:16], _REMEDY)
    if _fingerprint(list(shards), attempt.seal.digest) != add_fingerprints(fingerprints.values()):
        raise FingerprintMismatch("the uploads' fingerprints to add up to the sum's", "another sum", _REMEDY)
    return Added(shards)


def check_opened(attempt: VerifiedAttempt, added: Added, lanes: LaneLayout, summed_key: bytes) -> NDArray[np.int64]:
    """The opened sum, int64[layout.length], by our own code; SEAL's Decryptor gave the same (rule 2)."""
    key = _key(summed_key)
    plan, contributors = attempt.plan, len(attempt.seal.contributors)
    r, j = bytes.fromhex(plan.digest), bytes.fromhex(attempt.cohort.digest)
    parts = (shard.astype("<u8").tobytes() for shard in added.shards)
    ours = np.concatenate(list(open_sum(parts, key, contributors, lanes, plan.layout.length, r, j)))
    messages = decrypt(Ring(r, j), 0, added.words.reshape(-1, DEFAULT.degree), key).reshape(-1)
    by_seal = lanes.unpack(messages, contributors, plan.layout.length)
    if not np.array_equal(ours, by_seal):
        raise OpeningFailed(
            "what SEAL's Decryptor opens", f"{int((ours != by_seal).sum())} values that differ", _REMEDY
        )
    return ours


def check_state_before(plan: Plan, raw: bytes) -> ModelState:
    before = ModelState.from_bytes(raw)
    if before.digest != plan.base_state:
        raise DigestMismatch(
            f"an exported state_before of digest {plan.base_state[:16]}, the plan's base",
            before.digest[:16],
            _REMEDY,
        )
    return before


def check_state_after(
    constitution: Constitution,
    attempt: VerifiedAttempt,
    before: ModelState,
    values: NDArray[np.int64],
    summed_key: bytes,
    raw_after: bytes,
) -> ModelState:
    """The step, taken again: it leads to the exported state and to the one that the partners confirmed."""
    charter, campaign, plan = constitution.charter, constitution.campaign, attempt.plan
    noised = plan.event.kind in ("distributed", "statistics")
    noise = mechanism(plan, charter, campaign) if noised else None
    after = apply_sum(before, campaign, plan, noise, values, len(attempt.seal.contributors), summed_key)
    if after.digest != attempt.state:
        raise DigestMismatch(f"the confirmed state {attempt.state[:16]}", after.digest[:16], _REMEDY)
    exported = ModelState.from_bytes(raw_after)
    if exported.digest != after.digest:
        raise DigestMismatch(
            f"an exported state_after of digest {after.digest[:16]}, the confirmed one",
            exported.digest[:16],
            _REMEDY,
        )
    return after


def _upload(files: ConsortiumFiles, round_digest: str, name: str, shards: ShardRoot) -> list[NDArray[np.uint64]]:
    raw = [files.upload_shard(round_digest, name, index) for index in range(shards.count)]
    found = root([shard_digest(shard) for shard in raw])
    if found != shards.root:
        raise DigestMismatch(
            f"the upload of {name} to have root {shards.root[:16]}, as its manifest says", found[:16], _REMEDY
        )
    return [np.frombuffer(shard, dtype="<u8").astype(np.uint64) for shard in raw]


def _fingerprint(shards: list[NDArray[np.uint64]], seal_digest: str) -> FingerprintValue:
    running = Fingerprint(bytes.fromhex(seal_digest))
    for shard in shards:
        running.update(shard)
    return running.value()


def _key(raw: bytes) -> NDArray[np.int64]:
    if len(raw) != 4 * DEFAULT.degree:
        raise MalformedMessage(f"a summed key of {4 * DEFAULT.degree} bytes", f"{len(raw)}", _REMEDY)
    return np.frombuffer(raw, dtype="<i4").astype(np.int64)
