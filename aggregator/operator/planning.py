"""The next plan of a campaign, from the charter's table and the narrowest lanes that hold its noise.

Everything but attempt number, state and deadlines follows from charter, campaign and row; check_plan is asked
before a plan is sent, so that no partner is the first to refuse it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, cast

from aggregator.operator.answers import Participant
from privacy.dp.audit import LONGEST_SUM
from privacy.dp.events import TableRow
from privacy.dp.mechanism import PROBES
from privacy.dp.planner import LANE_WIDTHS, plan_lanes
from privacy.errors import BudgetExhausted, ConfigurationError
from privacy.protocol.identifiers import OPERATOR
from privacy.protocol.messages import Campaign, Charter, Deadlines, Plan, Signed, VectorLayout
from privacy.protocol.plan_checks import check_plan
from privacy.protocol.signing import SigningKey, Verifier, sign


@dataclass(frozen=True)
class Phases:
    """The longest that partners are waited for, in seconds."""

    join: int
    upload: int
    open: int

    def __post_init__(self) -> None:
        if min(self.join, self.upload, self.open) < 1:
            raise ConfigurationError("phases of at least one second", str(self), "give each phase its time")

    def deadlines(self, now: float) -> Deadlines:
        join = int(now) + self.join
        return Deadlines(join=join, upload=join + self.upload, open=join + self.upload + self.open)


@dataclass(frozen=True)
class PublicScale:
    """For rows of kind *local* and *none*: units per 1.0 of a model delta, and the lanes that hold them."""

    scale: float
    lane_width: int

    def __post_init__(self) -> None:
        if not self.scale > 0 or self.lane_width not in LANE_WIDTHS:
            raise ConfigurationError(
                f"a scale above 0 and a lane width among {LANE_WIDTHS}", str(self), "give --scale and --lane-width"
            )


def table_row(charter: Charter, name: str | None) -> TableRow:
    """The row of this name, or the first."""
    if name is None:
        return charter.table[0]
    for row in charter.table:
        if row.name == name:
            return row
    raise ConfigurationError(
        f"a row of the charter's table ({', '.join(row.name for row in charter.table)})",
        name,
        "name one with --row",
    )


def vector_layout(
    charter: Charter,
    campaign: Campaign,
    row: TableRow,
    public: PublicScale | None,
    canaries: int | None = None,
) -> VectorLayout:
    """canaries: coordinates of a sum of canaries, for a row of kind *statistics* and for no other.

    Raises UnsafeParameters where no lane holds the noise, ConfigurationError where what the row needs is missing.
    """
    if (canaries is not None) != (row.event.kind == "statistics"):
        raise ConfigurationError(
            "--canaries for a row of kind statistics, and for no other",
            f"row {row.name} of kind {row.event.kind} {'with' if canaries is not None else 'without'} it",
            "name another row with --row, or give --canaries: statistics rounds are conducted for canaries alone",
        )
    if canaries is not None and not charter.n_max <= canaries <= LONGEST_SUM:
        raise ConfigurationError(
            f"{charter.n_max} to {LONGEST_SUM} coordinates for canaries",
            str(canaries),
            "give every partner a share of them: 20,000 each tell most",
        )
    if row.event.kind in ("distributed", "statistics"):
        lanes = plan_lanes(row.event.noise_multiplier, charter.honest, charter.n_max)
        return VectorLayout(
            parameters=campaign.length if canaries is None else canaries,
            probes=PROBES,
            lane_width=_width(lanes.width),
            shift=lanes.shift,
        )
    if public is None:
        raise ConfigurationError(
            f"a public scale for row {row.name} of kind {row.event.kind}",
            "none",
            "give --scale: units per 1.0 of a model delta",
        )
    return VectorLayout(
        parameters=campaign.length, probes=0, lane_width=_width(public.lane_width), shift=0, scale=public.scale
    )


def kind_of(row: TableRow) -> Literal["training", "statistics"]:
    """Of the rounds that use up this row."""
    return "statistics" if row.event.kind == "statistics" else "training"


def signed_plan(
    charter: Charter,
    campaign: Signed[Campaign],
    row: TableRow,
    layout: VectorLayout,
    *,
    number: int,
    attempt: int,
    base_state: str,
    deadlines: Deadlines,
    key: SigningKey,
    verifier: Verifier,
) -> Signed[Plan]:
    """The plan, signed, having passed check_plan."""
    plan = Plan(
        charter=charter.digest,
        campaign=campaign.digest,
        round=number,
        attempt=attempt,
        kind=kind_of(row),
        base_state=base_state,
        layout=layout,
        event=row.event,
        deadlines=deadlines,
    )
    signed = sign(plan, OPERATOR, key)
    check_plan(signed, charter, campaign.body, verifier)
    return signed


def check_room(charter: Charter, row: TableRow, participants: Sequence[Participant]) -> None:
    """Whether at least n_min partners have room for one more such event. Raises BudgetExhausted.

    The service decides when partners join; this spares them a round that could only be refused.
    """
    covering = {candidate.name for candidate in charter.table if row.event.fits_row(candidate.event)}
    without = [
        participant.partner
        for participant in participants
        if participant.partner in charter.partners
        and not any(held.left for held in participant.rows if held.name in covering)
    ]
    if charter.n_max - len(without) < charter.n_min:
        raise BudgetExhausted(
            f"room for another event of row {row.name} at {charter.n_min} partners or more",
            f"none at {', '.join(without)}",
            "conduct another row, or draft a charter for a new epoch",
        )


def _width(width: int) -> Literal[12, 16, 24]:
    return cast("Literal[12, 16, 24]", width)
