"""Does this machine compute a round as it must? `python -m privacy.selfcheck`, after an installation.

Rules:
1. One round of five in one process: records are clipped and noised, uploads encrypted, added and fingerprinted,
   keys shared, one share told falsely, the sum opened. It must be the integer sum, and the false share found.
2. It runs every compiled kernel, on the types that real rounds use: what numba compiles stays in its cache, so no
   first round waits for it, and six partners on one machine do not compile the same at once.
3. Every key and gradient here is a constant: nothing is secret, and nothing is kept.
"""

from __future__ import annotations

import sys
import time

import numpy as np

from privacy.dp.mechanism import MechanismPlan
from privacy.dp.privatise import RecordSum, privatise
from privacy.errors import ChoraleError, OpeningFailed
from privacy.he import fingerprint, shamir
from privacy.he.addition import modular_sum
from privacy.he.envelope import encrypt, open_sum, share_stream
from privacy.he.lanes import LaneLayout
from privacy.he.parameters import DEFAULT, POLYNOMIAL_BYTES
from privacy.randomness import Keystream

PARTNERS = 5
QUORUM = 3
PARAMETERS = 30_000
LIAR = 2
_PLAN, _COHORT, _SEAL = b"R" * 32, b"J" * 32, b"U" * 32


def check() -> None:
    """Raises OpeningFailed, or what a part raises, unless all comes out as it must."""
    lanes = LaneLayout(12, PARTNERS)
    plan = MechanismPlan(
        clip=1.0,
        noise_multiplier=1.0,
        honest=PARTNERS - 1,
        dimension=PARAMETERS,
        shift=16,
        lane_offset=lanes.offset,
        probes=1024,
        private_dimension=8,
    )
    records = np.linspace(-1, 1, 4 * PARAMETERS, dtype=np.float32).reshape(4, PARAMETERS)
    expected = np.zeros(plan.length, dtype=np.int64)
    words, keys, fingerprints, shares = [], [], [], []
    for partner in range(PARTNERS):
        seed = bytes([partner]) * 32
        batch = RecordSum(plan)
        batch.add_records([records], [records[:, :8]])
        values = privatise(batch, Keystream(seed)).values
        encryption = encrypt(values, lanes, _PLAN, _COHORT, seed, POLYNOMIAL_BYTES)
        upload = np.frombuffer(b"".join(encryption.shards), dtype="<u8")
        expected += values
        words.append(upload)
        fingerprints.append(_fingerprint(upload))
        keys.append(encryption.key.s)
        shares.append(shamir.deal(encryption.key.s, PARTNERS, QUORUM, share_stream(seed)))
    total = modular_sum(iter(words), words[0].size)
    told = np.stack([shamir.add_shares(dealt[receiver] for dealt in shares) for receiver in range(PARTNERS)])
    told[LIAR, 7] ^= 1
    recovered = shamir.recover(range(1, PARTNERS + 1), told, QUORUM, DEFAULT.key_bound(PARTNERS))
    opened = np.concatenate(
        list(open_sum([total.tobytes()], recovered.secret, PARTNERS, lanes, plan.length, _PLAN, _COHORT))
    )
    _must("the integer sum", np.array_equal(opened, expected))
    _must("the sum of the keys", np.array_equal(recovered.secret, np.sum(keys, axis=0)))
    _must("the false share found", recovered.accused == (LIAR + 1,))
    _must("the fingerprint of the sum", _fingerprint(total) == fingerprint.add(fingerprints))


def _fingerprint(upload: np.ndarray) -> fingerprint.FingerprintValue:
    found = fingerprint.Fingerprint(_SEAL)
    found.update(upload)
    return found.value()


def _must(what: str, holds: bool) -> None:
    if not holds:
        raise OpeningFailed(what, "something else", "do not use this installation; report its machine and versions")


def main() -> int:
    start = time.monotonic()
    try:
        check()
    except ChoraleError as error:
        print(f"self-check failed: {error}", file=sys.stderr)
        return 1
    print(f"self-check: a sum of {PARTNERS} opened exactly, a false share named ({time.monotonic() - start:.0f} s)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
