"""Whether the published sum is the sum of the uploads, and who says so (protocol 5.4).

Rules:
1. A fingerprint F_i counts if i signed it in its opening for this seal, or c + 1 confirmations carry the same, or
   it was computed here from i's upload, whose root i signed.
2. Where F(B) is not the sum of those, every F_i is computed from its upload: what a partner signed falsely is set
   aside and named; if the sum still differs, the service published a false sum, and nothing is applied.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import numpy as np

from client_sdk.decode import SealedSum
from client_sdk.partner import Partner
from client_sdk.shards import check_shape, shard_size
from privacy.errors import FingerprintMismatch
from privacy.he.addition import check_words
from privacy.he.fingerprint import Fingerprint, FingerprintValue
from privacy.he.fingerprint import add as add_fingerprints
from privacy.protocol.merkle import check_root, shard_digest
from privacy.protocol.messages import Confirmation


def confirmed_fingerprints(
    sealed: SealedSum, confirmations: Mapping[str, Confirmation], colluders: int
) -> dict[str, FingerprintValue]:
    """F_i that c + 1 verified confirmations of this seal carry alike."""
    votes: dict[str, Counter[FingerprintValue]] = {}
    for confirmation in confirmations.values():
        if confirmation.seal != sealed.seal.digest:
            continue
        for item in confirmation.fingerprints:
            first, second = item.fingerprint
            votes.setdefault(item.partner, Counter())[(int(first), int(second))] += 1
    found = {}
    for name, counter in votes.items():
        value, count = counter.most_common(1)[0]
        if count > colluders and name in sealed.manifests:
            found[name] = value
    return found


def check_fingerprints(
    partner: Partner,
    sealed: SealedSum,
    of_sum: FingerprintValue,
    known: Mapping[str, FingerprintValue],
) -> dict[str, FingerprintValue]:
    """The F_i of all of U, whose sum F(B) is. Raises FingerprintMismatch.

    `known`: those that count already; the others are computed from their uploads.
    """
    found = dict(known)
    for name in sealed.seal.partners:
        if name not in found:
            found[name] = upload_fingerprint(partner, sealed, name)
    if add_fingerprints(found.values()) == of_sum:
        return found
    for name in sealed.seal.partners:
        computed = upload_fingerprint(partner, sealed, name)
        if computed != found[name]:
            sealed.accused[name] = "the fingerprint it signed is not that of its upload"
            found[name] = computed
    if add_fingerprints(found.values()) == of_sum:
        return found
    raise FingerprintMismatch(
        "a published sum with the fingerprint of the sum of all uploads",
        "another, and every upload was fetched and fingerprinted here",
        "apply nothing and tell every partner: the service published a false sum",
    )


def upload_fingerprint(partner: Partner, sealed: SealedSum, name: str) -> FingerprintValue:
    """F_i computed here, from i's upload under its signed root."""
    manifest = sealed.manifests[name]
    polynomials = partner.polynomials(sealed.plan)
    check_shape(manifest.shards, polynomials)

    running = Fingerprint(bytes.fromhex(sealed.seal.digest))
    digests = []
    for index in range(manifest.shards.count):
        size = shard_size(manifest.shards, polynomials, index)
        shard = partner.service.upload_shard(sealed.round_digest, name, index, size)
        words = np.frombuffer(shard, dtype="<u8")
        check_words(words)
        running.update(words)
        digests.append(shard_digest(shard))
        partner.progress.transfer(f"upload of {name}", index + 1, manifest.shards.count)
    check_root(digests, manifest.shards.root, manifest.shards.count)
    return running.value()
