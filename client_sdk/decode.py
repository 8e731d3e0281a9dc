"""From openings to the summed vector: S, the sum checked and opened, the lanes taken apart (protocol 4.5, 5.4).

Rules:
1. An opening counts only if its partner signed it for this seal and the box addressed here is the one it signed.
2. S is right if and only if every coefficient of the opened sum passes; nothing less is ever returned.
3. More than t openings are corrected (Reed-Solomon); where that fails, subsets of t are tried while they are few.
What is named is evidence, not proof: a false dealer can make an honest receiver look false. Whether the sum is that
of the uploads is for `fingerprints` to say.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import combinations
from math import comb
from typing import Final

import numpy as np
from numpy.typing import NDArray

from client_sdk.box_fetch import BoxFetch
from client_sdk.partner import Partner
from client_sdk.shards import ShardFolder, check_shape, checked_download, fingerprint
from privacy.errors import ChoraleError, NotEnoughOpenings, OpeningFailed
from privacy.he.boxes import decode_shares, open_box, result_box_info
from privacy.he.envelope import open_sum
from privacy.he.fingerprint import FingerprintValue
from privacy.he.parameters import PARAMETER_SETS
from privacy.he.shamir import recover
from privacy.protocol.canonical import digest
from privacy.protocol.messages import Cohort, Manifest, Opening, Plan, Seal, Signed
from privacy.protocol.round_state import quorum

MAX_SUBSETS: Final = 128
"""Garbage fails at its first polynomial, so a subset costs milliseconds; beyond this many none is tried."""


_MISFIT: Final = "its share does not fit the others: it, or a dealer to it, was false"


@dataclass(frozen=True, repr=False)
class Opened:
    """A sum that opened. `values`: int64[layout.length]; `summed_key`: S, int64[4096]."""

    values: NDArray[np.int64]
    summed_key: NDArray[np.int64]

    def __repr__(self) -> str:
        return f"Opened({self.values.size} values, key withheld)"

    @property
    def key_bytes(self) -> bytes:
        """S for the state's salt and the digest of statistics: 4,096 little-endian signed 32-bit words."""
        return self.summed_key.astype("<i4").tobytes()


@dataclass(frozen=True)
class Unsealed:
    """A sum that opened and whose fingerprint is that of the uploads: what may be applied and confirmed."""

    seal: Seal
    opened: Opened
    fingerprints: Mapping[str, FingerprintValue]


@dataclass
class SealedSum:
    """One seal under decoding. `manifests`: U's, verified; `accused`: partner -> why it was set aside.

    `used`: whose shares opened the sum.
    """

    plan: Plan
    cohort: Cohort
    seal: Seal
    manifests: Mapping[str, Manifest]
    accused: dict[str, str] = field(default_factory=dict)
    shares: dict[str, NDArray[np.uint32]] = field(default_factory=dict)
    opening_digests: dict[str, str] = field(default_factory=dict)
    signed_fingerprints: dict[str, FingerprintValue] = field(default_factory=dict)
    used: tuple[str, ...] = ()

    @property
    def round_digest(self) -> str:
        return self.seal.plan

    def quorum(self, colluders: int) -> int:
        return quorum(len(self.cohort.members), colluders)


def take_openings(partner: Partner, sealed: SealedSum) -> None:
    """Fetch openings that are new, check them, and take their shares up (rule 1)."""
    news = {
        name: signed
        for name, signed in partner.service.openings(sealed.round_digest).items()
        if name not in sealed.shares and sealed.opening_digests.get(name) != signed.digest
    }
    boxes = BoxFetch(partial(partner.service.result_boxes, sealed.round_digest), sorted(news))
    for name, signed in news.items():
        sealed.opening_digests[name] = signed.digest
        try:
            opening = _check_opening(partner, sealed, name, signed)
            sealed.shares[name] = _open_shares(partner, sealed, opening, boxes(name))
        except ChoraleError as error:
            if error.status >= 500:
                del sealed.opening_digests[name]
                raise
            sealed.accused[name] = f"its opening was set aside: {error}"
            continue
        if opening.fingerprint is not None and name in sealed.manifests:
            first, second = opening.fingerprint
            sealed.signed_fingerprints[name] = (int(first), int(second))


def _check_opening(partner: Partner, sealed: SealedSum, name: str, signed: Signed[Opening]) -> Opening:
    if name not in sealed.cohort.partners:
        raise OpeningFailed("an opening by a member of the cohort", name, "set it aside")
    opening = partner.verifier.verify(signed, {name: partner.charter.entry(name).signing_keys})
    expected = (sealed.round_digest, sealed.seal.cohort, sealed.seal.digest, name)
    if (opening.plan, opening.cohort, opening.seal, opening.partner) != expected:
        raise OpeningFailed("an opening for this seal", f"one for seal {opening.seal[:16]}", "set it aside")
    return opening


def _open_shares(partner: Partner, sealed: SealedSum, opening: Opening, box: bytes) -> NDArray[np.uint32]:
    promised = {entry.receiver: entry.digest for entry in opening.boxes}.get(partner.name)
    if digest(box) != promised:
        raise OpeningFailed(f"the box that {opening.partner} signed for", "other bytes", "set it aside")
    info = result_box_info(
        bytes.fromhex(sealed.round_digest),
        bytes.fromhex(sealed.seal.cohort),
        bytes.fromhex(sealed.seal.contributors_digest),
        opening.partner,
        partner.name,
    )
    return decode_shares(open_box(partner.keys.result, info, box))


# --- the sum --------------------------------------------------------------------------------------------


def download_sum(partner: Partner, sealed: SealedSum) -> tuple[ShardFolder, FingerprintValue]:
    """The published sum on disk, checked against the seal's root as it came, and its fingerprint F(B)."""
    polynomials = partner.polynomials(sealed.plan)
    shards = sealed.seal.sum
    check_shape(shards, polynomials)
    folder = partner.sum_folder(sealed.round_digest)
    if folder.count() != shards.count or folder.root() != shards.root:
        folder.drop()
        # Under a root of one shard its own digest is all there is to know.
        digests = partner.service.sum_digests(sealed.round_digest, shards.count) if shards.count > 1 else None

        def fetch(index: int, size: int) -> bytes:
            partner.progress.transfer("download", index + 1, shards.count)
            return partner.service.sum_shard(sealed.round_digest, index, size)

        folder.write(checked_download(fetch, digests, shards, polynomials), durable=False)
    return folder, fingerprint(folder, sealed.seal.digest)


def open_with(partner: Partner, sealed: SealedSum, folder: ShardFolder) -> Opened:
    """Rules 2 and 3, over the openings taken so far. Raises NotEnoughOpenings, OpeningFailed."""
    needed = sealed.quorum(partner.charter.colluders)
    names = sorted(sealed.shares)
    if len(names) < needed:
        raise NotEnoughOpenings(f"{needed} openings", f"{len(names)}", "wait for further openings")
    failure: OpeningFailed | None = None
    for subset in _choices(names, needed):
        try:
            opened, accused = _open_subset(partner, sealed, folder, subset, needed)
        except OpeningFailed as error:
            failure = error
            continue
        for name in accused:
            sealed.accused[name] = _MISFIT
        sealed.used = tuple(name for name in subset if name not in accused)
        return opened
    assert failure is not None
    raise failure


def _choices(names: list[str], needed: int) -> Iterator[tuple[str, ...]]:
    """All openings first, then subsets of the quorum's size while they are few."""
    yield tuple(names)
    if len(names) > needed and comb(len(names), needed) <= MAX_SUBSETS:
        yield from combinations(names, needed)


def name_misfits(partner: Partner, sealed: SealedSum) -> None:
    """Name those whose share, come later or left out, does not lie on the polynomials that opened the sum."""
    needed = sealed.quorum(partner.charter.colluders)
    bound = PARAMETER_SETS[partner.charter.parameter_set].key_bound(len(sealed.seal.contributors))
    for name in sorted(set(sealed.shares) - set(sealed.used) - set(sealed.accused)):
        names = (*sealed.used[:needed], name)
        points = [sealed.cohort.point(member) for member in names]
        try:
            recover(points, np.stack([sealed.shares[member] for member in names]), needed, bound)
        except OpeningFailed:
            sealed.accused[name] = _MISFIT


def _open_subset(
    partner: Partner, sealed: SealedSum, folder: ShardFolder, names: tuple[str, ...], needed: int
) -> tuple[Opened, list[str]]:
    contributors = len(sealed.seal.contributors)
    points = [sealed.cohort.point(name) for name in names]
    bound = PARAMETER_SETS[partner.charter.parameter_set].key_bound(contributors)
    recovered = recover(points, np.stack([sealed.shares[name] for name in names]), needed, bound)
    parts = list(
        open_sum(
            folder,
            recovered.secret,
            contributors,
            partner.lanes(sealed.plan),
            sealed.plan.layout.length,
            bytes.fromhex(sealed.round_digest),
            bytes.fromhex(sealed.seal.cohort),
        )
    )
    by_point = dict(zip(points, names, strict=True))
    return Opened(np.concatenate(parts), recovered.secret), [by_point[point] for point in recovered.accused]
