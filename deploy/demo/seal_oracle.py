"""SEAL itself as the judge: its own Decryptor, fed with our words. An oracle beside the product, not part of it.

The product holds no SEAL object for a ciphertext or a key; the checks of it make some, through SEAL's own loaders.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import tenseal.sealapi as seal
import zstandard
from numpy.typing import NDArray

from privacy.he.parameters import DEFAULT
from privacy.he.ring import (
    MemoryFile,
    Ring,
    ciphertext_container,
    ciphertext_words,
    plaintext_container,
    seal_context,
    secret_key_container,
)

DEGREE: Final = DEFAULT.degree


def ciphertext(polynomials: NDArray[np.uint64], *, ntt: bool) -> seal.Ciphertext:
    file = MemoryFile()
    file.write(ciphertext_container(len(polynomials), ntt=ntt), np.ascontiguousarray(polynomials))
    loaded = seal.Ciphertext()
    loaded.load(seal_context(), file.path)
    return loaded


def words(held: seal.Ciphertext) -> NDArray[np.uint64]:
    file = MemoryFile()
    held.save(file.path)
    return ciphertext_words(file.read()).reshape(-1, DEGREE).astype(np.uint64)


def plaintext_words(held: seal.Plaintext) -> NDArray[np.uint64]:
    file = MemoryFile()
    held.save(file.path)
    raw = file.read()
    body = zstandard.ZstdDecompressor().decompress(raw[16:], max_output_size=2 * 8 * DEGREE) if raw[5] else raw[16:]
    return np.frombuffer(body, dtype="<u8", offset=48 + 16 + 8).astype(np.uint64)


def coefficient_form(ntt: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Polynomials uint64[count, 4096] from NTT form to coefficient form, by SEAL."""
    pair = np.concatenate([ntt, ntt]) if len(ntt) == 1 else ntt
    held = ciphertext(pair, ntt=True)
    seal.Evaluator(seal_context()).transform_from_ntt_inplace(held)
    return words(held)[: len(ntt)]


def secret_key(key: NDArray[np.int64]) -> seal.SecretKey:
    """A summed key, int64[4096], as SEAL's SecretKey."""
    plain = seal.Plaintext()
    file = MemoryFile()
    file.write(plaintext_container(DEGREE), np.mod(key, 2**DEFAULT.plain_bits).astype("<u8"))
    plain.load(seal_context(), file.path)
    seal.Evaluator(seal_context()).transform_to_ntt_inplace(plain, seal_context().first_parms_id())
    file.write(secret_key_container(), plaintext_words(plain))
    held = seal.SecretKey()
    held.load(seal_context(), file.path)
    return held


def decrypt(ring: Ring, first: int, summed: NDArray[np.uint64], key: NDArray[np.int64]) -> NDArray[np.uint64]:
    """SEAL's Decryptor on each (b_k, a_k): the messages, uint64[count, 4096]."""
    decryptor = seal.Decryptor(seal_context(), secret_key(key))
    public = coefficient_form(ring.public_polynomials(first, len(summed)))
    out = np.zeros((len(summed), DEGREE), dtype=np.uint64)
    for row in range(len(summed)):
        plain = seal.Plaintext()
        decryptor.decrypt(ciphertext(np.stack([summed[row], public[row]]), ntt=False), plain)
        found = plaintext_words(plain)
        out[row, : found.size] = found
    return out
