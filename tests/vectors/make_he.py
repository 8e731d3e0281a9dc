"""Vectors of the envelope: streams, samples, ciphertexts, sums, lanes, shares, boxes, fingerprints.

Words of 64 bits are decimal strings, bytes are hex; bulk is its first words and the SHA-256 of all its
little-endian bytes.
Vectors of values are given by a formula: value i of party j is ((7919 i + 104729 j) mod (2 o + 1)) - o.
Boxes cannot be made again (OpenSSL draws their randomness): they are kept while they still open.
"""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from privacy.errors import ChoraleError
from privacy.he.addition import modular_sum
from privacy.he.boxes import BoxKey, open_box, result_box_info, seal_box, share_box_info
from privacy.he.envelope import OneTimeKey, encrypt, error_stream, open_sum, share_stream
from privacy.he.error_sampler import TABLE, ErrorSampler
from privacy.he.fingerprint import Fingerprint
from privacy.he.lanes import LaneLayout
from privacy.he.parameters import DEFAULT, POLYNOMIAL_BYTES
from privacy.he.ring import Ring
from privacy.he.shamir import add_shares, deal, lagrange_weights, recover

FOLDER = Path(__file__).parent
ROUND, COHORT, SEAL = (sha256(name).digest() for name in (b"round", b"cohort", b"seal"))
PARTIES, N_MAX, QUORUM = 5, 5, 3
SHOWN = 8
BOX_PRIVATE = bytes(range(64)) + bytes(range(100, 132))
BOX_TEXT = b"You hear the choir, never the singer."


def seed(party: int) -> bytes:
    return sha256(b"seed" + bytes([party])).digest()


def values(layout: LaneLayout, party: int, length: int) -> NDArray[np.int64]:
    """The formula of the module's docstring."""
    index = np.arange(length, dtype=np.int64)
    return (7919 * index + 104729 * party) % (2 * layout.offset + 1) - layout.offset


def bulk(array: NDArray[Any]) -> dict[str, Any]:
    """An array's first numbers, its size, and the digest of its little-endian bytes in its own width."""
    flat = np.ascontiguousarray(array).reshape(-1)
    little = flat.astype(flat.dtype.newbyteorder("<"))
    return {
        "first": [str(int(number)) for number in flat[:SHOWN]],
        "count": flat.size,
        "bytes_each": flat.dtype.itemsize,
        "sha256": sha256(little.tobytes()).hexdigest(),
    }


def streams() -> dict[str, Any]:
    ring = Ring(ROUND, COHORT)
    return {
        "round": ROUND.hex(),
        "cohort": COHORT.hex(),
        "public_polynomials": [{"k": k, **bulk(ring.public_polynomials(k, 1))} for k in (0, 1, 2**40)],
        "cumulative_table": {
            "entries": len(TABLE),
            "first": [str(entry) for entry in TABLE[:2]],
            "middle": [str(entry) for entry in TABLE[75:77]],
            "sha256_of_16_byte_little_endian_entries": sha256(
                b"".join(entry.to_bytes(16, "little") for entry in TABLE)
            ).hexdigest(),
        },
        "keys": [{"seed": seed(j).hex(), **bulk(OneTimeKey(seed(j)).s)} for j in range(2)],
        "errors": [
            {"seed": seed(0).hex(), "k": k, **bulk(ErrorSampler(error_stream(seed(0), k)).draw(DEFAULT.degree))}
            for k in (0, 1)
        ],
    }


def envelope(width: int) -> dict[str, Any]:
    """One sum: uploads, their sum, its opening, fingerprints; and what must not open."""
    layout = LaneLayout(width, N_MAX)
    length = layout.values_per_polynomial + 1001
    uploads, keys = [], []
    for party in range(PARTIES):
        made = encrypt(values(layout, party, length), layout, ROUND, COHORT, seed(party), POLYNOMIAL_BYTES)
        uploads.append(np.frombuffer(b"".join(made.shards), dtype="<u8").astype(np.uint64))
        keys.append(made.key.s)
    total = modular_sum(uploads, uploads[0].size)
    key = np.sum(keys, axis=0)
    opened = np.concatenate(list(open_sum([total.tobytes()], key, PARTIES, layout, length, ROUND, COHORT)))
    return {
        "round": ROUND.hex(),
        "cohort": COHORT.hex(),
        "width": width,
        "n_max": N_MAX,
        "offset": layout.offset,
        "length": length,
        "packed": bulk(layout.pack(values(layout, 0, length))),
        "uploads": [{"seed": seed(j).hex(), **bulk(upload)} for j, upload in enumerate(uploads)],
        "sum": bulk(total),
        "summed_key": bulk(key),
        "opened": bulk(opened),
        "seal": SEAL.hex(),
        "fingerprints": [fingerprint(upload) for upload in uploads],
        "fingerprint_of_sum": fingerprint(total),
        "refused": [
            {"what": "a top bit of the sum flipped", "word": 4096 + 5, "xor": str(1 << 59)},
            {"what": "a middle bit of the sum flipped", "word": 0, "xor": str(1 << 40)},
            {"what": "one coefficient of the key off by 1", "key": 4095, "add": 1},
            {"what": "one coefficient of the key off by -1", "key": 0, "add": -1},
            {"what": "a word of q or above", "word": 3, "set": str(DEFAULT.modulus)},
            {"what": "another cohort", "cohort": ROUND.hex()},
        ],
    }


def fingerprint(words: NDArray[np.uint64]) -> list[str]:
    made = Fingerprint(SEAL)
    made.update(words)
    return [str(half) for half in made.value()]


def lanes() -> dict[str, Any]:
    cases = []
    for width, n_max, given in (
        (12, 6, [-341, 341, 0, 1, -1]),
        (16, 6, [-5461, 5461, 0, 7]),
        (24, 1000, [-8388, 8388, 12]),
        (12, 1000, [2, -2, 0, 1, 1]),
    ):
        packed = LaneLayout(width, n_max).pack(np.array(given))
        words = [str(int(word)) for word in packed[:3]]
        cases.append({"width": width, "n_max": n_max, "values": given, "first_words": words})
    return {
        "packed": cases,
        "layouts_refused": [{"width": w, "n_max": n} for w, n in ((8, 5), (13, 5), (48, 5), (12, 0), (12, 1001))],
        "values_refused": [
            {"width": 12, "n_max": 6, "values": [0, 342]},
            {"width": 12, "n_max": 6, "values": [-342]},
        ],
        "words_refused": [
            {"width": 12, "n_max": 6, "contributors": 2, "length": 4, "first_words": [str(1365)]},
            {"width": 12, "n_max": 6, "contributors": 2, "length": 2, "first_words": [str(1 << 24)]},
            {"width": 12, "n_max": 6, "contributors": 2, "length": 4, "first_words": ["0", "1"]},
            {"width": 16, "n_max": 6, "contributors": 2, "length": 3, "first_words": [str(1 << 48)]},
        ],
    }


def shamir() -> dict[str, Any]:
    secrets = [OneTimeKey(seed(j)).s for j in range(PARTIES)]
    dealt = [deal(secret, PARTIES, QUORUM, share_stream(seed(j))) for j, secret in enumerate(secrets)]
    held = np.stack([add_shares(shares[row] for shares in dealt) for row in range(PARTIES)])
    found = recover(range(1, PARTIES + 1), held, QUORUM, DEFAULT.key_bound(PARTIES))
    # The lie that keeps S short: the inverse of the position's Lagrange weight among points 1, 2, 3.
    sly = pow(int(lagrange_weights([1, 2, 3], [0])[0, 1]), -1, DEFAULT.share_prime)
    return {
        "prime": DEFAULT.share_prime,
        "quorum": QUORUM,
        "key_bound": DEFAULT.key_bound(PARTIES),
        "dealers": [
            {"seed": seed(j).hex(), "shares": [bulk(row) for row in shares]} for j, shares in enumerate(dealt)
        ],
        "summed_shares": [bulk(row) for row in held],
        "recovered": bulk(found.secret),
        "corrected": [
            {"points": [1, 2, 3, 4, 5], "change": {"point": 2, "column": 17, "add": 1}, "accused": [2]},
            {"points": [1, 2, 3, 4, 5], "change": {"point": 5, "column": 4095, "add": 12345678}, "accused": [5]},
            {"points": [1, 2, 3, 4, 5], "change": {"point": 2, "column": 0, "add": sly}, "accused": [2]},
        ],
        "refused": [
            {"what": "fewer than the quorum", "points": [1, 5], "code": "not-enough-openings"},
            {
                "what": "one lie among one more than the quorum",
                "points": [1, 2, 3, 4],
                "change": {"point": 3, "column": 9, "add": 1},
                "code": "opening-failed",
            },
            {
                "what": "a random lie among exactly the quorum: S is not short",
                "points": [1, 3, 4],
                "change": {"point": 3, "column": 9, "add": 99991},
                "code": "opening-failed",
            },
            {"what": "a point twice", "points": [1, 1, 2], "code": "malformed-message"},
        ],
        "accepted_but_opens_nothing": {
            "what": "a lie by weight among exactly the quorum: S is short, and wrong by 1",
            "points": [1, 2, 3],
            "change": {"point": 2, "column": 0, "add": sly},
        },
    }


def boxes(kept: str | None) -> dict[str, Any]:
    key = BoxKey.from_private_bytes(BOX_PRIVATE)
    info = share_box_info(ROUND, COHORT, "alpha", "beta", SEAL)
    return {
        "suite": "MLKEM768_X25519, HKDF_SHA256, AES_256_GCM, base mode",
        "private": BOX_PRIVATE.hex(),
        "public": key.public_bytes.hex(),
        "round": ROUND.hex(),
        "cohort": COHORT.hex(),
        "share_box_infos": [
            {"dealer": dealer, "receiver": receiver, "root": SEAL.hex(), "info": made.hex()}
            for dealer, receiver in (("alpha", "beta"), ("beta", "alpha"), ("alphab", "eta"))
            for made in [share_box_info(ROUND, COHORT, dealer, receiver, SEAL)]
        ],
        "result_box_infos": [
            {"opener": "alpha", "receiver": "beta", "contributors": SEAL.hex(), "info": made.hex()}
            for made in [result_box_info(ROUND, COHORT, SEAL, "alpha", "beta")]
        ],
        "info": info.hex(),
        "plaintext": BOX_TEXT.hex(),
        "box": kept if kept and _opens(key, info, kept) else seal_box(key.public_bytes, info, BOX_TEXT).hex(),
        "refused": [{"flip": at} for at in (0, 1087, 1088, 1119, 1120, -1)]
        + [{"cut": 1}, {"cut": 16}, {"append": "00"}, {"info": "00" * 32}],
        "x25519_points_refused": [
            point.hex()
            for point in (
                bytes(32),
                (1).to_bytes(32, "little"),
                bytes.fromhex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"),
                bytes.fromhex("5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157"),
                (2**255 - 20).to_bytes(32, "little"),
                (2**255 - 19).to_bytes(32, "little"),
            )
        ],
    }


def _opens(key: BoxKey, info: bytes, box: str) -> bool:
    try:
        return open_box(key, info, bytes.fromhex(box)) == BOX_TEXT
    except ChoraleError:
        return False


def build(kept_box: str | None) -> dict[str, dict[str, Any]]:
    """Every file's content by its name."""
    return {
        "he_streams": streams(),
        "he_lanes": lanes(),
        **{f"he_envelope_{width}": envelope(width) for width in (12, 16, 24)},
        "he_shamir": shamir(),
        "he_boxes": boxes(kept_box),
    }


def load(name: str) -> Any:
    return json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))


def main() -> None:
    kept = load("he_boxes")["box"] if (FOLDER / "he_boxes.json").exists() else None
    for name, content in build(kept).items():
        (FOLDER / f"{name}.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
