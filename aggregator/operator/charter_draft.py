"""A charter from a draft file: what people decide in TOML, the approved enrolments, and the noise that follows.

The file:

    consortium = "Lead discovery 2027"
    n_min = 5
    colluders = 1
    lead = "north"
    privacy_unit = "one compound with all its measurements"
    allow_none = false                 # the default
    filter_order = 7                   # or "best"; left out: the table as a whole must fit every cap (protocol 6.4)
    partners = ["north", "south"]      # left out: everyone approved

    [[table]]
    name = "training"
    kind = "distributed"
    target_epsilon = 8.0               # in the sum, for all `count` events of this row; or noise_multiplier = ...
    delta = 1e-5                       # with target_epsilon
    sampling_rate = 0.05
    steps = 1                          # the default
    count = 200

Rules:
1. A row has a noise multiplier or a target, never both; a target is turned into the smallest multiplier that
   meets it (accountant.calibrate_noise), and that number is what the charter holds.
2. What is drafted passes check_charter before it is signed: sizes, keys, and the whole table against every cap,
   or with `filter_order` that each row could happen.
3. `filter_order = "best"` becomes the order at which the most of this table fits, in its own proportions, at the
   partner that allows least; the charter holds that number. It is fixed before any event: taking the best order
   of what happened would be no filter (renyi.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from aggregator.operator.answers import CharterRecord
from privacy.dp.accountant import calibrate_noise, epsilon
from privacy.dp.events import EventKind, Guarantee, PrivacyEvent, TableRow
from privacy.dp.renyi import Order, OrderChoice, best_order
from privacy.errors import ConfigurationError, UnsafeParameters
from privacy.he.parameters import DEFAULT
from privacy.protocol.identifiers import ZERO_DIGEST, DisplayName, PartnerId
from privacy.protocol.messages import Charter, Enrolment, RosterEntry, SigningKeys
from privacy.protocol.toml_text import parse_toml


class _DraftModel(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class DraftRow(_DraftModel):
    """One row of the table, with a noise multiplier or with a target to calibrate it to."""

    name: str
    kind: EventKind
    noise_multiplier: Annotated[float, Field(ge=0)] | None = None
    target_epsilon: Annotated[float, Field(gt=0)] | None = None
    delta: Annotated[float, Field(gt=0, lt=1)] | None = None
    sampling_rate: Annotated[float, Field(gt=0, le=1)] = 1.0
    steps: Annotated[int, Field(ge=1)] = 1
    count: Annotated[int, Field(ge=1)]


class Draft(_DraftModel):
    """The file as written."""

    consortium: DisplayName
    n_min: int
    colluders: int
    lead: PartnerId
    privacy_unit: str
    table: tuple[DraftRow, ...]
    allow_none: bool = False
    filter_order: Order | Literal["best"] | None = None
    parameter_set: str = DEFAULT.name
    partners: tuple[PartnerId, ...] | None = None


@dataclass(frozen=True)
class Cost:
    """What the table, or one row of it, costs at `delta`.

    fits: how many of this row's events alone a charter with a filter allows, at the partner that allows least; no
    more than its count. Without a filter the count.
    """

    name: str
    noise_multiplier: float | None
    delta: float
    epsilon_in_sum: float
    epsilon_alone: float
    fits: int | None


def read_draft(path: Path) -> Draft:
    """Raises ConfigurationError with the field that is wrong."""
    try:
        return Draft.model_validate(parse_toml(path.read_bytes(), f"a draft in TOML at {path}"))
    except OSError as error:
        raise ConfigurationError(f"a draft in TOML at {path}", str(error), "correct the file") from None
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ConfigurationError(
            f"a usable draft in {path}", f"{where}: {first['msg']}", "correct this field"
        ) from None


def build_charter(
    draft: Draft,
    enrolments: Mapping[str, Enrolment],
    latest: CharterRecord | None,
    operator_keys: SigningKeys,
    server_keys: SigningKeys,
) -> Charter:
    """The charter, unsigned and not yet checked. latest: the newest charter or draft, verified by the caller."""
    names = sorted(enrolments if draft.partners is None else set(draft.partners))
    missing = [name for name in names if name not in enrolments]
    if missing:
        raise ConfigurationError(
            "an approved enrolment of every partner named", f"none of {', '.join(missing)}", "approve them first"
        )
    if draft.n_min > len(names):
        raise ConfigurationError(
            f"an n_min of at most {len(names)}, the partners on the roster",
            str(draft.n_min),
            f"the roster has {len(names)}: invite and approve more, or lower n_min",
        )
    epoch, previous = _place(latest)
    try:
        charter = Charter(
            consortium=draft.consortium,
            epoch=epoch,
            previous=previous,
            roster=tuple(_entry(enrolments[name]) for name in names),
            n_min=draft.n_min,
            colluders=draft.colluders,
            parameter_set=draft.parameter_set,
            privacy_unit=draft.privacy_unit,
            table=tuple(_row(row, draft) for row in draft.table),
            filter_order=None if draft.filter_order == "best" else draft.filter_order,
            allow_none=draft.allow_none,
            lead=draft.lead,
            operator_keys=operator_keys,
            server_keys=server_keys,
        )
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ConfigurationError(
            "a draft that makes a charter", f"{where}: {first['msg']}", "correct the draft"
        ) from None
    if draft.filter_order != "best":
        return charter
    return charter.model_copy(update={"filter_order": order_choice(charter).order})


def order_choice(charter: Charter) -> OrderChoice:
    """Rule 3. Raises UnsafeParameters where no order will do, or no row costs anything."""
    rows = [(row.event, row.count) for row in charter.table if row.event.kind != "none"]
    if not rows:
        raise UnsafeParameters(
            "a row that a filter could refuse", "rows of kind none alone", "leave filter_order out"
        )
    caps = [
        ({guarantee: entry.caps.epsilon_for(guarantee) for guarantee in Guarantee}, entry.caps.delta)
        for entry in charter.roster
    ]
    return best_order(rows, caps, max(1, charter.honest))


def costs(charter: Charter) -> tuple[Cost, ...]:
    """Each row, then the whole table, at the smallest delta that a partner caps; rows of kind none left out."""
    delta = min(entry.caps.delta for entry in charter.roster)
    rows = [row for row in charter.table if row.event.kind != "none"]
    found = [
        _cost(row.name, row.event.noise_multiplier, (row,), delta, charter.honest, _fits(row, charter))
        for row in rows
    ]
    return (*found, _cost("whole table", None, rows, delta, charter.honest, None))


def _fits(row: TableRow, charter: Charter) -> int:
    filters = [charter.filter_for(partner) for partner in charter.partners]
    return min([row.count, *(found.room_for((), row.event) for found in filters if found is not None)])


def _cost(
    name: str, multiplier: float | None, rows: Sequence[TableRow], delta: float, honest: int, fits: int | None
) -> Cost:
    counted = [(row.event, row.count) for row in rows]
    return Cost(
        name=name,
        noise_multiplier=multiplier,
        delta=delta,
        epsilon_in_sum=epsilon(counted, delta, Guarantee.IN_SUM, honest),
        epsilon_alone=epsilon(counted, delta, Guarantee.ALONE, honest),
        fits=fits,
    )


def _place(latest: CharterRecord | None) -> tuple[int, str]:
    """(epoch, previous): the successor of the charter in force; a draft that is not in force is replaced."""
    if latest is None:
        return 1, ZERO_DIGEST
    body = latest.charter.body
    return (body.epoch + 1, body.digest) if latest.in_force else (body.epoch, body.previous)


def _entry(enrolment: Enrolment) -> RosterEntry:
    return RosterEntry(
        partner=enrolment.partner,
        name=enrolment.name,
        signing_keys=enrolment.signing_keys,
        result_key=enrolment.result_key,
        caps=enrolment.caps,
    )


def _row(row: DraftRow, draft: Draft) -> TableRow:
    return TableRow(
        name=row.name,
        event=PrivacyEvent(
            kind=row.kind,
            noise_multiplier=_multiplier(row, draft),
            sampling_rate=row.sampling_rate,
            steps=row.steps,
        ),
        count=row.count,
    )


def _multiplier(row: DraftRow, draft: Draft) -> float:
    if row.kind == "none":
        if row.noise_multiplier or row.target_epsilon is not None:
            raise ConfigurationError(
                f"row {row.name} of kind none without noise or target", "one of them", "leave both out"
            )
        return 0.0
    if (row.noise_multiplier is None) == (row.target_epsilon is None):
        raise ConfigurationError(
            f"row {row.name} with noise_multiplier or target_epsilon, one of them",
            "both" if row.noise_multiplier is not None else "neither",
            "keep the one that was agreed",
        )
    if row.noise_multiplier is not None:
        return row.noise_multiplier
    if row.delta is None or row.target_epsilon is None:
        raise ConfigurationError(f"a delta beside row {row.name}'s target", "none", "add delta = ...")
    honest = max(1, draft.n_min - draft.colluders)
    return calibrate_noise(row.target_epsilon, row.delta, row.sampling_rate, row.count * row.steps, honest=honest)
