"""`make bench`: the cost of a blind round, per parameter, beside a plain sum measured in the same run.

Prints tables and writes out/bench.json; what a long ledger costs the service is in it too. Every figure is CPU
time of one core; each sum runs in its own process. Figures are the least of RUNS runs: on a shared machine whatever
is above the least is somebody else's.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from benchmarks.partner import Setting, encrypt_ns, open_ns, privatise_ns, write_upload
from privacy.he.boxes import SHARE_BOX_BYTES

PARAMETERS = 10_000_000
PARTNERS = 10
RUNS = 3
OUT = Path("out")
# What is aimed at, in CPU nanoseconds a parameter, ratios, bytes and MiB.
TARGETS = {
    24: {"privatise_ns": 40, "encrypt_ns": 40, "sum_ratio": 3, "open_ns": 60, "up": 4.03, "down": 4.06},
    12: {"privatise_ns": 40, "encrypt_ns": 25, "sum_ratio": 2, "open_ns": 35, "up": 2.03, "down": 2.06},
}
TARGET_PEAK_MIB = 400
# CPU seconds of the service with a long ledger (benchmarks/ledger.py).
LEDGER = {
    "overview_cold_seconds": ("overview, 10,000 entries, service just started", None),
    "overview_warm_seconds": ("overview again", 0.15),
    "overview_after_round_seconds": ("overview after one more round", 0.15),
    "verified_export_seconds": ("verified export of 100,000 entries", 5.0),
}


def sum_in_a_process(what: str, folder: Path, partners: int) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.service", what, str(folder), str(partners)]
    runs = [json.loads(subprocess.run(command, check=True, capture_output=True).stdout) for _ in range(RUNS)]
    return {"seconds": min(r["seconds"] for r in runs), "peak_mib": max(r["peak_mib"] for r in runs)}


def plain_files(folder: Path) -> None:
    """As many float32 parameters a partner, on the same disk."""
    rng = np.random.default_rng(1)
    values = rng.standard_normal(PARAMETERS, dtype=np.float32).tobytes()
    for partner in range(PARTNERS):
        (folder / f"{partner:04d}-000000").write_bytes(values)


def measure(width: int, folder: Path, plain: dict[str, float], step: Any) -> dict[str, float]:
    setting = Setting(PARAMETERS, PARTNERS, width)
    step(f"{width}-bit lanes: privatise")
    runs = [privatise_ns(setting) for _ in range(RUNS)]
    values = runs[0][1]
    step(f"{width}-bit lanes: encrypt")
    encrypted = [encrypt_ns(setting, values, folder) for _ in range(RUNS)]
    summed_key, upload_bytes = encrypted[0][1], encrypted[0][2]
    for partner in range(1, PARTNERS):
        step(f"{width}-bit lanes: upload {partner + 1} of {PARTNERS}")
        summed_key = summed_key + write_upload(setting, values, partner, folder)[0]
    step(f"{width}-bit lanes: sum")
    blind = sum_in_a_process("blind", folder, PARTNERS)
    larger = sum_in_a_process("blind", folder, 4 * PARTNERS)
    step(f"{width}-bit lanes: open")
    shards = sorted((folder / "sum").iterdir())
    # The last blind run summed 40 uploads; the sum to open is that of 10.
    sum_in_a_process("blind", folder, PARTNERS)
    opened = [open_ns(setting, shards, summed_key, values.size) for _ in range(RUNS)]
    exact = PARTNERS * int(values.astype(np.int64).sum())
    if any(total != exact for _, total in opened):
        raise SystemExit(f"the opened sum {opened[0][1]} is not the integer sum {exact}")
    boxes = PARTNERS * SHARE_BOX_BYTES
    # Up: shards and a share box a member. Down: the sum, a share box and a result box a member.
    return {
        "privatise_ns": min(ns for ns, _ in runs),
        "encrypt_ns": min(ns for ns, _, _ in encrypted),
        "sum_ns_per_partner": blind["seconds"] * 1e9 / PARAMETERS / PARTNERS,
        "plain_sum_ns_per_partner": plain["seconds"] * 1e9 / PARAMETERS / PARTNERS,
        "open_ns": min(ns for ns, _ in opened),
        "upload_bytes_per_parameter": (upload_bytes + boxes) / PARAMETERS,
        "download_bytes_per_parameter": (sum(p.stat().st_size for p in shards) + 2 * boxes) / PARAMETERS,
        "server_peak_mib": max(blind["peak_mib"], larger["peak_mib"]),
        "parameters": PARAMETERS,
        "partners": PARTNERS,
    }


def table(figures: dict[str, dict[str, float]]) -> Table:
    shown = Table(title=f"{PARAMETERS:,} parameters, {PARTNERS} partners, one core", title_justify="left")
    shown.add_column("")
    for width in figures:
        shown.add_column(f"{width}-bit lanes", justify="right")
        shown.add_column("aim", justify="right", style="dim")
    rows = [
        ("privatise, ns a parameter", "privatise_ns", "privatise_ns", "{:.1f}"),
        ("encrypt, ns a parameter", "encrypt_ns", "encrypt_ns", "{:.1f}"),
        ("sum, ns a parameter and partner", "sum_ns_per_partner", None, "{:.2f}"),
        ("plain float32 sum, the same", "plain_sum_ns_per_partner", None, "{:.2f}"),
        ("open, ns a parameter", "open_ns", "open_ns", "{:.1f}"),
        ("upload: shards, share boxes; bytes a parameter", "upload_bytes_per_parameter", "up", "{:.3f}"),
        ("download: sum, share and result boxes", "download_bytes_per_parameter", "down", "{:.3f}"),
    ]
    for label, key, aim, form in rows:
        cells = [
            c for w, f in figures.items() for c in (form.format(f[key]), str(TARGETS[int(w)][aim]) if aim else "")
        ]
        shown.add_row(label, *cells)
    ratios = {w: f["sum_ns_per_partner"] / f["plain_sum_ns_per_partner"] for w, f in figures.items()}
    shown.add_row(
        "sum over plain sum",
        *[c for w, r in ratios.items() for c in (f"{r:.2f} x", f"{TARGETS[int(w)]['sum_ratio']} x")],
    )
    peaks = [c for f in figures.values() for c in (f"{f['server_peak_mib']:.0f}", str(TARGET_PEAK_MIB))]
    shown.add_row("summing process, peak MiB (10 and 40 partners)", *peaks)
    return shown


def ledger_figures() -> dict[str, float]:
    """In a process of its own: what it caches must not have been cached before."""
    command = [sys.executable, "-m", "benchmarks.ledger"]
    done = subprocess.run(command, check=True, capture_output=True)
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


def ledger_table(figures: dict[str, float]) -> Table:
    shown = Table(title="a ledger of ten partners, CPU seconds of the service", title_justify="left")
    shown.add_column("")
    shown.add_column("seconds", justify="right")
    shown.add_column("aim", justify="right", style="dim")
    for key, (label, aim) in LEDGER.items():
        shown.add_row(label, f"{figures[key]:.3f}", "" if aim is None else f"{aim:g}")
    return shown


def main() -> None:
    OUT.mkdir(exist_ok=True)
    console = Console()
    figures: dict[str, dict[str, float]] = {}
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with (
        Progress(*columns, console=console, transient=True) as progress,
        tempfile.TemporaryDirectory(dir=OUT) as disk,
    ):
        task = progress.add_task("plain float32 sum")
        plain_folder = Path(disk) / "plain"
        plain_folder.mkdir()
        plain_files(plain_folder)
        plain = sum_in_a_process("plain", plain_folder, PARTNERS)
        for width in (24, 12):
            folder = Path(disk) / str(width)
            folder.mkdir()
            figures[str(width)] = measure(
                width, folder, plain, lambda what: progress.update(task, description=what)
            )
        progress.update(task, description="a long ledger")
        ledger = ledger_figures()
    console.print(table(figures))
    console.print(ledger_table(ledger))
    (OUT / "bench.json").write_text(json.dumps({**figures, "ledger": ledger}, indent=1) + "\n")
    console.print("written to out/bench.json")


if __name__ == "__main__":
    main()
