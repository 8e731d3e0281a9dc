"""What happened to a participant's data: privacy events, and the two guarantees they are read under.

Rules (protocol 6.1, 6.3, 6.4):
1. An event says what was done, never what it costs: the cost is the accountant's business.
2. A plan's event may use up a row of the charter's table only if it is of that row's kind, its sampling rate
   and steps are no larger, and its noise multiplier is no smaller.
3. Two guarantees hold at once. *Alone*: against whoever opens one update, whose noise is z / sqrt(h).
   *In the sum*: against everyone, c colluders included, who see at least h honest noises added: z.
   A *local* update carries its whole noise itself, so both read z.
"""

from __future__ import annotations

import math
from enum import Enum
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from privacy.errors import UnsafeParameters

EventKind = Literal["distributed", "local", "statistics", "none"]


class Guarantee(Enum):
    """The two guarantees of protocol 6.1."""

    ALONE = "alone"
    IN_SUM = "in_sum"


class PrivacyEvent(BaseModel):
    """One use of a participant's records.

    noise_multiplier: z, the noise's standard deviation over the clip, as it stands in the sum of h honest
        updates (kinds *distributed*, *statistics*) or in each step (*local*); 0 for *none*: no promise.
    sampling_rate: gamma in (0, 1], the chance of each record to be in a Poisson batch.
    steps: sampled Gaussians in one event; more than one in *local* and *none* only.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    kind: EventKind
    noise_multiplier: Annotated[float, Field(ge=0.0, le=1e6, allow_inf_nan=False)]
    sampling_rate: Annotated[float, Field(gt=0.0, le=1.0, allow_inf_nan=False)]
    steps: Annotated[int, Field(ge=1, le=1_000_000)] = 1

    @model_validator(mode="after")
    def _kind_agrees_with_numbers(self) -> Self:
        if (self.kind == "none") != (self.noise_multiplier == 0.0):
            raise ValueError("an event has noise multiplier 0 if and only if it is of kind none")
        if self.kind == "statistics" and self.sampling_rate != 1.0:
            raise ValueError("a statistics event reads every record: its sampling rate is 1")
        if self.kind in ("distributed", "statistics") and self.steps != 1:
            raise ValueError(f"a {self.kind} event is one Gaussian: its steps are 1")
        return self

    @property
    def described(self) -> str:
        """For people."""
        return (
            f"{self.kind}, noise multiplier {self.noise_multiplier}, sampling rate {self.sampling_rate},"
            f" {self.steps} step(s)"
        )

    def fits_row(self, row_event: PrivacyEvent) -> bool:
        """Whether a row of the table that was accounted as `row_event` covers this event (rule 2)."""
        return (
            self.kind == row_event.kind
            and self.sampling_rate <= row_event.sampling_rate
            and self.steps <= row_event.steps
            and self.noise_multiplier >= row_event.noise_multiplier
        )

    def noise_multiplier_for(self, guarantee: Guarantee, honest: int) -> float:
        """The multiplier the accountant uses; `honest` is h = n_min - c (protocol 6.1)."""
        if honest < 1:
            raise UnsafeParameters(
                "at least one honest contributor (n_min - c >= 1)",
                str(honest),
                "raise n_min or lower c in the charter",
            )
        if guarantee is Guarantee.ALONE and self.kind in ("distributed", "statistics"):
            return self.noise_multiplier / math.sqrt(honest)
        return self.noise_multiplier


class TableRow(BaseModel):
    """One line of the charter's table: an event, and how many times it may happen to each participant."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    name: Annotated[str, Field(min_length=1, max_length=64)]
    event: PrivacyEvent
    count: Annotated[int, Field(ge=0, le=1_000_000)]
