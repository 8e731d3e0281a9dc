"""What each partner of the demo runs: `chorale-partner run deploy/demo/train.py DATA PARTNER ROUNDS RECORD`.

The loop is the SDK's; around it this script writes one JSON line a round to RECORD: what the round cost this
partner in seconds and bytes, and how the noise of the probes looked. The first partner also exports the last
round's summed key and the states before and after it beside RECORD, for `deploy.demo.check`.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from client_sdk import Consortium
from client_sdk.attempt import Outcome
from client_sdk.rounds import Round
from deploy.demo.data import open_deal
from deploy.demo.settings import DemoSettings, FreeSettings
from deploy.demo.task import batch_loss, build_model, training_tensors


def line(outcome: Outcome, contributing: float, wall: float) -> Mapping[str, Any]:
    """contributing: wall seconds of `contribute`, which trains, encrypts, uploads (and joins the first round).
    wall: seconds of the whole round."""
    report = outcome.report
    seconds = dict(report.seconds)
    inside = sum(seconds.get(phase, 0.0) for phase in ("encrypt", "upload"))
    joined_inside = seconds.get("join", 0.0) if outcome.plan.round == 1 else 0.0
    seconds["train"] = max(0.0, contributing - inside - joined_inside)
    return {
        "round": outcome.plan.round,
        "ended": outcome.ended,
        "state": outcome.state.digest,
        "seconds": seconds,
        "wall": wall,
        "bytes_up": report.bytes_up,
        "bytes_down": report.bytes_down,
        "bulk_up": report.bulk_up,
        "bulk_down": report.bulk_down,
        "probe_z": report.probe_z,
        "probe_z_total": report.probe_z_total,
        "contributors": len(report.contributors),
        "accused": dict(report.accused),
        "alarms": list(report.alarms),
    }


def export(rnd: Round, folder: Path) -> None:
    """S and the states before and after a round: what an auditor must be given, for no one else holds them."""
    outcome = rnd.outcome
    if outcome is None or outcome.summed_key is None:
        return
    folder.mkdir(mode=0o700, exist_ok=True)
    (folder / "summed_key").write_bytes(outcome.summed_key)
    (folder / "state_before").write_bytes(rnd.attempt.state.to_bytes())
    (folder / "state_after").write_bytes(outcome.state.to_bytes())


def main(data: Path, partner: int, rounds: int, record: Path) -> None:
    deal = open_deal(data, DemoSettings().deal)
    train_set = training_tensors(deal.partner(partner).train)
    model = build_model(len(deal.tasks))
    previous: tuple[Round, float, float] | None = None
    with Consortium.open() as consortium, record.open("a", encoding="utf-8") as written:

        def write(now: float) -> None:
            if previous is not None and previous[0].outcome is not None:
                _, contributing, began = previous
                written.write(json.dumps(line(previous[0].outcome, contributing, now - began)) + "\n")

        # `home_rate` is of steps at home, which the consortium without privacy takes.
        home_rate = FreeSettings().learning_rate
        for rnd in consortium.rounds(model, until=rounds, block=16, home_rate=home_rate):
            start = time.monotonic()
            rnd.contribute(train_set, batch_loss)
            # A round's outcome is known when the next begins; the last one's, after the loop.
            write(start)
            previous = (rnd, time.monotonic() - start, start)
        write(time.monotonic())
        if partner == 0 and previous is not None:
            export(previous[0], record.parent / "exported")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]))
