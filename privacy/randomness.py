"""The one door to entropy.

Rules:
1. Whoever needs randomness takes a `RandomSource`; only `SystemRandom` touches the operating system.
2. Keys, noise, samples and share polynomials come from a *hedged* seed (protocol 5.1): the operating system's
   entropy, a device secret and the context (round, cohort, message) go through HKDF together. A frozen or
   repeated entropy source then still gives different seeds for different contexts.
3. A `Keystream` is AES-256-CTR under such a seed, counter from 0: the same seed gives the same words on any
   machine and in any language.
Exempt: HPKE and ML-DSA draw from OpenSSL's generator.
"""

from __future__ import annotations

import os
from typing import Protocol

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from numpy.typing import NDArray

SEED_BYTES = 32


class RandomSource(Protocol):
    def bytes(self, count: int) -> bytes:
        """`count` fresh, unpredictable bytes."""
        ...


class SystemRandom:
    """The operating system's generator."""

    def bytes(self, count: int) -> bytes:
        return os.urandom(count)  # noqa: TID251 - this is the door


def hedged_seed(source: RandomSource, device_secret: bytes, purpose: str, *context: bytes) -> bytes:
    """A 32-byte seed: HKDF-SHA256 (RFC 5869) of fresh entropy and the device secret, bound to purpose and context.

    Each context part is length-prefixed, so no two lists of parts collide.
    """
    info = b"chorale/1 seed " + purpose.encode("ascii")
    for part in context:
        info += len(part).to_bytes(8, "little") + part
    fresh = source.bytes(SEED_BYTES)
    return HKDF(algorithm=SHA256(), length=SEED_BYTES, salt=device_secret, info=info).derive(fresh)


class Keystream:
    """AES-256-CTR under a 32-byte key, counter from 0, read as bytes or little-endian words.

    Reading n bytes then m bytes gives the same as reading n + m bytes.
    """

    def __init__(self, key: bytes) -> None:
        if len(key) != SEED_BYTES:
            raise ValueError(f"a keystream key has {SEED_BYTES} bytes, not {len(key)}")
        self._encryptor = Cipher(algorithms.AES(key), modes.CTR(bytes(16))).encryptor()

    def bytes(self, count: int) -> bytes:
        return self._encryptor.update(bytes(count))

    def words(self, count: int) -> NDArray[np.uint64]:
        """`count` uniform 64-bit words."""
        return np.frombuffer(self.bytes(8 * count), dtype="<u8").astype(np.uint64, copy=False)

    def __repr__(self) -> str:
        return "Keystream(<key withheld>)"
