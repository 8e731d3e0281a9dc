"""A consortium on one machine: folders, settings files, and the project's own commands, each a process of its own.

Rules:
1. Everything goes through `chorale-server` and `chorale-partner`, as an operator and six partners would type it.
2. Every process started here is ended here, by its handle; its output goes to a log file in `logs/`.
3. Each party has a folder and a passphrase of its own. Nothing listens but the service, on loopback.
It knows nothing of molecules.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx

from privacy.errors import ServiceUnavailable
from privacy.randomness import SystemRandom

PARTNERS = ("aster", "birch", "clover", "dahlia", "elder", "fern")
START_SECONDS = 60
Result = TypeVar("Result")


class CommandFailed(Exception):
    """A command of the demo ended with an error; its own words are in the message."""


def each_of(parties: Iterable[str], task: Callable[[str], Result]) -> dict[str, Result]:
    """What the task gives for each party, as many at once as there are cores: its commands are processes."""
    names = tuple(parties)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return dict(zip(names, pool.map(task, names), strict=True))


@dataclass(frozen=True)
class Terms:
    """What a consortium's charter, campaign and conductor are told; two of them are in `terms.py`."""

    consortium: str
    partners: tuple[str, ...]
    rounds: int
    caps: Mapping[str, float]
    allow_none: bool
    charter: str
    campaign: str
    conduct: tuple[str, ...]

    @property
    def lead(self) -> str:
        return self.partners[0]


@dataclass
class Consortium:
    """The folders of one consortium below `folder`, and the processes that run in them."""

    folder: Path
    terms: Terms
    _running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    # --- folders -----------------------------------------------------------------------------------

    @property
    def operator(self) -> Path:
        return self.folder / "operator"

    @property
    def logs(self) -> Path:
        return self.folder / "logs"

    def partner_folder(self, partner: str) -> Path:
        return self.folder / "partners" / partner

    def record(self, partner: str) -> Path:
        """Where a partner's training script writes a line a round."""
        return self.partner_folder(partner) / "rounds.jsonl"

    def log(self, name: str) -> str:
        path = self.logs / f"{name}.log"
        return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""

    # --- commands ----------------------------------------------------------------------------------

    def server(self, *arguments: str, **options: Any) -> str:
        return self._command("aggregator.cli", "operator", arguments, **options)

    def partner(self, partner: str, *arguments: str, **options: Any) -> str:
        return self._command("client_sdk.cli", partner, arguments, **options)

    def start_service(self) -> None:
        """Start `chorale-server serve` and wait until it answers."""
        self._start("service", self._arguments("aggregator.cli", ("serve", str(self.folder))), "operator")
        url = self.url
        until = time.monotonic() + START_SECONDS
        while time.monotonic() < until:
            self.check_alive(("service",))
            try:
                if httpx.get(f"{url}/healthz", timeout=2).status_code == 200:
                    return
            except httpx.TransportError:
                time.sleep(0.2)
        raise ServiceUnavailable(f"an answer from {url}", "none", f"read {self.logs / 'service.log'}")

    def start_partners(self, script: Path, arguments: Sequence[Sequence[str]]) -> None:
        """Start `chorale-partner run SCRIPT ...` for every partner; arguments: one list a partner."""
        for partner, mine in zip(self.terms.partners, arguments, strict=True):
            command = self._arguments("client_sdk.cli", ("run", str(script), *mine))
            self._start(partner, command, partner)

    def start_conductor(self, campaign: str) -> subprocess.Popen[bytes]:
        """`chorale-server conduct` in the foreground: its progress is the demo's."""
        told = ("conduct", campaign, "--rounds", str(self.terms.rounds), "--yes", *self.terms.conduct)
        command = self._arguments("aggregator.cli", told)
        process = subprocess.Popen(command, env=self._environment("operator"))
        self._running["conductor"] = process
        return process

    def check_alive(self, names: Iterable[str]) -> None:
        for name in names:
            code = self._running[name].poll()
            if code not in (None, 0):
                raise CommandFailed(f"{name} ended with {code}:\n{self.log(name)[-3000:]}")

    def wait(self, names: Iterable[str], seconds: float) -> None:
        """Until these have ended well. Raises CommandFailed."""
        until = time.monotonic() + seconds
        for name in names:
            try:
                self._running[name].wait(max(0.1, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                raise CommandFailed(f"{name} still ran after {seconds:.0f} s:\n{self.log(name)[-3000:]}") from None
            self.check_alive((name,))

    def stop(self) -> None:
        """End what still runs, partners first."""
        for process in reversed(self._running.values()):
            if process.poll() is None:
                process.terminate()
        for process in self._running.values():
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    # --- making it ---------------------------------------------------------------------------------

    def make_folders(self) -> None:
        for party in ("operator", *self.terms.partners):
            secret = self._passphrase(party)
            secret.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            secret.write_text(SystemRandom().bytes(16).hex() + "\n", encoding="ascii")
            secret.chmod(0o600)
        self.logs.mkdir(parents=True, exist_ok=True)

    def constitute(self, records: Sequence[int], step: Any) -> None:
        """Init, serve, invite, enrol, approve, draft, accept. records: compounds that each partner holds."""
        step("init")
        self.server("init", str(self.folder), "--port", str(_free_port()))
        self.start_service()
        held = dict(zip(self.terms.partners, records, strict=True))
        step("invitations")
        invited = json.loads(self.server("invite", *self.terms.partners, "--json"))["invitations"]
        tokens = {one["partner"]: one["token"] for one in invited}

        def enrol(partner: str) -> None:
            step(f"enrol {partner}")
            folder = self.partner_folder(partner)
            folder.mkdir(parents=True, mode=0o700)
            (folder / "partner.toml").write_text(self._partner_toml(partner, held[partner]), encoding="utf-8")
            (folder / "invitation").write_text(tokens[partner], encoding="ascii")
            self.partner(partner, "enrol", "--token-file", str(folder / "invitation"))
            self.server("approve", partner, "--yes")

        each_of(self.terms.partners, enrol)
        step("charter")
        draft = self.operator / "charter.toml"
        draft.write_text(self.terms.charter, encoding="utf-8")
        charter = json.loads(self.server("charter", "draft", str(draft), "--yes", "--json"))["charter"]

        def accept(partner: str) -> None:
            step(f"{partner} accepts the charter")
            self.partner(partner, "charter", "accept", "--digest", charter)

        each_of(self.terms.partners, accept)

    def sign_campaign(self) -> str:
        path = self.partner_folder(self.terms.lead) / "campaign.toml"
        path.write_text(self.terms.campaign, encoding="utf-8")
        return str(json.loads(self.partner(self.terms.lead, "campaign", "sign", str(path), "--json"))["campaign"])

    @property
    def url(self) -> str:
        for line in (self.operator / "operator.toml").read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition("=")
            if name.strip() == "url":
                return value.strip().strip('"')
        raise CommandFailed(f"no url in {self.operator / 'operator.toml'}")

    def _partner_toml(self, partner: str, records: int) -> str:
        caps = self.terms.caps
        return (
            f'[partner]\nid = "{partner}"\nname = "{partner.title()} Pharma"\n\n[server]\nurl = "{self.url}"\n\n'
            f"[caps]\nepsilon_alone = {caps['alone']}\nepsilon_in_sum = {caps['in_sum']}\n"
            f"delta = {caps['delta']}\n\n[policy]\nmax_epsilon_alone = {caps['alone']}\n"
            f"max_epsilon_in_sum = {caps['in_sum']}\nrecords = {records}\n"
            f"allow_unprotected = {str(self.terms.allow_none).lower()}\n"
        )

    def _passphrase(self, party: str) -> Path:
        return self.folder / "passphrases" / party

    def _environment(self, party: str) -> dict[str, str]:
        environment = {**os.environ, "CHORALE_PASSPHRASE_FILE": str(self._passphrase(party))}
        environment |= {"OMP_NUM_THREADS": "1", "CHORALE_OPERATOR_FOLDER": str(self.operator)}
        environment["PYTHONPATH"] = str(Path(__file__).resolve().parents[2])
        if party != "operator":
            environment["CHORALE_PARTNER_CONFIG"] = str(self.partner_folder(party) / "partner.toml")
        return environment

    @staticmethod
    def _arguments(module: str, arguments: Sequence[str]) -> list[str]:
        script = {"aggregator.cli": "chorale-server", "client_sdk.cli": "chorale-partner"}[module]
        return [str(Path(sys.executable).parent / script), *arguments]

    def _command(self, module: str, party: str, arguments: Sequence[str]) -> str:
        done = subprocess.run(
            self._arguments(module, arguments),
            env=self._environment(party),
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise CommandFailed(f"{' '.join(arguments)} by {party}:\n{done.stderr[-3000:]}{done.stdout[-1000:]}")
        return done.stdout

    def _start(self, name: str, command: Sequence[str], party: str) -> None:
        with (self.logs / f"{name}.log").open("ab") as log:
            self._running[name] = subprocess.Popen(
                command,
                env=self._environment(party),
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
            )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
