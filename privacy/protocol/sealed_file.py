"""A secret in a file under a passphrase: scrypt, then AES-256-GCM (protocol 5.3).

Rules:
1. The file is one line of canonical JSON (the header), a newline, and the ciphertext with its tag.
2. The header names its version, the scrypt parameters, salt and nonce; it is the cipher's associated data, so
   that nothing in it can be changed unnoticed.
3. Whoever reads trusts no parameter: outside the bounds below nothing is derived, for a forged header could ask
   for any amount of memory, or for a derivation so weak that a watcher of its timing learns from it.
4. A file that does not open gives KeystoreLocked. A wrong passphrase and a changed file cannot be told apart.
It reads and writes no files and asks nobody for a passphrase: bytes in, bytes out.
"""

from __future__ import annotations

import unicodedata
from typing import Annotated, Literal

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from pydantic import Field, ValidationError

from privacy.errors import ConfigurationError, KeystoreLocked, MalformedMessage
from privacy.protocol.canonical import canonical, parse
from privacy.protocol.identifiers import Model
from privacy.randomness import RandomSource

MAX_HEADER_BYTES = 512
MAX_SEALED_BYTES = 1 << 20
# 128 n r bytes of memory: 32 MiB as written; at most 256 MiB when reading.
WRITTEN_LOG2_N = 15
MAX_LOG2_N = 18
_SALT_BYTES = 16
_NONCE_BYTES = 12
_TAG_BYTES = 16
_KEY_BYTES = 32


class _Header(Model):
    type: Literal["chorale/1 sealed-file"] = "chorale/1 sealed-file"
    kdf: Literal["scrypt"] = "scrypt"
    cipher: Literal["AES-256-GCM"] = "AES-256-GCM"
    log2_n: Annotated[int, Field(ge=WRITTEN_LOG2_N, le=MAX_LOG2_N)]
    r: Annotated[int, Field(ge=8, le=8)]
    p: Annotated[int, Field(ge=1, le=4)]
    salt: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
    nonce: Annotated[str, Field(pattern=r"^[0-9a-f]{24}$")]


def seal_secret(plaintext: bytes, passphrase: str, source: RandomSource) -> bytes:
    """The file's bytes. Raises ConfigurationError for an empty passphrase or a secret beyond MAX_SEALED_BYTES."""
    if not passphrase:
        raise ConfigurationError("a passphrase", "an empty one", "choose one of several words")
    room = MAX_SEALED_BYTES - MAX_HEADER_BYTES - 1 - _TAG_BYTES
    if len(plaintext) > room:
        raise ConfigurationError(f"a secret of at most {room} bytes", str(len(plaintext)), "seal keys, not data")
    header = _Header(
        log2_n=WRITTEN_LOG2_N,
        r=8,
        p=1,
        salt=source.bytes(_SALT_BYTES).hex(),
        nonce=source.bytes(_NONCE_BYTES).hex(),
    )
    line = canonical(header.model_dump(mode="json"))
    sealed = AESGCM(_derive(header, passphrase)).encrypt(bytes.fromhex(header.nonce), plaintext, line)
    return line + b"\n" + sealed


def open_secret(raw: bytes, passphrase: str) -> bytes:
    """The secret. Raises KeystoreLocked for whatever does not open."""
    if len(raw) > MAX_SEALED_BYTES:
        raise _locked(f"a sealed file of at most {MAX_SEALED_BYTES} bytes", f"{len(raw)} bytes")
    line, newline, sealed = raw.partition(b"\n")
    if not newline or len(line) > MAX_HEADER_BYTES or len(sealed) < _TAG_BYTES:
        raise _locked("a header line and a ciphertext behind it", "a file cut short, or of another kind")
    try:
        header = _Header.model_validate(parse(line, MAX_HEADER_BYTES))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise _locked("a header within this version's bounds", f"{where}: {first['msg']}") from None
    except MalformedMessage as error:
        raise _locked("a header in canonical JSON", error.came) from None
    try:
        return AESGCM(_derive(header, passphrase)).decrypt(bytes.fromhex(header.nonce), sealed, line)
    except InvalidTag:
        raise KeystoreLocked(
            "the passphrase with which the file was sealed, and the file as it was written",
            "another passphrase, or a changed file",
            "try again (CHORALE_PASSPHRASE_FILE names a file that holds it), or restore the file from its backup",
        ) from None


def _derive(header: _Header, passphrase: str) -> bytes:
    kdf = Scrypt(salt=bytes.fromhex(header.salt), length=_KEY_BYTES, n=1 << header.log2_n, r=header.r, p=header.p)
    # One form for a passphrase typed on any keyboard: composed and decomposed Hangul are the same words.
    return kdf.derive(unicodedata.normalize("NFC", passphrase).encode("utf-8"))


def _locked(expected: str, came: str) -> KeystoreLocked:
    return KeystoreLocked(expected, came, "restore the file from its backup: this one was not written whole")
