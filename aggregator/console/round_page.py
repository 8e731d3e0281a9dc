"""What the page of one round attempt shows: who took part, how far each came, what was signed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.orm import Session

from aggregator.rounds.confirmation import confirmations_of
from aggregator.rounds.document import round_document
from aggregator.rounds.records import charter_of, find, plan_of, state_of
from aggregator.storage.service import Service, stored
from aggregator.storage.tables import ConfirmationRow
from privacy.dp.events import Guarantee
from privacy.dp.mechanism import PROBES
from privacy.dp.probes import ALARM_DEVIATIONS
from privacy.protocol.messages import Close, Cohort, Confirmation, Plan, Refusal, Seal, signed_model
from privacy.protocol.round_state import RoundState, quorum
from privacy.report import figures


@dataclass(frozen=True)
class NoiseFound:
    """What this partner signed of the noise it opened: standard deviations from what is owed (protocol 6.2)."""

    deviations: float
    total_deviations: float
    sums: int

    @property
    def missing(self) -> bool:
        return min(self.deviations, self.total_deviations) < -ALARM_DEVIATIONS


@dataclass(frozen=True)
class FingerprintsFound:
    """What confirmations say of the check that the sum is that of the uploads (protocol 5.4).

    complete: how many of `confirmations` carry the fingerprint of every upload in the sum. agree: no two of them
    name different ones for an upload.
    """

    complete: int
    confirmations: int
    agree: bool


@dataclass(frozen=True)
class MemberLine:
    """One partner's way through an attempt."""

    partner: str
    name: str
    uploaded: bool
    in_sum: bool
    opened: bool
    confirmed: bool
    refused_at: int | None
    voted_void: bool
    noise: NoiseFound | None


@dataclass(frozen=True)
class RoundPage:
    """in_sum, alone: epsilon of this attempt by itself at delta, the roster's least; math.inf for kind *none*."""

    digest: str
    plan: Plan
    in_sum: float
    alone: float
    delta: float
    state: RoundState
    cohort: str | None
    cohort_size: int | None
    quorum: int | None
    seal: str | None
    confirmed_state: str | None
    fingerprints: FingerprintsFound | None
    close_reason: str | None
    members: tuple[MemberLine, ...]
    seconds: tuple[tuple[str, float], ...]


def round_page(service: Service, round_digest: str) -> RoundPage:
    """Raises NotFound."""
    with service.database.read() as session:
        return _round_page(session, round_digest, service.clock.now())


def _round_page(session: Session, round_digest: str, now: float) -> RoundPage:
    attempt = find(session, round_digest)
    charter = charter_of(session, attempt.charter)
    document = round_document(session, attempt, now)
    seal = stored(Seal, attempt.seal).body if attempt.seal else None
    cohort = stored(Cohort, attempt.cohort).body.partners if attempt.cohort else None
    refusals = [signed_model(Refusal).model_validate(message).body for message in document["refusals"]]
    refused = {refusal.partner: refusal.check for refusal in refusals}
    plan = plan_of(attempt)
    event, delta = figures.counts([plan.event]), min(entry.caps.delta for entry in charter.roster)
    return RoundPage(
        digest=round_digest,
        plan=plan,
        in_sum=figures.epsilon(event, delta, Guarantee.IN_SUM, charter.honest),
        alone=figures.epsilon(event, delta, Guarantee.ALONE, charter.honest),
        delta=delta,
        state=state_of(attempt),
        cohort=attempt.cohort_digest,
        cohort_size=None if cohort is None else len(cohort),
        quorum=None if cohort is None else quorum(len(cohort), charter.colluders),
        seal=attempt.seal_digest,
        confirmed_state=attempt.confirmed_state,
        fingerprints=_fingerprints(confirmations_of(session, round_digest)),
        close_reason=stored(Close, attempt.close).body.reason if attempt.close else None,
        members=tuple(
            MemberLine(
                partner=partner,
                name=charter.entry(partner).name,
                uploaded=partner in document["uploaded"],
                in_sum=seal is not None and partner in seal.partners,
                opened=partner in document["openings"],
                confirmed=partner in document["confirmations"],
                refused_at=refused.get(partner),
                voted_void=partner in document["voids"],
                noise=_noise(document["probes"].get(partner)),
            )
            for partner in (cohort or document["joined"])
        ),
        seconds=tuple(document["seconds"].items()),
    )


def _fingerprints(rows: Sequence[ConfirmationRow]) -> FingerprintsFound | None:
    if not rows:
        return None
    named: dict[str, set[tuple[str, ...]]] = {}
    for row in rows:
        for item in stored(Confirmation, row.message).body.fingerprints:
            named.setdefault(item.partner, set()).add(tuple(item.fingerprint))
    agree = all(len(found) == 1 for found in named.values())
    return FingerprintsFound(sum(row.complete for row in rows), len(rows), agree)


def _noise(shown: dict[str, float] | None) -> NoiseFound | None:
    if shown is None:
        return None
    return NoiseFound(shown["deviations"], shown["total_deviations"], round(shown["total_probes"] / PROBES))
