"""What must hold at every step, whatever goes wrong: P1 to P5 of protocol 2, as checks on what machines do.

Rules:
1. Whatever leaves a partner's machine is looked at as it leaves: it can be read from then on, delivered or not.
2. What was once true of a machine is remembered here, where no crash and no backup reaches it.
3. Each check says which promise it stands for. The first that fails ends the run.

P1  one set an attempt is opened, of at least n_min uploads; the round key is gone before an opening leaves. One
    cohort an attempt, and one upload of the same bytes.
P2  nothing secret (a key, a device secret, a vector) stands in anything that leaves a machine: line, headers, body.
P3  a charge stands on the own chain before an upload leaves, and on the service's before a cohort is shown; charges
    are never given back; no row is overdrawn.
P4  what is decoded is the sum of what U contributed, integer by integer; U leaves out nobody who holds a receipt;
    one state an attempt.
P5  both chains verify, entry by entry, and only grow.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable
from hashlib import sha256

import numpy as np
from sqlalchemy import select

from aggregator.storage.tables import AttemptRow, LedgerEntryRow, UploadRow
from client_sdk.attempt import Outcome
from client_sdk.decode import Unsealed
from client_sdk.finish import Finisher
from client_sdk.partner import Partner
from privacy.errors import ChoraleError
from privacy.ledger.chain import ChainVerifier
from privacy.protocol.http_contract import split_frame
from privacy.protocol.messages import Cohort, Confirmation, Join, Manifest, Opening, Seal, Signed, parse_signed
from tests.simulation.actors import PartnerActor, values_of
from tests.simulation.network import Headers
from tests.simulation.secrecy import leak, secrets_of
from tests.simulation.service import problem_title
from tests.simulation.world import World


class Broken(AssertionError):
    """An invariant failed."""


class Monitor:
    """`partners`: by name, filled by whoever makes the actors. `restored`: the service came back from a backup."""

    def __init__(self, world: World, n_min: int, rows: dict[str, int]) -> None:
        self.world = world
        self.partners: dict[str, PartnerActor] = {}
        self.broken: str | None = None
        self.restored = False
        self.recovered_at = 0.0
        self.lines: list[str] = []
        self.confirmed: dict[int, str] = {}
        self.outcomes: Counter[str] = Counter()
        self._n_min = n_min
        self._rows = rows
        self._first: dict[tuple[str, ...], str] = {}
        self._trained: dict[str, dict[str, str]] = defaultdict(dict)
        self._own: dict[str, list[bytes]] = defaultdict(list)
        self._chain = ChainVerifier()
        self._chain_lines: list[bytes] = []

    # --- telling --------------------------------------------------------------------------------------

    def say(self, who: str, text: str) -> None:
        self.lines.append(f"{self.world.scheduler.now - self.world.began:8.2f} {who}: {text}")

    def fail(self, text: str) -> None:
        self.broken = self.broken or text
        self.say("monitor", f"BROKEN {text}")

    def require(self, holds: bool, promise: str, text: Callable[[], str] | str) -> None:
        if not holds:
            self.fail(f"{promise}: {text if isinstance(text, str) else text()}")

    def once(self, promise: str, value: str, *what: str) -> None:
        """The same value each time that this is seen."""
        self.require(
            self._first.setdefault(what, value) == value, promise, lambda: f"two different {' '.join(what)[:120]}"
        )

    # --- what leaves a machine ------------------------------------------------------------------------

    def leaving(self, sender: str, method: str, target: str, headers: Headers, body: bytes) -> None:
        actor = self.partners.get(sender)
        if actor is None or actor.agent is None:
            return
        partner = actor.agent.partner
        found = leak(secrets_of(partner, self.world.machines[sender].memory), target, headers, body)
        self.require(found is None, "P2", f"a secret in {found} of {method} {target[:60]}")
        if not body:
            return
        parts = target.split("?")[0].split("/")
        if method == "POST" and parts[2] == "rounds":
            round_digest, kind = parts[3], parts[4]
            if kind == "joins":
                join = parse_signed(Join, body)
                self.once("P1", join.digest, "join", sender, round_digest)
            elif kind == "uploads" and len(parts) == 5:
                self._upload(partner, round_digest, body)
            elif kind == "openings":
                self._opening(partner, round_digest, body)
            elif kind == "confirmations":
                self._confirmation(partner, round_digest, parse_signed(Confirmation, body))
        elif method == "PUT":
            self.once("P1", sha256(body).hexdigest(), "shard", sender, target)

    def _upload(self, partner: Partner, round_digest: str, body: bytes) -> None:
        manifest = parse_signed(Manifest, split_frame(body)[0]).body
        # The columns as they stand on disk, whatever `record` says.
        written = partner.journal.query("SELECT cohort, manifest FROM attempt WHERE plan = ?", (round_digest,))
        cohort, kept = written[0] if written else (None, None)
        self.once("P1", sha256(body).hexdigest(), "upload", partner.name, round_digest)
        self.once("P1", manifest.cohort, "cohort", partner.name, round_digest)
        self.require(
            cohort == manifest.cohort, "P1", f"{partner.name} uploads for a cohort that is not on its disk"
        )
        self.require(kept is not None, "P1", f"{partner.name} sends an upload that is not on its disk")
        charges = partner.own_ledger.charges()
        self.require(round_digest in charges, "P3", f"{partner.name} uploads without a charge on its own chain")
        if round_digest in charges:
            self._trained[partner.name][round_digest] = charges[round_digest].row
            self._check_spent(partner.name)

    def _check_spent(self, name: str) -> None:
        for row, count in Counter(self._trained[name].values()).items():
            self.require(count <= self._rows[row], "P3", f"{name} trained {count} times in row {row}")

    def _opening(self, partner: Partner, round_digest: str, body: bytes) -> None:
        raw, boxes = split_frame(body)
        opening = parse_signed(Opening, raw).body
        record = partner.journal.record(round_digest)
        self.require(
            record is not None and record.seal is not None and record.opening == raw,
            "P1",
            f"{partner.name} sends an opening that is not in its journal",
        )
        if record is None or record.seal is None:
            return
        seal = parse_signed(Seal, record.seal).body
        self.require(opening.seal == seal.digest, "P1", "an opening of another seal than the journal's")
        self.once("P1", seal.contributors_digest, "set opened", partner.name, round_digest)
        self.once("P1", sha256(boxes).hexdigest(), "result boxes", partner.name, round_digest)
        self.require(len(seal.contributors) >= self._n_min, "P1", f"a set of {len(seal.contributors)} is opened")
        if record.receipt is not None:
            self.require(partner.name in seal.partners, "P4", f"{partner.name} opens a set that leaves it out")
        memory = self.world.machines[partner.name].memory
        kept = [path for path in memory.rglob(round_digest) if path.is_file()]
        self.require(not kept, "P1", f"{partner.name} sends an opening before its round key is wiped")

    def _confirmation(self, partner: Partner, round_digest: str, signed: Signed[Confirmation]) -> None:
        state = signed.body.state
        self.once("P4", state, "state confirmed", round_digest)
        path = partner.folder / "states" / f"{state}.state"
        self.require(path.exists(), "P4", f"{partner.name} confirms a state that is not on its disk")

    # --- what is decoded ------------------------------------------------------------------------------

    def decoded(self, name: str, finisher: Finisher, unsealed: Unsealed) -> None:
        length = finisher._plan.layout.length
        exact = np.zeros(length, dtype=np.int64)
        for contributor in unsealed.seal.partners:
            exact += values_of(contributor, finisher._round, length)
        self.require(np.array_equal(unsealed.opened.values, exact), "P4", f"{name} decoded another sum than U's")
        self.outcomes["sums"] += 1

    def ended(self, name: str, outcome: Outcome) -> None:
        self.outcomes[outcome.ended] += 1
        self.say(name, f"round {outcome.plan.round}, attempt {outcome.plan.attempt} is {outcome.ended}")
        if outcome.confirmed:
            self.once("P4", outcome.state.digest, "state reached", outcome.round_digest)

    # --- what is written ------------------------------------------------------------------------------

    def committed(self, machine: str, step: str) -> None:
        if machine == "service":
            self._service_committed()
        elif step in ("cohort accepted", "charge recovered"):
            self._own_chain(machine)

    def _own_chain(self, name: str) -> None:
        actor = self.partners[name]
        if actor.agent is None:
            return
        lines = actor.agent.partner.own_ledger.lines()
        before = self._own[name]
        self.require(lines[: len(before)] == before, "P5", f"{name}'s own chain lost or changed an entry")
        self._verify(ChainVerifier(own=True), lines, f"{name}'s own chain")
        self._own[name] = lines

    def _verify(self, chain: ChainVerifier, lines: list[bytes], whose: str) -> None:
        try:
            for line in lines:
                chain.add_line(line)
        except ChoraleError as error:
            self.fail(f"P5: {whose} does not verify: {error}")

    def _service_committed(self) -> None:
        with self.world.service.database.read() as session:
            rows = (
                session.query(LedgerEntryRow)
                .where(LedgerEntryRow.index > len(self._chain_lines))
                .order_by(LedgerEntryRow.index)
            )
            new = [bytes(row.entry) for row in rows]
            cohorts = session.query(AttemptRow).where(AttemptRow.cohort.is_not(None)).all() if new else []
        self._verify(self._chain, new, "the service's chain")
        self._chain_lines += new
        if not self.restored:
            self._contributors_whole()
        for attempt in cohorts:
            cohort = parse_signed(Cohort, attempt.cohort or b"").body
            if not self.restored:
                self.once("P1", cohort.digest, "cohort published", attempt.round)
            for member in cohort.partners:
                kind, _ = self._chain.totals.attempts.get((member, attempt.round), ("nothing", None))
                self.require(
                    kind in ("charge", "recovered"), "P3", f"a cohort is shown, and {member} is not charged"
                )

    def _contributors_whole(self) -> None:
        """U is everyone who holds a receipt."""
        with self.world.service.database.read() as session:
            query = select(UploadRow.round, UploadRow.partner).join(AttemptRow, AttemptRow.round == UploadRow.round)
            left_out = query.where(
                UploadRow.receipt.is_not(None),
                UploadRow.in_seal.is_(False),
                AttemptRow.state.in_(["summing", "opening", "confirmed"]),
            )
            found = session.execute(left_out).all()
        self.require(not found, "P4", lambda: f"a seal leaves out {found[0][1]}, which holds a receipt")

    def service_restored(self) -> None:
        """An older backup is in place: what the service knew since is gone, and partners are to notice."""
        self.say("service", "restored from an older backup")
        self.restored = True
        self._chain = ChainVerifier()
        self._chain_lines = []

    def service_recovered(self) -> None:
        """Partners have handed back what an older backup lacked: all that was promised holds on."""
        self.say("service", "restored from an older backup, and recovered")
        self.recovered_at = self.world.scheduler.now
        self._chain = ChainVerifier()
        self._chain_lines = []

    def answered(self, method: str, target: str, status: int, body: bytes) -> None:
        self.require(status != 500, "service", f"500 to {method} {target[:80]}: {problem_title(body)}")

    def known(self, what: str) -> list[tuple[tuple[str, ...], str]]:
        """What was seen of one kind, in order."""
        return [(key, value) for key, value in self._first.items() if key[0] == what]

    def published(self) -> list[str]:
        """Attempts whose cohort was shown."""
        return [key[1] for key, _ in self.known("cohort published")]

    def sent_opening(self, name: str, round_digest: str) -> bool:
        return ("set opened", name, round_digest) in self._first

    # --- at the end -----------------------------------------------------------------------------------

    def service_chain_whole(self) -> None:
        """After a start: what was on the chain is there still."""
        with self.world.service.database.read() as session:
            rows = [bytes(row.entry) for row in session.query(LedgerEntryRow).order_by(LedgerEntryRow.index)]
        known = self._chain_lines
        self.require(rows[: len(known)] == known, "P5", "the service's chain lost or changed an entry")

    def all_trained_is_charged(self) -> None:
        """Spent is at least what was truly spent, on both chains."""
        for name, rounds in self._trained.items():
            own = {json.loads(line)["budget"]["plan"] for line in self._own[name]}
            self.require(set(rounds) <= own, "P3", f"{name}'s own chain counts less than it trained for")
            if not self.restored:
                theirs = {
                    plan
                    for (who, plan), (kind, _) in self._chain.totals.attempts.items()
                    if who == name and kind in ("charge", "recovered")
                }
                self.require(
                    set(rounds) <= theirs, "P3", f"the service's chain counts less than {name} trained for"
                )
