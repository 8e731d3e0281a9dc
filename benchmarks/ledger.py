"""What a long ledger costs the service: an export that is verified, and the console's overview.

Rules:
1. A consortium of ten, constituted over HTTP in this process; its rounds are ledger entries and ended attempts,
   made by the ledger's own rules, without uploads.
2. Seconds are CPU of this process, requests and their client together, so they are upper bounds.
3. The overview is asked for three times: at a service that has just started, again, and after one more round. Each
   partner is away in another share of the rounds, so that no two have the same figures.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from fastapi.testclient import TestClient
from sqlalchemy import insert

from aggregator.app import create_app
from aggregator.console.cookies import SESSION_COOKIE
from aggregator.rounds.ledger_export import preamble
from aggregator.storage import ledger
from aggregator.storage.service import Service
from aggregator.storage.sessions import CONSORTIUM, Opened, open_session
from aggregator.storage.tables import AttemptRow, LedgerEntryRow, LedgerHeadRow
from privacy.dp.caps import Caps
from privacy.dp.events import PrivacyEvent
from privacy.ledger.chain import BudgetMove, ChainVerifier, next_budget_entry
from privacy.ledger.entry import EntryKind, LedgerEntry
from privacy.ledger.export import read_file, with_entries
from privacy.ledger.verification import verify_export
from privacy.protocol.messages import Campaign, Charter, Plan
from tests.consortium import SeededSource, TestConsortium

PARTNERS = 10
EXPORTED = 100_000
SHOWN = 10_000
EVENT = PrivacyEvent(kind="distributed", noise_multiplier=9.0, sampling_rate=0.02, steps=1)


def main() -> dict[str, float]:
    """Figures by name; `make bench` prints them beside what is aimed at."""
    return {**overview_seconds(), "verified_export_seconds": export_seconds()}


def overview_seconds() -> dict[str, float]:
    with _service() as (history, http):
        history.extend_to(SHOWN)
        cold = _cpu(lambda: _page(http))
        warm = _cpu(lambda: _page(http))
        history.one_round()
        after = _cpu(lambda: _page(http))
    return {"overview_cold_seconds": cold, "overview_warm_seconds": warm, "overview_after_round_seconds": after}


def export_seconds() -> float:
    """From the database to a verified file."""
    with _service() as (history, _), tempfile.TemporaryDirectory() as folder:
        history.extend_to(EXPORTED)
        file = Path(folder) / "ledger.jsonl"

        def export() -> None:
            with file.open("wb") as out:
                out.writelines(with_entries(preamble(history.service), history.entries))
            with file.open("rb") as stream:
                found = verify_export(read_file(stream))
            assert found.head.count >= EXPORTED

        return min(_cpu(export) for _ in range(2))


def _cpu(act: Callable[[], None]) -> float:
    start = time.process_time()
    act()
    return time.process_time() - start


def _page(http: TestClient) -> None:
    answer = http.get("/console")
    assert answer.status_code == 200, answer.text
    assert "epsilon" in answer.text


class History:
    """Rounds of a consortium in its service's database."""

    def __init__(self, service: Service, consortium: TestConsortium, charter: Charter, campaign: Campaign) -> None:
        self.service = service
        self._consortium = consortium
        self._charter = charter
        self._campaign = campaign
        self._chain = ChainVerifier()
        self._round = 0
        with service.database.read() as session:
            for line in ledger.lines(session, 0, 1 << 20):
                self._chain.add_line(line)

    def entries(self, after: int, limit: int) -> list[bytes]:
        with self.service.database.read() as session:
            return list(ledger.lines(session, after, limit))

    def extend_to(self, count: int) -> None:
        while self._chain.head.count < count:
            self.one_round()

    def one_round(self) -> None:
        self._round += 1
        plan = self._consortium.plan(self._charter, self._campaign, round=self._round)
        members = [name for place, name in enumerate(self._charter.partners, start=2) if self._round % place]
        kinds: tuple[EntryKind, ...] = ("reserve", "charge")
        rows = [self._entry(kind, plan, name) for kind in kinds for name in members]
        with self.service.database.write() as session:
            session.execute(insert(LedgerEntryRow), rows)
            head = session.get_one(LedgerHeadRow, "consortium")
            head.count, head.head = self._chain.head.count, self._chain.head.head
            session.add(self._attempt(plan))

    def _entry(self, kind: EntryKind, plan: Plan, name: str) -> dict[str, object]:
        row = self._charter.table[0].name
        before = self._chain.totals.row(self._charter.digest, name, row)
        move = BudgetMove.of_plan(kind, name, plan, row)
        entry: LedgerEntry = next_budget_entry(
            self._chain.head, self._charter.digest, self.service.now(), move, before, held=kind == "charge"
        )
        self._chain.add(entry)
        assert entry.budget is not None
        return {
            "index": entry.index,
            "digest": entry.digest,
            "at": entry.at,
            "charter": entry.charter,
            "kind": kind,
            "participant": name,
            "round": plan.digest,
            "row": row,
            "charged": entry.budget.charged,
            "reserved": entry.budget.reserved,
            "entry": entry.canonical_bytes,
        }

    def _attempt(self, plan: Plan) -> AttemptRow:
        return AttemptRow(
            round=plan.digest,
            campaign=plan.campaign,
            charter=plan.charter,
            sequence=self._round,
            number=plan.round,
            attempt=plan.attempt,
            state="confirmed",
            version=1,
            shard_bytes=32768,
            plan=self._consortium.by_operator(plan).canonical_bytes,
            join_deadline=plan.deadlines.join,
            upload_deadline=plan.deadlines.upload,
            open_deadline=plan.deadlines.open,
            uploads_kept=False,
            sums_kept=False,
        )


@contextmanager
def _service() -> Iterator[tuple[History, TestClient]]:
    caps = Caps(epsilon_alone=500.0, epsilon_in_sum=50.0, delta=1e-5)
    consortium = TestConsortium(size=PARTNERS, n_min=9, count=10_000, event=EVENT, caps=caps)
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(1) as pool:
        settings = consortium.server_folder(Path(folder) / "server")
        app = create_app(settings, consortium.clock, SeededSource("service"), pool)
        with TestClient(app) as http:
            history = History(app.state.service, consortium, *consortium.constitute(http))
            with history.service.database.write() as session:
                who = Opened("bench", "bench", "auditor", CONSORTIUM)
                token = open_session(session, who, history.service.clock.now(), 3600, history.service.source)
            http.cookies.set(SESSION_COOKIE, token, domain="testserver.local", path="/console")
            yield history, http


if __name__ == "__main__":
    print(json.dumps(main()))
