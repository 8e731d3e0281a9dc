"""Ed25519 and ML-DSA-65 together: a message counts only if both signatures verify (protocol 4).

Rules:
1. What is signed is "chorale/1 signed" || 0x00 || canonical body; the body carries its type and the charter's
   hash, so a signature for one message, round or consortium is none for another.
2. `verify` raises; it never returns a flag. Signers other than those asked for are refused, not ignored.
3. A `Verifier` verifies the same message under the same key once in a process.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PrivateKey, MLDSA65PublicKey

from privacy.errors import BadSignature
from privacy.protocol.canonical import digest
from privacy.protocol.messages import BodyT, SignaturePair, Signed, SigningKeys, signed_model
from privacy.randomness import RandomSource

_DOMAIN = b"chorale/1 signed\x00"
SEED_BYTES = 64


class SigningKey:
    """The private pair, made from 64 bytes of seed: 32 for Ed25519, 32 for ML-DSA-65."""

    def __init__(self, seed: bytes) -> None:
        if len(seed) != SEED_BYTES:
            raise ValueError(f"a signing seed has {SEED_BYTES} bytes, not {len(seed)}")
        self._seed = seed
        self._ed25519 = Ed25519PrivateKey.from_private_bytes(seed[:32])
        self._ml_dsa = MLDSA65PrivateKey.from_seed_bytes(seed[32:])
        self.public = SigningKeys(
            ed25519=self._ed25519.public_key().public_bytes_raw().hex(),
            ml_dsa_65=self._ml_dsa.public_key().public_bytes_raw().hex(),
        )

    @classmethod
    def generate(cls, source: RandomSource) -> SigningKey:
        return cls(source.bytes(SEED_BYTES))

    def private_bytes(self) -> bytes:
        return self._seed

    def sign_request(self, text: bytes) -> str:
        """Ed25519 alone, for the HTTP request around a message; hex."""
        return self._ed25519.sign(text).hex()

    def sign_bytes(self, data: bytes) -> SignaturePair:
        return SignaturePair(ed25519=self._ed25519.sign(data).hex(), ml_dsa_65=self._ml_dsa.sign(data).hex())

    def __repr__(self) -> str:
        return f"SigningKey(<withheld>, public ed25519 {self.public.ed25519[:16]}...)"


def sign(body: BodyT, signer: str, key: SigningKey) -> Signed[BodyT]:
    pair = key.sign_bytes(_DOMAIN + body.canonical_bytes)
    return signed_model(type(body))(body=body, signatures={signer: pair})


def countersign(signed: Signed[BodyT], signer: str, key: SigningKey) -> Signed[BodyT]:
    """The same body with one more signature."""
    pair = key.sign_bytes(_DOMAIN + signed.body.canonical_bytes)
    return type(signed)(body=signed.body, signatures={**signed.signatures, signer: pair})


def verify(signed: Signed[BodyT], keys: Mapping[str, SigningKeys]) -> BodyT:
    """The body, if it is signed by exactly the signers in `keys`, each with both algorithms."""
    if set(signed.signatures) != set(keys):
        raise BadSignature(
            f"a {signed.body.type} signed by {' and '.join(sorted(keys))}",
            f"signatures by {', '.join(sorted(signed.signatures))}",
            "have it signed by those whose word it is",
        )
    data = _DOMAIN + signed.body.canonical_bytes
    for signer, public in keys.items():
        _verify_pair(data, signed.signatures[signer], public, f"{signed.body.type} by {signer}")
    return signed.body


def verify_request(text: bytes, signature_hex: str, public: SigningKeys) -> None:
    try:
        signature = bytes.fromhex(signature_hex)
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(public.ed25519)).verify(signature, text)
    except (InvalidSignature, ValueError):
        raise BadSignature(
            "an Ed25519 signature of this request by the identity it names",
            "one that does not verify",
            "sign method, target, timestamp, nonce and body digest with the enrolled key",
        ) from None


def _verify_pair(data: bytes, pair: SignaturePair, public: SigningKeys, what: str) -> None:
    for algorithm in ("ed25519", "ml_dsa_65"):
        try:
            if algorithm == "ed25519":
                Ed25519PublicKey.from_public_bytes(bytes.fromhex(public.ed25519)).verify(
                    bytes.fromhex(pair.ed25519), data
                )
            else:
                MLDSA65PublicKey.from_public_bytes(bytes.fromhex(public.ml_dsa_65)).verify(
                    bytes.fromhex(pair.ml_dsa_65), data
                )
        except (InvalidSignature, ValueError):
            raise BadSignature(
                f"a {what} whose Ed25519 and ML-DSA-65 signatures both verify",
                f"one whose {algorithm} signature does not",
                "check which key signed it and that nothing changed on the way",
            ) from None


class Verifier:
    """`verify`, remembering what has verified; bounded, and safe to share between threads under the GIL."""

    def __init__(self, capacity: int = 4096) -> None:
        self._seen: OrderedDict[str, None] = OrderedDict()
        self._capacity = capacity

    def verify(self, signed: Signed[BodyT], keys: Mapping[str, SigningKeys]) -> BodyT:
        names = "".join(f"{signer}:{key.ed25519}:{key.ml_dsa_65};" for signer, key in sorted(keys.items()))
        known = digest(signed.canonical_bytes + names.encode("ascii"))
        if known not in self._seen:
            verify(signed, keys)
            self._seen[known] = None
            if len(self._seen) > self._capacity:
                self._seen.popitem(last=False)
        return signed.body
