"""What each partner of the demo runs: `chorale-partner run deploy/demo/train.py DATA PARTNER ROUNDS RECORD`.

The loop is the SDK's; around it this script writes one JSON line a round to RECORD: what the round cost this
partner in seconds and bytes, and how the noise of the probes looked.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from client_sdk import Consortium
from client_sdk.attempt import Outcome
from deploy.demo.data import open_deal
from deploy.demo.settings import DemoSettings
from deploy.demo.task import batch_loss, build_model, training_tensors


def line(outcome: Outcome) -> Mapping[str, Any]:
    report = outcome.report
    return {
        "round": outcome.plan.round,
        "ended": outcome.ended,
        "state": outcome.state.digest,
        "seconds": dict(report.seconds),
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


def main(data: Path, partner: int, rounds: int, record: Path) -> None:
    deal = open_deal(data, DemoSettings().deal)
    train_set = training_tensors(deal.partner(partner).train)
    model = build_model(len(deal.tasks))
    previous = None
    with Consortium.open() as consortium, record.open("a", encoding="utf-8") as written:
        for rnd in consortium.rounds(model, until=rounds, block=16):
            rnd.contribute(train_set, batch_loss)
            # A round's outcome is known when the next begins; the last one's, after the loop.
            if previous is not None and previous.outcome is not None:
                written.write(json.dumps(line(previous.outcome)) + "\n")
            previous = rnd
        if previous is not None and previous.outcome is not None:
            written.write(json.dumps(line(previous.outcome)) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]))
