"""One shard's sum, from disk to disk: exact, and in memory that does not grow with the number of uploads."""

from __future__ import annotations

import hashlib
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from aggregator.rounds.blind_sum import PIECE_BYTES, sum_shard
from aggregator.rounds.sum_workers import SumWorkers
from privacy.errors import DigestMismatch, OutOfRange
from privacy.he.addition import MODULUS
from tests.consortium import SeededSource


def _uploads(folder: Path, count: int, words: int) -> tuple[list[str], list[list[int]]]:
    source = SeededSource("uploads")
    paths, values = [], []
    for place in range(count):
        vector = np.frombuffer(source.bytes(8 * words), dtype="<u8") % np.uint64(MODULUS)
        path = folder / f"upload-{place}"
        path.write_bytes(vector.astype("<u8").tobytes())
        paths.append(str(path))
        values.append(vector.tolist())
    return paths, values


def test_the_sum_is_that_of_the_integers(tmp_path: Path) -> None:
    words = 4096 * 2
    paths, values = _uploads(tmp_path, 37, words)
    digest = sum_shard(paths, str(tmp_path / "sum"), 8 * words)
    written = (tmp_path / "sum").read_bytes()
    assert digest == hashlib.sha256(written).digest()
    expected = [sum(column) % MODULUS for column in zip(*values, strict=True)]
    assert np.frombuffer(written, dtype="<u8").tolist() == expected


def test_a_shard_of_several_pieces_and_an_uneven_end(tmp_path: Path) -> None:
    words = PIECE_BYTES // 8 + 4096
    paths, _ = _uploads(tmp_path, 3, words)
    sum_shard(paths, str(tmp_path / "sum"), 8 * words)
    expected = sum(np.frombuffer(Path(path).read_bytes(), dtype="<u8").astype(object) for path in paths) % MODULUS
    written = np.frombuffer((tmp_path / "sum").read_bytes(), dtype="<u8")
    assert np.array_equal(written, expected.astype("<u8"))


def test_memory_does_not_grow_with_the_uploads(tmp_path: Path) -> None:
    words = 4 * PIECE_BYTES // 8
    paths, _ = _uploads(tmp_path, 2, words)
    peaks = []
    for count in (2, 40):
        tracemalloc.start()
        sum_shard(paths * (count // 2), str(tmp_path / "sum"), 8 * words)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 8 * PIECE_BYTES
    assert peaks[1] < peaks[0] + PIECE_BYTES


def test_false_files_are_refused_across_a_process_boundary(tmp_path: Path) -> None:
    paths, _ = _uploads(tmp_path, 2, 4096)
    with SumWorkers(1) as pool:
        with pytest.raises(DigestMismatch, match="32776"):
            pool.submit(sum_shard, paths, str(tmp_path / "sum"), 8 * 4097).result()
        Path(paths[0]).write_bytes(MODULUS.to_bytes(8, "little") * 4096)
        with pytest.raises(OutOfRange, match="word 0"):
            pool.submit(sum_shard, paths, str(tmp_path / "sum"), 8 * 4096).result()
