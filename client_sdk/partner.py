"""One partner at work in one folder: its settings, keys, journal, ledger and line to the service.

Everything that acts (upload, opening, decode, states) takes a `Partner`; nothing here acts by itself. The folder is
locked for as long as it is open, unless it is open to be read beside another process.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Final

import httpx

from client_sdk.answers import RoundDocument
from client_sdk.durable import FolderLock, make_folder
from client_sdk.journal import Journal
from client_sdk.journal_file import JOURNAL_NAME
from client_sdk.keystore import PartnerKeys, Passphrase, load_keys
from client_sdk.ledger_watch import LedgerWatch
from client_sdk.own_ledger import OwnLedger
from client_sdk.progress import Progress, Silent
from client_sdk.round_keys import RoundKeys, memory_disk
from client_sdk.service import Service
from client_sdk.settings import LoadedSettings, Settings, load_settings
from client_sdk.shards import ShardFolder
from client_sdk.transport import LONG_POLL_SECONDS, Identity, Transport
from privacy.clock import Clock, SystemClock
from privacy.errors import ConfigurationError, FolderInUse
from privacy.he.lanes import LaneLayout
from privacy.protocol.identifiers import OPERATOR
from privacy.protocol.messages import BodyT, Charter, CharterAcceptance, Plan, Signed, parse_signed
from privacy.protocol.round_state import RoundState
from privacy.protocol.signing import Verifier, sign
from privacy.randomness import RandomSource, SystemRandom
from privacy.report.signature import Known

PINNED_CHARTER: Final = "pinned charter"
_PINNED_BEFORE: Final = "pinned before "
_ACCEPTED_BEFORE: Final = "accepted before "
GATHERING_SECONDS: Final = 0.05
_KEY_TAKEN: Final = "round key taken "


@dataclass(frozen=True)
class Outside:
    """What a partner needs of the world around it, passed in."""

    clock: Clock
    source: RandomSource
    progress: Progress
    sleep: Callable[[float], None] = time.sleep
    handler: httpx.BaseTransport | None = None

    @classmethod
    def system(cls, progress: Progress | None = None) -> Outside:
        return cls(SystemClock(), SystemRandom(), progress or Silent())


class Partner:
    """An open folder. Use as a context; raises FolderInUse, KeystoreLocked, LedgerBroken, ConfigurationError."""

    def __init__(
        self, loaded: LoadedSettings, keys: PartnerKeys, journal: Journal, lock: FolderLock | None, outside: Outside
    ) -> None:
        self.settings: Settings = loaded.settings
        self.folder: Path = loaded.folder
        self.officer_key: Path | None = loaded.officer_key
        self.name: str = loaded.settings.partner.id
        self.keys = keys
        self.journal = journal
        self.outside = outside
        self.progress = outside.progress
        self.verifier = Verifier()
        self.own_ledger = OwnLedger(journal, self.name)
        self.round_keys = RoundKeys(bytes.fromhex(keys.signing.public.ed25519), memory_disk())
        self._lock = lock
        self.transport = Transport(
            self.settings.server.url,
            Identity(self.name, keys.signing),
            outside.clock,
            outside.source,
            patience=self.settings.server.patience,
            progress=outside.progress,
            handler=outside.handler,
            sleep=outside.sleep,
        )
        self.service = Service(self.transport)

    @classmethod
    def open(cls, config: Path, outside: Outside, passphrase: Passphrase | None = None) -> Partner:
        loaded = load_settings(config)
        folder = make_folder(loaded.folder)
        lock = FolderLock(folder)
        try:
            keys = load_keys(folder, passphrase)
            journal = Journal(folder / JOURNAL_NAME)
            try:
                return cls(loaded, keys, journal, lock, outside)
            except BaseException:
                journal.close()
                raise
        except BaseException:
            lock.release()
            raise

    @classmethod
    def open_to_read(cls, config: Path, outside: Outside, passphrase: Passphrase | None = None) -> Partner:
        """As `open`; where another process uses the folder, a snapshot of it that nothing is written to."""
        try:
            return cls.open(config, outside, passphrase)
        except FolderInUse:
            loaded = load_settings(config)
            keys = load_keys(loaded.folder, passphrase)
            journal = Journal(loaded.folder / JOURNAL_NAME, reading=True)
            try:
                return cls(loaded, keys, journal, None, outside)
            except BaseException:
                journal.close()
                raise

    @property
    def is_snapshot(self) -> bool:
        """Whether another process uses the folder, so that what is read here may be older than what it does."""
        return self._lock is None

    def close(self) -> None:
        self.transport.close()
        self.journal.close()
        if self._lock is not None:
            self._lock.release()

    def __enter__(self) -> Partner:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def now(self) -> int:
        return int(self.outside.clock.now())

    def sign(self, body: BodyT) -> Signed[BodyT]:
        return sign(body, self.name, self.keys.signing)

    def wait_round(self, round_digest: str, seen: int, seconds: int = LONG_POLL_SECONDS) -> RoundDocument:
        """The round document once it is newer than `seen`, or after `seconds`.

        A moment's pause first: what n partners do within it comes as one change, not n.
        """
        self.outside.sleep(GATHERING_SECONDS)
        return self.service.round(round_digest, seen, seconds)

    def wait_until(
        self,
        round_digest: str,
        state: RoundState,
        holds: Callable[[RoundDocument], bool],
        meanwhile: Callable[[], object] = lambda: None,
    ) -> RoundDocument:
        """The round document once this holds or the attempt has ended; asked for once a state, from `state` on.

        meanwhile: called whenever a long poll's time was up. Whatever states a service tells, and however fast, it
        is not asked again without a pause.
        """
        document = self.service.round_past(round_digest, state)
        while not (holds(document) or document.state.ended):
            if document.state is state:
                meanwhile()
            self.outside.sleep(GATHERING_SECONDS)
            state = document.state
            document = self.service.round_past(round_digest, state)
        return document

    # --- the pinned charter ---------------------------------------------------------------------------

    @cached_property
    def charter(self) -> Charter:
        """The charter that this partner accepted and pinned. Raises ConfigurationError before that."""
        raw = self.journal.fact(PINNED_CHARTER)
        if raw is None:
            raise ConfigurationError(
                "a charter that this partner accepted", "none", "run: chorale-partner charter accept"
            )
        signed = parse_signed(Charter, raw)
        return self.verifier.verify(signed, {OPERATOR: signed.body.operator_keys})

    def charters(self) -> list[Signed[Charter]]:
        """Every charter that this partner accepted, the oldest first: its own ledger was written under them."""
        kept = self.journal.facts(_PINNED_BEFORE)
        return sorted((parse_signed(Charter, raw) for raw in kept), key=lambda signed: signed.body.epoch)

    def acceptance(self, charter: Charter) -> Signed[CharterAcceptance]:
        """Its acceptance of a charter: signed anew, or as it was, where it was by keys that were lost since."""
        kept = self.journal.fact(_ACCEPTED_BEFORE + charter.digest)
        if kept is not None:
            return parse_signed(CharterAcceptance, kept)
        return self.sign(CharterAcceptance(charter=charter.digest, partner=self.name))

    def remember(self, charter: Signed[Charter], acceptance: Signed[CharterAcceptance]) -> None:
        """A charter that this partner accepted with keys that are lost."""
        self.journal.set_fact(_ACCEPTED_BEFORE + charter.digest, acceptance.canonical_bytes)
        self.journal.set_fact(_PINNED_BEFORE + charter.digest, charter.canonical_bytes)

    def pin(self, charter: Signed[Charter]) -> None:
        self.journal.set_fact(_PINNED_BEFORE + charter.digest, charter.canonical_bytes)
        self.journal.set_fact(PINNED_CHARTER, charter.canonical_bytes)
        self.__dict__.pop("charter", None)
        self.__dict__.pop("ledger_watch", None)

    @cached_property
    def ledger_watch(self) -> LedgerWatch:
        return LedgerWatch(
            self.journal,
            self.own_ledger,
            self.name,
            self.charter,
            self.verifier,
            self.outside.clock,
            {signed.digest: signed.body for signed in self.charters()},
        )

    def take_round_key(self, round_digest: str) -> bool:
        """Wipe the key of an attempt that was opened; whether it was this folder that took it, now or before.

        That it did is written down: after a restart, a key that is gone could have been taken by another copy of
        this folder, which may have opened another set. A crash between the two writes costs this partner's
        opening.
        """
        if self.journal.fact(_KEY_TAKEN + round_digest) is not None:
            return True
        if not self.round_keys.claim(round_digest) and self.round_keys.outlive_the_process:
            return False
        self.journal.set_fact(_KEY_TAKEN + round_digest, b"taken")
        return True

    def wipe_old_keys(self) -> None:
        """Round keys of attempts that are over, opened or past their deadline (protocol 5.3)."""
        now = self.now()
        under_way = set()
        for record in self.journal.records(unfinished=True):
            if record.opening is not None:
                self.take_round_key(record.plan)
            elif record.open_deadline >= now:
                under_way.add(record.plan)
        self.round_keys.wipe_all_but(under_way)

    def lanes(self, plan: Plan) -> LaneLayout:
        return LaneLayout(plan.layout.lane_width, self.charter.n_max)

    def polynomials(self, plan: Plan) -> int:
        return self.lanes(plan).polynomials(plan.layout.length)

    def upload_folder(self, round_digest: str) -> ShardFolder:
        return ShardFolder(make_folder(self.folder / "uploads") / round_digest)

    def sum_folder(self, round_digest: str) -> ShardFolder:
        return ShardFolder(make_folder(self.folder / "sums") / round_digest)


def accepted_charters(config: Path) -> Known:
    """The charters that the partner with these settings accepted; needs no passphrase, and may run beside another.

    Raises ConfigurationError where there are none.
    """
    path = load_settings(config).folder / JOURNAL_NAME
    accepted: frozenset[str] = frozenset()
    if path.exists():
        journal = Journal(path)
        try:
            accepted = frozenset(parse_signed(Charter, raw).digest for raw in journal.facts(_PINNED_BEFORE))
        finally:
            journal.close()
    if not accepted:
        raise ConfigurationError(
            f"charters that this partner accepted, in {path}", "none", "give --charter with the hash you know"
        )
    return Known("this partner's journal", accepted)
