"""From the thirty published assays to compounds: fingerprints, labels, scaffolds.

Rules:
1. The CSV files of the MoleculeACE distribution are read where the package index put them; the package itself
   is never imported (its own dependencies would pull a second RDKit).
2. The unit is one compound with all its labels. Rows with the same canonical SMILES are one compound; repeated
   values of one target are averaged before the threshold (active at 10^-7 mol/l or better) is applied.
Every core works, and what comes out does not depend on how many there are. Nothing here deals or trains.
"""

from __future__ import annotations

import csv
import math
import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from multiprocessing import get_context
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from privacy.errors import ConfigurationError

DISTRIBUTION = "MoleculeACE"
FINGERPRINT_BITS = 2048
ECFP4_RADIUS = 2
ACTIVE_AT = 7.0  # pKi or pEC50
NANOMOLAR = 9.0  # pX = 9 - log10(X in nmol/l)
PIECE = 1000
Found = TypeVar("Found")

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and how much there is."""


def silent(_what: str, _done: int, _total: int) -> None:
    """The progress of someone who does not look."""


@dataclass(frozen=True)
class Compounds:
    """n compounds: fingerprints uint8 (n, 256), packed; labels uint8 (n, tasks), 0 or 1; measured bool (n, tasks).

    A label whose `measured` is false means nothing (it is stored as 0).
    """

    packed: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    measured: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.packed)

    def fingerprints(self) -> NDArray[np.uint8]:
        """The ECFP4 bits, uint8 (n, 2048)."""
        return np.unpackbits(self.packed, axis=1)

    def features(self) -> NDArray[np.float32]:
        """What the linear model reads, float32 (n, 2048): each record's bits divided by their Euclidean norm.

        A record's features depend on that record alone, so this needs no privacy of its own.
        """
        bits = self.fingerprints().astype(np.float32)
        norms = np.sqrt(bits.sum(axis=1, keepdims=True))
        return np.asarray(bits / np.maximum(norms, 1.0), dtype=np.float32)

    def targets(self) -> NDArray[np.float32]:
        """Labels as `task.record_loss` takes them, float32 (n, tasks): 1, 0, or -1 where nothing was measured."""
        return np.where(self.measured, self.labels.astype(np.float32), np.float32(-1.0))

    def __getitem__(self, rows: NDArray[np.bool_] | NDArray[np.int64]) -> Compounds:
        return Compounds(self.packed[rows], self.labels[rows], self.measured[rows])


def pool(parts: Iterable[Compounds]) -> Compounds:
    """All compounds of several parts, in order: everyone's test set, or the training set of the pooled baseline."""
    listed = list(parts)
    return Compounds(
        np.concatenate([part.packed for part in listed]),
        np.concatenate([part.labels for part in listed]),
        np.concatenate([part.measured for part in listed]),
    )


def read_assays() -> tuple[list[str], list[tuple[str, int, float]]]:
    """The task names, sorted, and one (SMILES as published, task index, pKi or pEC50) a CSV row."""
    try:
        installed = distribution(DISTRIBUTION)
    except PackageNotFoundError as error:
        raise ConfigurationError(
            f"the distribution {DISTRIBUTION}", "none installed", "run pip install --no-deps MoleculeACE==3.0.0"
        ) from error
    paths = sorted(
        (Path(str(file.locate())) for file in installed.files or () if file.suffix == ".csv"),
        key=lambda path: path.stem,
    )
    rows: list[tuple[str, int, float]] = []
    for task, path in enumerate(paths):
        with path.open(encoding="utf-8", newline="") as opened:
            rows.extend(
                (row["smiles"], task, NANOMOLAR - math.log10(float(row["exp_mean [nM]"])))
                for row in csv.DictReader(opened)
            )
    return [path.stem for path in paths], rows


def featurise(
    rows: Sequence[tuple[str, int, float]], tasks: int, progress: Progress
) -> tuple[list[str], Compounds, list[str]]:
    """Canonical SMILES (sorted), compounds in that order, and each one's Murcko scaffold."""
    values: dict[str, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as pool:
        canonical = _in_pieces(pool, _canonical, [row[0] for row in rows], "reading compounds", progress)
        for found, (_, task, value) in zip(canonical, rows, strict=True):
            values[found][task].append(value)
        smiles = sorted(values)
        described = _in_pieces(pool, _describe, smiles, "computing fingerprints", progress)
    labels = np.zeros((len(smiles), tasks), dtype=np.uint8)
    measured = np.zeros((len(smiles), tasks), dtype=bool)
    for index, found in enumerate(smiles):
        for task, repeated in values[found].items():
            measured[index, task] = True
            labels[index, task] = sum(repeated) / len(repeated) >= ACTIVE_AT
    packed = np.stack([fingerprint for fingerprint, _ in described])
    return smiles, Compounds(packed, labels, measured), [scaffold for _, scaffold in described]


def _in_pieces(
    pool: ProcessPoolExecutor, task: Callable[[list[str]], list[Found]], items: list[str], what: str, told: Progress
) -> list[Found]:
    """What `task` finds for each item, in order, a piece at a time in the pool's processes."""
    pieces = [items[start : start + PIECE] for start in range(0, len(items), PIECE)]
    found: list[Found] = []
    for piece in pool.map(task, pieces):
        found += piece
        told(what, len(found), len(items))
    return found


def _canonical(published: list[str]) -> list[str]:
    """Canonical SMILES of SMILES as published."""
    from rdkit import Chem, rdBase

    rdBase.DisableLog("rdApp.*")
    found = []
    for smiles in published:
        molecule = Chem.MolFromSmiles(smiles)
        if molecule is None:
            raise ConfigurationError("SMILES that RDKit reads", smiles, "install RDKit 2024.3 or later")
        found.append(Chem.MolToSmiles(molecule))
    return found


def _describe(canonical: list[str]) -> list[tuple[NDArray[np.uint8], str]]:
    """Each compound's fingerprint, packed, and its Murcko scaffold."""
    from rdkit import Chem
    from rdkit.Chem import rdFingerprintGenerator
    from rdkit.Chem.Scaffolds import MurckoScaffold

    generator = rdFingerprintGenerator.GetMorganGenerator(radius=ECFP4_RADIUS, fpSize=FINGERPRINT_BITS)
    found = []
    for smiles in canonical:
        molecule = Chem.MolFromSmiles(smiles)
        framework = MurckoScaffold.GetScaffoldForMol(molecule)  # type: ignore[no-untyped-call]
        scaffold = Chem.MolToSmiles(framework, isomericSmiles=False)
        found.append((np.packbits(generator.GetFingerprintAsNumPy(molecule)), scaffold))
    return found
