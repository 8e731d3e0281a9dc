"""HPKE boxes: shares on their way to a receiver, and summed shares on their way to the roster (protocol 4).

Rules:
1. One suite: MLKEM768_X25519, HKDF-SHA256, AES-256-GCM (RFC 9180 in base mode), so contents are post-quantum.
2. A box is bound to its place by `info`, a SHA-256 over a domain label and length-prefixed parts. Base mode does
   not say who sealed a box: the signed manifest or opening does, by the box's digest.
3. A public key counts only after a test encapsulation: to an X25519 point of small order nothing can be sealed.
4. All share boxes have one width, `SHARE_BOX_BYTES`.
HPKE draws from OpenSSL's generator, so boxes are not reproducible; vectors are for opening only.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Final, Self

import numpy as np
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import (
    AEAD,
    KDF,
    KEM,
    MLKEM768X25519PrivateKey,
    MLKEM768X25519PublicKey,
    Suite,
)
from numpy.typing import NDArray

from privacy.errors import BoxRefused, KeyRefused
from privacy.he.parameters import DEFAULT

MLKEM_SEED_BYTES: Final = 64
MLKEM_PUBLIC_BYTES: Final = 1184
X25519_BYTES: Final = 32
PRIVATE_BYTES: Final = MLKEM_SEED_BYTES + X25519_BYTES
PUBLIC_BYTES: Final = MLKEM_PUBLIC_BYTES + X25519_BYTES

ENCAPSULATION_BYTES: Final = 1088 + X25519_BYTES
TAG_BYTES: Final = 16
BOX_OVERHEAD: Final = ENCAPSULATION_BYTES + TAG_BYTES
SHARES_BYTES: Final = 4 * DEFAULT.degree
SHARE_BOX_BYTES: Final = SHARES_BYTES + BOX_OVERHEAD

_SUITE: Final = Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)


class BoxKey:
    """A private key to which boxes are sealed: a partner's for one attempt, or its result key."""

    def __init__(self, mlkem: MLKEM768PrivateKey, x25519: X25519PrivateKey) -> None:
        self._parts: tuple[MLKEM768PrivateKey, X25519PrivateKey] | None = (mlkem, x25519)

    @classmethod
    def generate(cls) -> Self:
        """A fresh key from OpenSSL's generator."""
        return cls(MLKEM768PrivateKey.generate(), X25519PrivateKey.generate())

    @classmethod
    def from_private_bytes(cls, encoded: bytes) -> Self:
        """The key behind 64 bytes of ML-KEM seed and 32 of X25519. Raises KeyRefused for another length."""
        if len(encoded) != PRIVATE_BYTES:
            raise KeyRefused(f"a private key of {PRIVATE_BYTES} bytes", str(len(encoded)), "restore the key file")
        return cls(
            MLKEM768PrivateKey.from_seed_bytes(encoded[:MLKEM_SEED_BYTES]),
            X25519PrivateKey.from_private_bytes(encoded[MLKEM_SEED_BYTES:]),
        )

    def _held(self) -> tuple[MLKEM768PrivateKey, X25519PrivateKey]:
        if self._parts is None:
            raise KeyRefused("a key that is held", "a key that was wiped", "an attempt's key opens one seal only")
        return self._parts

    @property
    def private_bytes(self) -> bytes:
        """64 bytes of ML-KEM seed, 32 of X25519."""
        mlkem, x25519 = self._held()
        return mlkem.private_bytes_raw() + x25519.private_bytes_raw()

    @property
    def public_bytes(self) -> bytes:
        """1,184 bytes of ML-KEM-768, 32 of X25519."""
        mlkem, x25519 = self._held()
        return mlkem.public_key().public_bytes_raw() + x25519.public_key().public_bytes_raw()

    def wipe(self) -> None:
        """Lets go of the key; OpenSSL clears its memory when the last holder is gone. Best effort: bytes handed out
        by `private_bytes` are the caller's."""
        self._parts = None

    def decrypt(self, box: bytes, info: bytes) -> bytes:
        mlkem, x25519 = self._held()
        return _SUITE.decrypt(box, MLKEM768X25519PrivateKey(mlkem, x25519), info)

    def __repr__(self) -> str:
        return "BoxKey(<withheld>)"


def _public_key(public_bytes: bytes) -> MLKEM768X25519PublicKey:
    if len(public_bytes) != PUBLIC_BYTES:
        raise KeyRefused(f"a public key of {PUBLIC_BYTES} bytes", str(len(public_bytes)), "send the key as made")
    try:
        return MLKEM768X25519PublicKey(
            MLKEM768PublicKey.from_public_bytes(public_bytes[:MLKEM_PUBLIC_BYTES]),
            X25519PublicKey.from_public_bytes(public_bytes[MLKEM_PUBLIC_BYTES:]),
        )
    except ValueError as refused:
        raise KeyRefused("an ML-KEM-768 and an X25519 public key", str(refused), "make a fresh key") from refused


def seal_box(public_bytes: bytes, info: bytes, plaintext: bytes) -> bytes:
    """A box of len(plaintext) + 1,136 bytes. Raises KeyRefused if nothing can be sealed to this key."""
    try:
        return _SUITE.encrypt(plaintext, _public_key(public_bytes), info)
    except ValueError as refused:
        raise KeyRefused("a key that boxes can be sealed to", str(refused), "make a fresh key") from refused


def check_public_key(public_bytes: bytes) -> None:
    """Raises KeyRefused unless a test encapsulation to the key succeeds (protocol 4, step 1)."""
    seal_box(public_bytes, b"chorale/1 test encapsulation", b"")


def open_box(key: BoxKey, info: bytes, box: bytes) -> bytes:
    """The box's plaintext. Raises BoxRefused unless the box was sealed to this key under this info."""
    try:
        return key.decrypt(box, info)
    except (InvalidTag, ValueError) as refused:
        raise BoxRefused(
            "a box sealed to this key for this place",
            f"{len(box)} bytes that do not open",
            "name the partner that signed for it",
        ) from refused


def _info(label: bytes, *parts: bytes) -> bytes:
    digest = sha256(label)
    for part in parts:
        digest.update(len(part).to_bytes(8, "little") + part)
    return digest.digest()


def share_box_info(
    round_digest: bytes, cohort_digest: bytes, dealer_id: str, receiver_id: str, shards_root: bytes
) -> bytes:
    """32 bytes that bind a share box to R, J, i, j and the root of the dealer's shards (protocol 4, step 2)."""
    return _info(
        b"chorale/1 share box",
        round_digest,
        cohort_digest,
        dealer_id.encode(),
        receiver_id.encode(),
        shards_root,
    )


def result_box_info(
    round_digest: bytes, cohort_digest: bytes, contributors_digest: bytes, opener_id: str, receiver_id: str
) -> bytes:
    """32 bytes that bind a result box to R, J, the digest of U, opener and receiver (protocol 4, step 4)."""
    return _info(
        b"chorale/1 result box",
        round_digest,
        cohort_digest,
        contributors_digest,
        opener_id.encode(),
        receiver_id.encode(),
    )


def encode_shares(shares: NDArray[np.uint32]) -> bytes:
    """uint32[4096] below p -> 16,384 little-endian bytes."""
    if (
        shares.shape != (DEFAULT.degree,)
        or shares.dtype != np.uint32
        or bool((shares >= DEFAULT.share_prime).any())
    ):
        raise BoxRefused(
            f"uint32[{DEFAULT.degree}] below {DEFAULT.share_prime}",
            f"{shares.dtype} of {shares.shape}, or a larger value",
            "encode shares as dealt or added",
        )
    return shares.astype("<u4").tobytes()


def decode_shares(encoded: bytes) -> NDArray[np.uint32]:
    """16,384 bytes -> uint32[4096]. Raises BoxRefused for another length or a value >= p."""
    if len(encoded) != SHARES_BYTES:
        raise BoxRefused(
            f"{SHARES_BYTES} bytes of shares", str(len(encoded)), "name the partner that signed for it"
        )
    shares = np.frombuffer(encoded, dtype="<u4").astype(np.uint32)
    if int(shares.max()) >= DEFAULT.share_prime:
        raise BoxRefused(
            f"shares below {DEFAULT.share_prime}",
            str(int(shares.max())),
            "name the partner that signed for it",
        )
    return shares
