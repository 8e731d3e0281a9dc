"""One seed: a consortium of its own size, its own weather, two rounds, and every check at every step.

Rules:
1. The seed alone decides everything but bytes that OpenSSL draws: a seed replays.
2. Storms end at `heal`. From then on, if enough partners can open, every attempt ends, the last round is confirmed
   or the operator says why not, and every partner stands on one state or has stated why it does not.
"""

from __future__ import annotations

import gc
import logging
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import structlog

from aggregator.operator.conductor import Assignment
from aggregator.operator.planning import Phases, vector_layout
from aggregator.storage import ledger
from client_sdk.journal import AttemptRecord
from privacy.errors import BudgetExhausted, ChoraleError, LedgerBroken, RolledBack
from privacy.protocol.messages import Cohort, parse_signed
from privacy.protocol.round_state import RoundState, quorum
from tests.simulation.actors import OperatorActor, PartnerActor, Watched
from tests.simulation.faults import Faults
from tests.simulation.monitor import Monitor
from tests.simulation.scheduler import Scheduler
from tests.simulation.seams import installed
from tests.simulation.world import OPERATOR_KEY, Constituted, Shape, World, consortium

SHAPES = (
    *3 * [Shape(3, 3, 1)],
    *4 * [Shape(4, 3, 1)],
    *4 * [Shape(5, 3, 1)],
    *2 * [Shape(5, 4, 2)],
    *2 * [Shape(7, 4, 2)],
    Shape(12, 4, 2),
)
"""How often each is drawn: mostly few partners, for what goes wrong among many goes wrong among few, and sooner."""
RATES = {
    "crash": 0.004,
    "reboot": 0.1,
    "full": 0.002,
    "restore": 0.5,
    "drop": 0.01,
    "lose answer": 0.01,
    "cut": 0.01,
    "cut answer": 0.005,
    "delay": 0.02,
    "repeat": 0.02,
    "corrupt": 0.004,
    "corrupt answer": 0.002,
}
ATTEMPTS = 20
PHASES = Phases(join=25, upload=25, open=40)
STORM_SECONDS = 150.0
CALM_SECONDS = 600.0
QUARANTINE_SECONDS = 400.0
"""A restored service takes no request for five minutes that it might have taken before; clocks run off besides."""
LAST_SECONDS = 120.0
"""After the storm: the longest that the phases of an attempt take which began in it, and some."""


@dataclass(frozen=True)
class Result:
    """`broken`: the invariant that failed, or None. `faults`: what went wrong on purpose, in order."""

    seed: int
    shape: Shape
    broken: str | None
    faults: tuple[str, ...]
    lines: tuple[str, ...]
    steps: int
    sums: int


def run(seed: int, only: Collection[str] | None = None) -> Result:
    """Raises nothing for an invariant that fails: the result says it."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    draw = Faults(seed, lambda: 0.0, 0.0, {})
    shape = draw.choose("shape", SHAPES)
    # A third of the seeds are calm, a third rough, a third stormy.
    weather = draw.choose("weather", (0.2, 1.0, 3.0))
    drift = draw.choose("drift", (0.0, 2.0, 60.0))
    rates = {
        kind: min(1.0, rate * weather) * draw.choose(f"rate {kind}", (0.0, 1.0, 2.0))
        for kind, rate in RATES.items()
    }
    rounds = draw.choose("rounds", (1, 1, 2))
    backups = draw.choose("backups", (False, False, False, True))
    rates["restore"] = RATES["restore"] if backups else 0.0
    rates["recover"] = draw.choose("recovers", (0.0, 1.0))
    with consortium(shape) as made:
        return _Run(seed, made, rates, drift, rounds, None if only is None else frozenset(only)).run()


class _Run:
    def __init__(
        self,
        seed: int,
        made: Constituted,
        rates: dict[str, float],
        drift: float,
        rounds: int,
        only: frozenset[str] | None,
    ) -> None:
        self.made = made
        self.seed = seed
        self.rounds = rounds
        start = made.began + 10.0
        self.heal = start + STORM_SECONDS

        def faults(scheduler: Scheduler) -> Faults:
            return Faults(seed, lambda: scheduler.now, self.heal, rates, only)

        self.world = World(made.root, start, faults, drift)
        self.world.seams.migrated = True
        rows = {row.name: row.count for row in made.charter.table}
        self.monitor = Monitor(self.world, made.charter.n_min, rows)
        self.world.network.watch = self.monitor.leaving
        self.world.network.answered = self.monitor.answered
        self.world.seams.committed = self.monitor.committed
        self.world.seams.decoded = self.monitor.decoded
        self.world.seams.logged = self._logged
        self.world.restored = self.monitor.service_restored
        self.world.recovered = self.monitor.service_recovered
        self.world.started = self.monitor.service_chain_whole

    def run(self) -> Result:
        world, monitor = self.world, self.monitor
        watched = Watched(monitor.say, monitor.fail, monitor.ended)
        with installed(world.seams):
            world.service.start()
            self.operator = self._operator(watched)
            for name in self.made.names:
                machine = world.machine(name)
                clock = world.clock(name)
                actor = PartnerActor(machine, world.network, clock, watched, self.made.campaign.digest)
                world.acts(machine, actor.greenlet)
                monitor.partners[name] = actor
            try:
                world.scheduler.run(self.heal + CALM_SECONDS, self._over)
            except Exception as error:  # noqa: BLE001 - whatever escapes a program is a finding
                monitor.fail(f"{error!r}")
            if monitor.broken is None:
                self._check_end()
            self._end()
        faults = world.faults
        return Result(
            self.seed,
            self.made.shape,
            monitor.broken,
            tuple(faults.happened),
            tuple(monitor.lines),
            world.scheduler.steps,
            monitor.outcomes["sums"],
        )

    def _operator(self, watched: Watched) -> OperatorActor:
        charter = self.made.charter
        row = next(row for row in charter.table if row.name == "training")
        layout = vector_layout(charter, self.made.campaign.body, row, None)
        assignment = Assignment(charter, self.made.campaign, row, layout, PHASES, self.rounds, ATTEMPTS)
        machine = self.world.machine("operator")
        clock = self.world.clock("operator")
        actor = OperatorActor(machine, self.world.network, clock, watched, OPERATOR_KEY, assignment)
        self.world.acts(machine, actor.greenlet)
        return actor

    def _logged(self, event: str, fields: dict[str, Any]) -> None:
        self.monitor.say("service", f"logged {event}")

    # --- the end --------------------------------------------------------------------------------------

    def _over(self) -> bool:
        if self.monitor.broken is not None:
            return True
        if self.world.scheduler.now < self.world.began + 1:
            return False
        if self.operator.finished:
            return not self._behind()
        settled = max(self.heal, self.monitor.recovered_at + QUARANTINE_SECONDS)
        if self.world.scheduler.now < settled + LAST_SECONDS or self.world.scheduler.steps % 10:
            return False
        # Nothing more is to come: the operator has stated why it ends, or nothing can end the attempt under way.
        return self._stated(self.operator.last_error) or self._too_few()

    def _behind(self) -> list[str]:
        """Partners that do not stand on the last confirmed state."""
        wanted = self._last_state()
        return [name for name in self.made.names if self._stands_on(name) != wanted]

    def _last_state(self) -> str:
        states = [state for (what, *_), state in self.monitor.known("state reached")]
        return states[-1] if states else self.made.campaign.body.genesis

    def _stands_on(self, name: str) -> str | None:
        agent = self.monitor.partners[name].agent
        return None if agent is None else agent.partner.journal.stands_on(self.made.campaign.digest)

    def _check_end(self) -> None:
        monitor = self.monitor
        monitor.all_trained_is_charged()
        gave_up = self.operator.last_error
        if not self.operator.finished and not self._stated(gave_up) and not self._too_few():
            monitor.fail(f"liveness: the last round is not confirmed, and the operator said {gave_up!s}")
        self._check_calm_attempts()
        for name in self._behind():
            error = monitor.partners[name].last_error
            if self.operator.finished and not self._stated(error):
                monitor.fail(f"liveness: {name} does not stand on the last state, and said {error!s}")

    def _check_calm_attempts(self) -> None:
        """Every attempt that began after the storm is confirmed, unless nobody has budget left to join it."""
        for digest, round_number, state, cause in self.world.service.attempts(self.heal):
            if state not in ("confirmed", "joining") and cause not in ("too-few-joined", "aborted"):
                self.monitor.fail(
                    f"liveness: round {round_number} began in calm and is {state} {cause} {digest[:8]}"
                )

    def _stated(self, error: ChoraleError | None) -> bool:
        """A refusal that this run gives cause for."""
        if isinstance(error, LedgerBroken | RolledBack):
            return self.monitor.restored
        return isinstance(error, BudgetExhausted) and self._spent()

    def _spent(self) -> bool:
        """Somebody's row is used up, by the service's ledger or by its own: counted too much, it would not be."""
        charter, budgets = self.made.charter, []
        if self.world.service.up:
            with self.world.service.database.read() as session:
                budgets += [ledger.budget(session, charter, charter.digest, name) for name in self.made.names]
        agents = [self.monitor.partners[name].agent for name in self.made.names]
        budgets += [agent.partner.own_ledger.budget(charter) for agent in agents if agent is not None]
        row = next(row for row in charter.table if row.name == "training")
        return any(budget.taken(row.name) >= row.count for budget in budgets)

    def _too_few(self) -> bool:
        """Fewer than t members of an attempt's cohort could open it in all of its time: nothing else can end it."""
        service = self.world.service
        ended = {digest for digest, _, state, _ in service.attempts(0.0) if RoundState(state).ended}
        young = {digest for digest, *_ in service.attempts(self.world.scheduler.now - LAST_SECONDS)}
        for digest in self.monitor.published():
            if digest in ended | young:
                continue
            records = [self._record(name, digest) for name in self.made.names]
            cohorts = [record.signed_cohort for record in records if record is not None and record.signed_cohort]
            if any(record is not None and record.ending for record in records) or not cohorts:
                continue
            members = parse_signed(Cohort, cohorts[0]).body.partners
            able = [name for name in members if self._able(name, self._record(name, digest))]
            if len(able) < quorum(len(members), self.made.charter.colluders):
                return True
        return False

    def _record(self, name: str, digest: str) -> AttemptRecord | None:
        agent = self.monitor.partners[name].agent
        return None if agent is None else agent.partner.journal.record(digest)

    def _able(self, name: str, record: AttemptRecord | None) -> bool:
        if record is None:
            return False
        return record.opening is not None and self.monitor.sent_opening(name, record.plan)

    def _end(self) -> None:
        """Everything is unwound, so that nothing of this run reaches into the next."""
        for machine in self.world.machines.values():
            machine.dead = True
        for actor in (self.operator, *self.monitor.partners.values()):
            actor.over = True
            self.world.scheduler.kill(actor.greenlet)
        self.world.service.dead = True
        self.world.service.stop()
        gc.collect()
