"""What the service does in a round: add uploads mod q, from shards on disk to the sum on disk.

The peer in the same run is a plain numpy float32 sum of as many parameters, from the same disk, streamed alike.
Run as a program it sums once and prints seconds of CPU and its own peak memory, so that the figure is of a process
that did nothing else: `python -m benchmarks.service blind|plain FOLDER PARTNERS`.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np

from aggregator.rounds.blind_sum import PIECE_BYTES, sum_shard


def uploads(folder: Path, partners: int) -> list[list[Path]]:
    """For each shard index, that shard of every partner; partners beyond those on disk reuse them in turn."""
    by_partner: dict[str, list[Path]] = {}
    for path in sorted(folder.glob("*-*")):
        by_partner.setdefault(path.name.split("-")[0], []).append(path)
    names = sorted(by_partner)
    chosen = [by_partner[names[index % len(names)]] for index in range(partners)]
    return [list(shard) for shard in zip(*chosen, strict=True)]


def blind_sum(folder: Path, partners: int) -> None:
    target = folder / "sum"
    target.mkdir(exist_ok=True)
    for index, shard in enumerate(uploads(folder, partners)):
        sum_shard([str(path) for path in shard], str(target / f"{index:06d}"), shard[0].stat().st_size)


def plain_sum(folder: Path, partners: int) -> None:
    files = [path for shard in uploads(folder, partners) for path in shard]
    size = files[0].stat().st_size
    with (folder / "plain-sum").open("wb") as out:
        for offset in range(0, size, PIECE_BYTES):
            length = min(PIECE_BYTES, size - offset)
            total = np.zeros(length // 4, dtype=np.float32)
            for path in files:
                with path.open("rb") as file:
                    file.seek(offset)
                    total += np.frombuffer(file.read(length), dtype=np.float32)
            out.write(total.tobytes())


def peak_mib() -> float:
    """VmHWM of this program; getrusage's ru_maxrss would carry the parent's peak through exec."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def main() -> None:
    what, folder, partners = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    work = {"blind": blind_sum, "plain": plain_sum}[what]
    work(folder, 1)  # compiled and cached before the clock starts
    start = time.process_time()
    work(folder, partners)
    seconds = time.process_time() - start
    print(json.dumps({"seconds": seconds, "peak_mib": peak_mib()}))


if __name__ == "__main__":
    main()
