"""What a partner's machine does in a round, in CPU nanoseconds a parameter: privatise, encrypt, open.

Everything runs in one process on one core, streaming shards through disk as the agent does. Opening counts all that
decoding counts: shard digests and root, fingerprint, the error check on every coefficient, unpacking.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from privacy.dp.mechanism import CLAMP_SIGMAS, FINE_BITS, LARGEST_SHIFT, SIGNAL_SIGMAS, MechanismPlan
from privacy.dp.privatise import RecordSum, privatise
from privacy.he.envelope import encrypt, open_sum
from privacy.he.fingerprint import Fingerprint
from privacy.he.lanes import LaneLayout
from privacy.protocol import merkle
from privacy.randomness import Keystream

SHARD_BYTES = 8 << 20
NOISE_MULTIPLIER = 1.0
CLIP = 1.0
ROUND, COHORT, SEAL = (hashlib.sha256(name).digest() for name in (b"round", b"cohort", b"seal"))


@dataclass(frozen=True)
class Setting:
    parameters: int
    partners: int
    lane_width: int

    @property
    def lanes(self) -> LaneLayout:
        return LaneLayout(self.lane_width, self.partners)

    @property
    def shift(self) -> int:
        """The least shift whose noise and margins fit these lanes."""
        margins = CLAMP_SIGMAS + SIGNAL_SIGMAS
        fits = (k for k in range(LARGEST_SHIFT + 1) if self.lanes.offset >= margins << (FINE_BITS - k))
        return next(fits)

    @property
    def mechanism(self) -> MechanismPlan:
        return MechanismPlan(
            clip=CLIP,
            noise_multiplier=NOISE_MULTIPLIER,
            honest=self.partners - 2,
            dimension=self.parameters,
            shift=self.shift,
            lane_offset=self.lanes.offset,
        )


def privatise_ns(setting: Setting) -> tuple[float, NDArray[np.int32]]:
    """Nanoseconds a parameter of clamp, noise, shift; and the values, for what comes next."""
    privatise(RecordSum(setting.mechanism), Keystream(bytes(32)))
    record_sum = RecordSum(setting.mechanism)
    start = time.process_time()
    update = privatise(record_sum, Keystream(b"\x01" * 32))
    return (time.process_time() - start) * 1e9 / setting.parameters, update.values


def write_upload(
    setting: Setting, values: NDArray[np.int32], partner: int, folder: Path
) -> tuple[NDArray[np.int64], int]:
    """Encrypt one upload to disk; the key, and the bytes written."""
    seed = hashlib.sha256(b"seed" + partner.to_bytes(4, "little")).digest()
    encryption = encrypt(values, setting.lanes, ROUND, COHORT, seed, SHARD_BYTES)
    written = 0
    for index, shard in enumerate(encryption.shards):
        merkle.shard_digest(shard)
        (folder / f"{partner:04d}-{index:06d}").write_bytes(shard)
        written += len(shard)
    return encryption.key.s.copy(), written


def encrypt_ns(setting: Setting, values: NDArray[np.int32], folder: Path) -> tuple[float, NDArray[np.int64], int]:
    """Nanoseconds a parameter of packing, encrypting, hashing and writing; the key, and the upload's bytes."""
    write_upload(setting, values[: 1 << 18], 0, folder)
    start = time.process_time()
    key, written = write_upload(setting, values, 0, folder)
    return (time.process_time() - start) * 1e9 / setting.parameters, key, written


def open_ns(setting: Setting, shards: list[Path], summed_key: NDArray[np.int64], length: int) -> tuple[float, int]:
    """Nanoseconds a parameter of reading, checking and opening the sum; and a checksum of all values."""

    def checked() -> Iterator[bytes]:
        fingerprint = Fingerprint(SEAL)
        digests = []
        for path in shards:
            shard = path.read_bytes()
            digests.append(merkle.shard_digest(shard))
            fingerprint.update(np.frombuffer(shard, dtype="<u8"))
            yield shard
        merkle.root(digests)
        fingerprint.value()

    start = time.process_time()
    total = 0
    for part in open_sum(checked(), summed_key, setting.partners, setting.lanes, length, ROUND, COHORT):
        total += int(part.sum())
    return (time.process_time() - start) * 1e9 / setting.parameters, total
