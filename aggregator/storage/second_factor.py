"""The second factor: codes of an authenticator (TOTP, RFC 6238), and recovery codes for when it is lost.

Rules:
1. A code is one of the step now, the one before or the one after, and of a later step than the last that was taken:
   none is taken twice (RFC 6238, 5.2). Codes are compared in constant time.
2. The secret is kept under a key made of the service's online key, bound to the account: a copy of the database
   alone gives no codes.
3. Recovery codes have 80 bits each, are kept as digests, and are taken once.
Whoever calls writes down the step that was taken, in the transaction that opens the session.
"""

from __future__ import annotations

import base64
import hmac
import unicodedata

import pyotp
import segno
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from privacy.errors import ConfigurationError
from privacy.protocol.signing import SigningKey
from privacy.randomness import RandomSource

STEP_SECONDS = 30
DIGITS = 6
SECRET_BYTES = 20
RECOVERY_CODES = 10
RECOVERY_BYTES = 10
RECOVERY_LENGTH = 16
_NONCE_BYTES = 12


def new_secret(source: RandomSource) -> str:
    """160 bits in base32 (RFC 4226, section 4, R6)."""
    return base64.b32encode(source.bytes(SECRET_BYTES)).decode("ascii")


def enrolment_uri(secret: str, name: str, issuer: str) -> str:
    """The otpauth address that an authenticator reads."""
    return pyotp.TOTP(secret, digits=DIGITS, interval=STEP_SECONDS).provisioning_uri(name=name, issuer_name=issuer)


def squares(text: str) -> tuple[int, str]:
    """A QR code: modules a side with its quiet zone, and the path of its dark modules, one unit each."""
    rows = tuple(segno.make_qr(text, error="m").matrix_iter(border=4))
    path = "".join(f"M{x} {y}h1v1h-1z" for y, row in enumerate(rows) for x, dark in enumerate(row) if dark)
    return len(rows), path


def step_of(secret: str, code: str, now: float, last_step: int) -> int | None:
    """The step that this is the code of (rule 1); None if it is none, or was taken before."""
    totp = pyotp.TOTP(secret, digits=DIGITS, interval=STEP_SECONDS)
    present = int(now) // STEP_SECONDS
    found = None
    for step in (present - 1, present, present + 1):
        same = hmac.compare_digest(totp.generate_otp(step).encode(), code.encode())
        if same and step > last_step:
            found = step
    return found


def plain(code: str) -> str:
    """A code as it is compared: people type spaces, hyphens, small letters and full-width digits."""
    return "".join(unicodedata.normalize("NFKC", code).split()).replace("-", "").upper()


def new_recovery_codes(source: RandomSource) -> tuple[str, ...]:
    """To be shown once."""
    return tuple(
        base64.b32encode(source.bytes(RECOVERY_BYTES)).decode("ascii").lower() for _ in range(RECOVERY_CODES)
    )


def grouped(text: str) -> str:
    """In groups of four, for whoever has to type it."""
    return " ".join(text[at : at + 4] for at in range(0, len(text), 4))


def seal_secret(key: SigningKey, account: str, secret: str, source: RandomSource) -> bytes:
    """Rule 2: AES-256-GCM with the account's name bound in."""
    nonce = source.bytes(_NONCE_BYTES)
    return nonce + AESGCM(_key(key)).encrypt(nonce, secret.encode(), account.encode())


def open_secret(key: SigningKey, account: str, sealed: bytes) -> str:
    """Raises ConfigurationError where it was sealed under another key, or for another account."""
    try:
        return AESGCM(_key(key)).decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], account.encode()).decode()
    except InvalidTag:
        raise ConfigurationError(
            f"a second factor of {account} kept under this service's key",
            "one kept under another",
            f"chorale-server account reset {account}",
        ) from None


def _key(key: SigningKey) -> bytes:
    return HKDF(SHA256(), 32, salt=None, info=b"chorale/1 second factors").derive(key.private_bytes())
