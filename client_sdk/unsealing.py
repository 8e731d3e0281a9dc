"""Waiting for openings until a sum opens, or until it is plain that it does not (protocol 4.5).

Rules:
1. Decoding is tried from the t-th opening on, and again with every further one.
2. This partner votes void only when nothing decodes over all openings it saw, also where fewer than t of them can
   be used (or the published sum is not that of the uploads), and either every member of J has opened or the open
   deadline has passed.
3. Openings that are only moments away are waited for before uploads are fetched to compute their fingerprints.
"""

from __future__ import annotations

import hmac
from hashlib import sha256
from typing import Final

import numpy as np
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from numpy.typing import NDArray

from client_sdk.answers import RoundDocument
from client_sdk.confirming import verified_confirmations, vote_void
from client_sdk.decode import Opened, SealedSum, Unsealed, download_sum, name_misfits, open_with, take_openings
from client_sdk.fingerprints import check_fingerprints, confirmed_fingerprints
from client_sdk.meter import Meter
from client_sdk.partner import Partner
from client_sdk.transport import LONG_POLL_SECONDS
from privacy.errors import (
    DigestMismatch,
    FingerprintMismatch,
    MalformedMessage,
    NotEnoughOpenings,
    NotFound,
    OpeningFailed,
    OutOfRange,
    TooLarge,
)
from privacy.he.fingerprint import FingerprintValue
from privacy.protocol.round_state import RoundState

FINGERPRINT_PATIENCE: Final = 3.0
"""Seconds to wait for the last contributors' openings before their uploads are fetched instead."""
_FALSE: Final = (OpeningFailed, FingerprintMismatch, DigestMismatch, OutOfRange, MalformedMessage, TooLarge)
"""What does not decode, and what the service may serve instead of it."""
_STATISTICS: Final = b"chorale/1 statistics"


def statistics_digest(values: NDArray[np.int64], key_bytes: bytes) -> str:
    """What a statistics round confirms: HMAC-SHA256 of the sums under HKDF-SHA256(S) (protocol 3).

    A plain hash of a few small numbers could be searched by the server. values: int64[layout.length].
    """
    key = HKDF(algorithm=SHA256(), length=32, salt=None, info=_STATISTICS).derive(key_bytes)
    return hmac.new(key, values.astype("<i8").tobytes(), sha256).hexdigest()


def unseal(
    partner: Partner, sealed: SealedSum, document: RoundDocument, meter: Meter
) -> tuple[Unsealed | None, RoundDocument]:
    """The sum, or None once the attempt has ended without one that can be decoded here."""
    tried = 0
    needed = sealed.quorum(partner.charter.colluders)
    failure = f"none of the {needed} openings that the sum needs"
    voted = fresh = False
    while True:
        enough = len(document.openings) >= needed or partner.now() > sealed.plan.deadlines.open
        if enough and set(document.openings) - set(sealed.opening_digests):
            take_openings(partner, sealed)
        if len(sealed.shares) != tried:
            tried = len(sealed.shares)
            try:
                return _try(partner, sealed, document, meter), document
            except NotEnoughOpenings:
                failure = f"{tried} usable openings of the {needed} that the sum needs"
            except NotFound as gone:
                meter.alarm(f"the sum is not kept any more: {gone.came}")
                return None, document
            except _FALSE as error:
                failure = str(error)
                meter.alarm(f"{tried} openings do not decode: {error}")
        if document.state.ended:
            return None, document
        if not voted and _all_seen(partner, sealed):
            if not fresh:
                # A vote past the deadline is about all openings that there are, not those of a moment ago.
                document, fresh = partner.service.round(sealed.round_digest), True
                continue
            _name_accused(sealed, meter)
            voted = vote_void(partner, sealed, failure)
        document = partner.wait_round(sealed.round_digest, document.version, _patience(partner, sealed))


def _try(partner: Partner, sealed: SealedSum, document: RoundDocument, meter: Meter) -> Unsealed:
    needed = sealed.quorum(partner.charter.colluders)
    if len(sealed.shares) < needed:
        raise NotEnoughOpenings(f"{needed} openings", str(len(sealed.shares)), "wait for further openings")
    folder, of_sum = download_sum(partner, sealed)
    opened: Opened = open_with(partner, sealed, folder)
    fingerprints = _fingerprints(partner, sealed, document, of_sum)
    name_misfits(partner, sealed)
    _name_accused(sealed, meter)
    return Unsealed(sealed.seal, opened, fingerprints)


def _name_accused(sealed: SealedSum, meter: Meter) -> None:
    for name, why in sealed.accused.items():
        told = f"{name}: {why}"
        if told not in meter.alarms:
            meter.alarm(told)


def _fingerprints(
    partner: Partner, sealed: SealedSum, document: RoundDocument, of_sum: FingerprintValue
) -> dict[str, FingerprintValue]:
    give_up = partner.outside.clock.now() + FINGERPRINT_PATIENCE
    while True:
        known = dict(sealed.signed_fingerprints)
        if len(known) < len(sealed.manifests) and len(document.confirmations) > partner.charter.colluders:
            confirmations = verified_confirmations(partner, sealed.plan)
            known = {**confirmed_fingerprints(sealed, confirmations, partner.charter.colluders), **known}
        left = give_up - partner.outside.clock.now()
        if len(known) == len(sealed.manifests) or left <= 0 or document.state is not RoundState.OPENING:
            return check_fingerprints(partner, sealed, of_sum, known)
        document = partner.wait_round(sealed.round_digest, document.version, max(1, int(left)))
        take_openings(partner, sealed)


def _patience(partner: Partner, sealed: SealedSum) -> int:
    """Seconds to wait for news: until the deadline, after which there is a vote to cast, if that is near."""
    left = sealed.plan.deadlines.open + 1 - partner.now()
    return min(LONG_POLL_SECONDS, left) if left > 0 else LONG_POLL_SECONDS


def _all_seen(partner: Partner, sealed: SealedSum) -> bool:
    everyone = set(sealed.opening_digests) >= set(sealed.cohort.partners)
    return everyone or partner.now() > sealed.plan.deadlines.open
