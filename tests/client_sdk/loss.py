"""A service that is lost after a backup, and the partners that go on without it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from threading import Barrier

from aggregator.backup.making import make_backup
from aggregator.backup.restoring import restore
from aggregator.settings import Settings
from aggregator.storage.folder import create_server_folder
from client_sdk.agent import Agent
from client_sdk.attempt import Attempt, Outcome
from client_sdk.handing_back import recovery_lines
from client_sdk.model_state import ModelState
from privacy.clock import SystemClock
from privacy.ledger.handed_back import HandedBack, read
from privacy.protocol.identifiers import OPERATOR
from privacy.protocol.messages import Campaign, Confirmation, Plan, Signed, parse_signed
from privacy.protocol.signing import SigningKey, sign
from privacy.randomness import SystemRandom
from tests.client_sdk.choir import Choir, outside, serving, take_part, together
from tests.consortium import SeededSource


class ShiftedClock:
    """The system's, and what a test lets pass besides: so long a service without its nonces takes nothing."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def now(self) -> float:
        return SystemClock().now() + self.ahead


CLOCK = ShiftedClock()
ROOT = Path(__file__).parents[2]


def quiet(place: int, of: int) -> None:
    del place, of


@dataclass
class Lost:
    """Three partners after a loss: the backup is from after round 1; then round 2 was confirmed, round 3 charged.

    early, lines: what each partner hands back, from before round 3 and from the end.
    """

    choir: Choir
    campaign: Campaign
    first: ModelState
    second: ModelState
    backup: Path
    server_key: Path
    operator_key: SigningKey
    posted: list[Signed[Plan]]
    early: dict[str, list[bytes]]
    lines: dict[str, list[bytes]] = field(default_factory=dict)

    def files(self, names: Sequence[str] | None = None) -> list[HandedBack]:
        return [read(self.lines[name]) for name in names or self.choir.names]

    def restored(self, target: Path) -> Settings:
        restore(self.backup, target, self.server_key, quiet)
        return Settings.load(target)

    @contextmanager
    def served(self, settings: Settings, root: Path) -> Iterator[Choir]:
        """The restored service, and the same partners in copies of their folders, who are told its address."""
        with serving(settings, CLOCK) as url:
            CLOCK.ahead += 301
            three = copy(self.choir)
            three.root, three.url = root / "partners", url
            three._http.base_url = url
            for name in three.names:
                shutil.copytree(self.choir.root / name, three.root / name)
                config = three.config(name)
                config.write_text(config.read_text().replace(self.choir.url, url))
            yield three


def handed_back(three: Choir) -> dict[str, list[bytes]]:
    found = {}
    for name in three.names:
        with three.partner(name) as partner:
            found[name] = list(recovery_lines(partner))
    return found


def stands_on(files: dict[str, list[bytes]]) -> str:
    """The state that the last confirmation in everyone's file names."""
    said = [[line for line in lines if b'"type":"chorale/1 confirmation"' in line][-1] for lines in files.values()]
    (state,) = {parse_signed(Confirmation, line.strip()).body.state for line in said}
    return state


def join_only(agent: Agent, campaign: Campaign) -> None:
    """Accepts a cohort, and is gone before it uploads."""
    for item in agent.attend(campaign, agent.current_state(campaign), take_part=True):
        assert isinstance(item, Attempt)
        agent.join(item)
        return


def lose(root: Path) -> Lost:
    operator = SigningKey.generate(SeededSource("operator key"))
    settings = Settings(folder=root / "server", shard_bytes=32768, sum_workers=1)
    create_server_folder(settings.folder, operator.public, SystemRandom(), shard_bytes=32768)
    posted: list[Signed[Plan]] = []
    with serving(settings, CLOCK) as url:
        three = Choir(root, url, operator, around=partial(outside, clock=CLOCK))
        _, campaign, state = three.constitute()

        def act(name: str) -> Outcome:
            with three.agent(name) as agent:
                return take_part(agent, campaign)

        early: dict[str, list[bytes]] = {}
        posting, joining = Barrier(4), Barrier(4)

        def two_rounds(name: str) -> ModelState:
            """In one go, so that no ledger is looked at between the confirmations of round 2 and the loss."""
            with three.agent(name) as agent:
                state = take_part(agent, campaign).state
                early[name] = list(recovery_lines(agent.partner))
                posting.wait(60)
                joining.wait(60)
                join_only(agent, campaign)
                return state

        posted.append(sign(three.post_plan(campaign, state.digest), OPERATOR, operator))
        first = together(three.names, act)["partner-01"].state
        make_backup(settings, root / "backup", CLOCK, quiet)
        posted.append(sign(three.post_plan(campaign, first.digest, round=2), OPERATOR, operator))
        with ThreadPoolExecutor(1) as pool:
            running = pool.submit(together, three.names, two_rounds)
            posting.wait(60)
            plan = three.post_plan(campaign, stands_on(early), round=3)
            posted.append(sign(plan, OPERATOR, operator))
            joining.wait(60)
            second = running.result()["partner-01"]
    shutil.copy(settings.folder / "server.key", root / "server.key")
    shutil.rmtree(settings.folder)
    backup, key = root / "backup", root / "server.key"
    return Lost(three, campaign, first, second, backup, key, operator, posted, early, handed_back(three))
