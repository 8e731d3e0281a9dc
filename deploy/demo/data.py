"""From the thirty published assays to the six partners of the demo, and from their folders back to arrays.

Rules:
1. The CSV files of the MoleculeACE distribution are read where the package index put them; the package itself
   is never imported (its own dependencies would pull a second RDKit).
2. The unit is one compound with all its labels. Rows with the same canonical SMILES are one compound; repeated
   values of one target are averaged before the threshold (active at 10^-7 mol/l or better) is applied.
3. A compound goes, labels and all, to exactly one partner: for each target a share per partner is drawn from
   Dirichlet(1/2), and a compound is dealt by the shares of its first target (in the order of the task names).
4. Whole Murcko scaffolds are held out: about a fifth of all compounds for the test, and a fifth of what is
   left for validation. Test compounds are dealt like all others; those dealt to a partner are its own test.
5. The deal depends on `DealSettings` and the CSV files alone: it comes from an AES-CTR keystream under the seed.
The files a partner reads hold only its own compounds. Nothing here trains or measures.
"""

from __future__ import annotations

import csv
import hashlib
import json
import math
import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, distribution
from multiprocessing import get_context
from pathlib import Path
from statistics import NormalDist
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from deploy.demo.settings import DealSettings
from privacy.errors import ConfigurationError
from privacy.randomness import Keystream

DISTRIBUTION = "MoleculeACE"
FINGERPRINT_BITS = 2048
ECFP4_RADIUS = 2
ACTIVE_AT = 7.0  # pKi or pEC50
NANOMOLAR = 9.0  # pX = 9 - log10(X in nmol/l)
FORMAT = 1
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


@dataclass(frozen=True)
class PartnerData:
    """What one partner holds; `validation` (bool, one a training compound) marks the scaffolds held out of it."""

    train: Compounds
    validation: NDArray[np.bool_]
    test: Compounds


@dataclass(frozen=True)
class Deal:
    """The public description of a prepared folder: no compound is in it."""

    folder: Path
    tasks: tuple[str, ...]
    train_compounds: tuple[int, ...]
    test_compounds: tuple[int, ...]

    @property
    def parameters(self) -> int:
        """Of the shared model: a weight for each bit and task."""
        return FINGERPRINT_BITS * len(self.tasks)

    def partner(self, index: int) -> PartnerData:
        with np.load(_partner_file(self.folder, index), allow_pickle=False) as stored:
            return PartnerData(
                train=_compounds(stored, "train"), validation=stored["validation"], test=_compounds(stored, "test")
            )

    def partners(self) -> tuple[PartnerData, ...]:
        return tuple(self.partner(index) for index in range(len(self.train_compounds)))


def pool(parts: Iterable[Compounds]) -> Compounds:
    """All compounds of several parts, in order: everyone's test set, or the training set of the pooled baseline."""
    listed = list(parts)
    return Compounds(
        np.concatenate([part.packed for part in listed]),
        np.concatenate([part.labels for part in listed]),
        np.concatenate([part.measured for part in listed]),
    )


def prepare(folder: Path, settings: DealSettings, progress: Progress = silent) -> Deal:
    """Deal all compounds into `folder`, unless it already holds this very deal; about a minute on one core."""
    described = folder / "deal.json"
    if described.exists():
        return open_deal(folder, settings)
    folder.mkdir(parents=True, exist_ok=True)
    tasks, rows = read_assays()
    smiles, compounds, scaffolds = _featurise(rows, len(tasks), progress)
    owner = deal_to_partners(compounds.measured, settings)
    test = hold_out(scaffolds, settings.test_fraction, settings, "test")
    left = [scaffold for scaffold, held in zip(scaffolds, test, strict=True) if not held]
    validation = np.zeros(len(smiles), dtype=bool)
    validation[~test] = hold_out(left, settings.validation_fraction, settings, "validation")
    for index in range(settings.partners):
        mine = owner == index
        _write_partner(
            _partner_file(folder, index),
            PartnerData(compounds[mine & ~test], validation[mine & ~test], compounds[mine & test]),
        )
    written = {
        "format": FORMAT,
        "settings": asdict(settings),
        "tasks": tasks,
        "train_compounds": [int((~test & (owner == index)).sum()) for index in range(settings.partners)],
        "test_compounds": [int((test & (owner == index)).sum()) for index in range(settings.partners)],
    }
    described.write_text(json.dumps(written, indent=1), encoding="utf-8")  # last: its presence says all is there
    return open_deal(folder, settings)


def open_deal(folder: Path, settings: DealSettings) -> Deal:
    """The deal that `prepare` left in `folder`; ConfigurationError if it is absent or of other settings."""
    described = folder / "deal.json"
    if not described.exists():
        raise ConfigurationError("a prepared data folder", f"{folder} without deal.json", "run prepare() first")
    stored = json.loads(described.read_text(encoding="utf-8"))
    if stored["format"] != FORMAT or stored["settings"] != asdict(settings):
        raise ConfigurationError(
            f"a deal of {settings}", f"{stored['settings']}", f"delete {folder} and prepare again"
        )
    return Deal(folder, tuple(stored["tasks"]), tuple(stored["train_compounds"]), tuple(stored["test_compounds"]))


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


def deal_to_partners(measured: NDArray[np.bool_], settings: DealSettings) -> NDArray[np.int64]:
    """The partner of each compound, int64 (n,), by rule 3; `measured` bool (n, tasks), at least one a row.

    Dirichlet(1/2) is the normalised squares of independent normals (gamma with shape 1/2 is half a chi-square
    of one degree of freedom), so no gamma sampler is needed.
    """
    uniform = _uniforms(settings, "deal", measured.shape[1] * settings.partners + len(measured))
    normal = NormalDist()
    squares = np.array([normal.inv_cdf(u) ** 2 for u in uniform[: measured.shape[1] * settings.partners]])
    squares = squares.reshape(measured.shape[1], settings.partners)
    edges = np.cumsum(squares / squares.sum(axis=1, keepdims=True), axis=1)
    first = measured.argmax(axis=1)
    drawn = uniform[-len(measured) :]
    dealt = (drawn[:, None] >= edges[first]).sum(axis=1)
    return np.asarray(np.minimum(dealt, settings.partners - 1), dtype=np.int64)


def hold_out(scaffolds: Sequence[str], fraction: float, settings: DealSettings, purpose: str) -> NDArray[np.bool_]:
    """Which compounds are held out, bool (n,): whole scaffolds in hashed order, while they fit."""
    members: dict[str, list[int]] = defaultdict(list)
    for index, scaffold in enumerate(scaffolds):
        members[scaffold].append(index)
    room = round(fraction * len(scaffolds))
    held = np.zeros(len(scaffolds), dtype=bool)
    for scaffold in sorted(members, key=lambda name: _digest(settings, purpose, name)):
        if len(members[scaffold]) <= room:
            held[members[scaffold]] = True
            room -= len(members[scaffold])
    return held


def _featurise(
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


def _uniforms(settings: DealSettings, purpose: str, count: int) -> NDArray[np.float64]:
    """Uniforms in the open interval (0, 1), float64 (count,)."""
    words = Keystream(_digest(settings, purpose, "")).words(count)
    return ((words >> np.uint64(12)).astype(np.float64) + 0.5) / 2.0**52


def _digest(settings: DealSettings, purpose: str, name: str) -> bytes:
    return hashlib.sha256(f"chorale demo {settings.seed} {purpose}\0{name}".encode()).digest()


def _partner_file(folder: Path, index: int) -> Path:
    return folder / f"partner-{index + 1}.npz"


def _write_partner(path: Path, data: PartnerData) -> None:
    arrays: dict[str, NDArray[np.uint8] | NDArray[np.bool_]] = {"validation": data.validation}
    for part, compounds in (("train", data.train), ("test", data.test)):
        arrays |= {
            f"{part}_packed": compounds.packed,
            f"{part}_labels": compounds.labels,
            f"{part}_measured": compounds.measured,
        }
    np.savez_compressed(path, **arrays)  # type: ignore[arg-type] # its stub takes the names for allow_pickle


def _compounds(stored: np.lib.npyio.NpzFile, part: str) -> Compounds:
    return Compounds(stored[f"{part}_packed"], stored[f"{part}_labels"], stored[f"{part}_measured"])
