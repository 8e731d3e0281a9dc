"""The ring: products with the public polynomials, computed by SEAL. The only import of tenseal.

What SEAL needs to be told (version 4.3 of its containers, protocol 5.1):
1. Objects enter and leave by path alone; a memory file's `/proc/self/fd/N` is the path. Nothing reaches a disk.
2. They enter uncompressed, straight from the arrays, and leave zstd-compressed.
3. The polynomials of a ciphertext are multiplied together: up to 16 at once, at least 2.
4. SEAL refuses a result whose polynomials 1.. are all zero ("transparent"). A batch of one therefore goes in as
   [0, a]; the product with a key of zeros is known and never computed.
A Ring is for one thread of one process: its memory files are shared by its calls. Not constant time.
"""

from __future__ import annotations

import os
import struct
import weakref
from functools import cache
from hashlib import sha256
from typing import Any, Final

import numpy as np
import tenseal.sealapi as seal
import zstandard
from numpy.typing import NDArray

from privacy.errors import MalformedMessage, OutOfRange
from privacy.he.parameters import DEFAULT
from privacy.he.uniform import UniformWords
from privacy.randomness import Keystream

BATCH: Final = 16
DEGREE: Final = DEFAULT.degree
DIGEST_BYTES: Final = 32

_HEADER: Final = struct.Struct("<HBBBBHQ")
_MAGIC, _VERSION_MAJOR, _VERSION_MINOR = 0xA15E, 4, 3
_UNCOMPRESSED, _ZSTD = 0, 2
_PLAINTEXT: Final = struct.Struct("<4QQd")
_CIPHERTEXT: Final = struct.Struct("<4QBQQQdQ")
_COUNT: Final = struct.Struct("<Q")


@cache
def seal_context() -> Any:
    """SEAL's context for `DEFAULT`, checked by SEAL to offer 128 bits against classical attacks."""
    parameters = seal.EncryptionParameters(seal.SCHEME_TYPE.BFV)
    parameters.set_poly_modulus_degree(DEGREE)
    parameters.set_coeff_modulus([seal.Modulus(DEFAULT.modulus)])
    parameters.set_plain_modulus(2**DEFAULT.plain_bits)
    context = seal.SEALContext(parameters, True, seal.SEC_LEVEL_TYPE.TC128)
    assert context.parameters_set(), context.parameters_error_message()
    return context


class MemoryFile:
    """A file in memory under a path that SEAL can open."""

    def __init__(self) -> None:
        self._descriptor = os.memfd_create("chorale-ring", os.MFD_CLOEXEC)
        self.path = f"/proc/self/fd/{self._descriptor}"
        weakref.finalize(self, os.close, self._descriptor)

    def write(self, *parts: Any) -> None:
        """Replaces the content by the buffers given."""
        sizes = [memoryview(part).nbytes for part in parts]
        os.ftruncate(self._descriptor, sum(sizes))
        written = os.pwritev(self._descriptor, parts, 0)
        assert written == sum(sizes), "a memory file takes a whole write or none"

    def read(self) -> bytes:
        return os.pread(self._descriptor, os.fstat(self._descriptor).st_size, 0)

    def wipe(self) -> None:
        """Overwrites the content with zeros, then drops it."""
        self.write(bytes(os.fstat(self._descriptor).st_size))
        os.ftruncate(self._descriptor, 0)


def _header(body_bytes: int) -> bytes:
    return _HEADER.pack(
        _MAGIC, _HEADER.size, _VERSION_MAJOR, _VERSION_MINOR, _UNCOMPRESSED, 0, _HEADER.size + body_bytes
    )


def _container(fields: bytes, words: int) -> bytes:
    """All that stands before the words of a container: its header, its fields, and its array's header."""
    array_bytes = _COUNT.size + 8 * words
    array = _header(array_bytes) + _COUNT.pack(words)
    return _header(len(fields) + _HEADER.size + array_bytes) + fields + array


def plaintext_container(coefficients: int) -> bytes:
    """What stands before the words of a Plaintext in coefficient form."""
    return _container(_PLAINTEXT.pack(0, 0, 0, 0, coefficients, 1.0), coefficients)


def secret_key_container() -> bytes:
    """What stands before the words of a SecretKey: a Plaintext in NTT form."""
    return _container(_PLAINTEXT.pack(*seal_context().first_parms_id(), DEGREE, 1.0), DEGREE)


def ciphertext_container(polynomials: int, *, ntt: bool) -> bytes:
    """What stands before the words of a Ciphertext of `polynomials` polynomials."""
    fields = _CIPHERTEXT.pack(*seal_context().first_parms_id(), ntt, polynomials, DEGREE, 1, 1.0, 1)
    return _container(fields, polynomials * DEGREE)


def ciphertext_words(container: bytes) -> NDArray[np.uint64]:
    """The words of a saved Ciphertext, uint64[polynomials * 4096] (read-only, unaligned).

    Raises MalformedMessage for anything but SEAL 4.3's form.
    """
    expected = f"a SEAL {_VERSION_MAJOR}.{_VERSION_MINOR} ciphertext container"
    remedy = "install the tenseal that constraints.txt pins"
    start = _CIPHERTEXT.size + _HEADER.size + _COUNT.size
    if len(container) < _HEADER.size:
        raise MalformedMessage(expected, f"{len(container)} bytes", remedy)
    magic, size, major, minor, compression, _, total = _HEADER.unpack_from(container)
    if (magic, size, major, minor) != (_MAGIC, _HEADER.size, _VERSION_MAJOR, _VERSION_MINOR):
        raise MalformedMessage(expected, f"magic {magic:#x}, version {major}.{minor}", remedy)
    if total != len(container) or compression not in (_UNCOMPRESSED, _ZSTD):
        raise MalformedMessage(expected, f"{len(container)} bytes, compression {compression}", remedy)
    body = container[_HEADER.size :]
    if compression == _ZSTD:
        body = _unpacked(body, start + BATCH * DEGREE * 8)
    if len(body) < start:
        raise MalformedMessage(expected, f"a body of {len(body)} bytes", remedy)
    (count,) = _COUNT.unpack_from(body, start - _COUNT.size)
    if len(body) != start + 8 * count:
        raise MalformedMessage(expected, f"{len(body)} bytes for {count} words", remedy)
    return np.frombuffer(body, dtype="<u8", offset=start)


def _unpacked(body: bytes, limit: int) -> bytes:
    """At most `limit` bytes. A frame that names its size is given as much, so that is asked first."""
    try:
        if zstandard.frame_content_size(body) > limit:
            raise zstandard.ZstdError(f"a frame of more than {limit} bytes")
        return zstandard.ZstdDecompressor().decompress(body, max_output_size=limit)
    except zstandard.ZstdError as error:
        raise MalformedMessage("SEAL's zstd", str(error), "install the tenseal that constraints.txt pins") from None


class RingKey:
    """A small polynomial in SEAL's NTT form, ready for products. `wipe()` when done: best effort, SEAL's pool
    may keep copies until it reuses the memory."""

    def __init__(self, key: NDArray[np.int64]) -> None:
        if key.shape != (DEGREE,):
            raise OutOfRange(f"a key of {DEGREE} coefficients", f"shape {key.shape}", "pass one polynomial")
        limit = 2 ** (DEFAULT.plain_bits - 2)
        if int(key.max()) >= limit or int(key.min()) <= -limit:
            raise OutOfRange(f"a key below {limit}", "a larger coefficient", "pass a small polynomial")
        self.is_zero = not key.any()
        # A negative coefficient enters as its residue mod the plain modulus; SEAL lifts the upper half back.
        residues = (key & np.int64(2**DEFAULT.plain_bits - 1)).astype("<u8")
        file = MemoryFile()
        file.write(plaintext_container(DEGREE), residues)
        self.plaintext = seal.Plaintext()
        self.plaintext.load(seal_context(), file.path)
        file.wipe()
        residues[:] = 0
        if not self.is_zero:
            seal.Evaluator(seal_context()).transform_to_ntt_inplace(self.plaintext, seal_context().first_parms_id())

    def wipe(self) -> None:
        self.plaintext.set_zero()
        self.plaintext.release()
        self.is_zero = True

    def __repr__(self) -> str:
        return "RingKey(<withheld>)"


class Ring:
    """The public polynomials a_k of one round's cohort, and products with them (protocol 5.1)."""

    def __init__(self, round_digest: bytes, cohort_digest: bytes) -> None:
        if len(round_digest) != DIGEST_BYTES or len(cohort_digest) != DIGEST_BYTES:
            raise MalformedMessage(
                "digests of 32 bytes for round and cohort",
                f"{len(round_digest)} and {len(cohort_digest)}",
                "pass SHA-256 digests",
            )
        self._prefix = b"chorale/1 a" + round_digest + cohort_digest
        self._context = seal_context()
        self._evaluator = seal.Evaluator(self._context)
        self._into = MemoryFile()
        self._out_of = MemoryFile()
        self._operand = seal.Ciphertext()
        self._product = seal.Ciphertext()
        self._result = seal.Ciphertext()

    def public_polynomials(self, first: int, count: int) -> NDArray[np.uint64]:
        """a_k for k = first .. first + count - 1 in NTT form, uint64[count, 4096], uniform mod q."""
        out = np.empty((count, DEGREE), dtype=np.uint64)
        for row in range(count):
            label = self._prefix + (first + row).to_bytes(8, "little")
            UniformWords(Keystream(sha256(label).digest())).fill(out[row])
        return out

    def products(self, key: RingKey, first: int, count: int) -> NDArray[np.uint64]:
        """a_k * key for k = first .. first + count - 1 in coefficient form, uint64[count, 4096], words below q."""
        out = np.zeros((count, DEGREE), dtype=np.uint64)
        if key.is_zero:
            return out
        for start in range(0, count, BATCH):
            rows = out[start : start + BATCH]
            self._multiply(key, self.public_polynomials(first + start, len(rows)), rows)
        return out

    def _multiply(self, key: RingKey, operand: NDArray[np.uint64], out: NDArray[np.uint64]) -> None:
        size = len(operand)
        if size == 1:  # rule 4
            operand = np.concatenate([np.zeros_like(operand), operand])
        self._into.write(ciphertext_container(len(operand), ntt=True), operand)
        self._operand.load(self._context, self._into.path)
        self._evaluator.multiply_plain(self._operand, key.plaintext, self._product)
        self._evaluator.transform_from_ntt(self._product, self._result)
        self._result.save(self._out_of.path)
        words = ciphertext_words(self._out_of.read()).reshape(-1, DEGREE)
        out[:] = words[-size:]
