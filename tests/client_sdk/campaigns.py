"""Small charters, campaigns and plans for the partner's tests. Keys are placeholders: nothing verifies them."""

from __future__ import annotations

from privacy.dp.caps import Caps
from privacy.dp.events import PrivacyEvent, TableRow
from privacy.dp.mechanism import MechanismPlan
from privacy.he.lanes import LaneLayout
from privacy.protocol.messages import (
    Campaign,
    Charter,
    Deadlines,
    ParameterShape,
    Plan,
    RosterEntry,
    SigningKeys,
    UpdateRule,
    VectorLayout,
)

CAPS = Caps(epsilon_alone=1000.0, epsilon_in_sum=100.0, delta=1e-5)
DISTRIBUTED = PrivacyEvent(kind="distributed", noise_multiplier=2.0, sampling_rate=0.5, steps=1)


def keys(index: int) -> SigningKeys:
    return SigningKeys(ed25519=f"{index:064x}", ml_dsa_65=f"{index:03904x}")


def charter(event: PrivacyEvent = DISTRIBUTED, partners: int = 4) -> Charter:
    roster = tuple(
        RosterEntry(partner=f"p{i}", name=f"Partner {i}", signing_keys=keys(i), result_key=f"{i:02432x}", caps=CAPS)
        for i in range(partners)
    )
    return Charter(
        consortium="Test",
        epoch=1,
        previous="0" * 64,
        roster=roster,
        n_min=3,
        colluders=1,
        parameter_set="chorale-4096-60",
        privacy_unit="one record",
        table=(TableRow(name="training", event=event, count=100),),
        allow_none=True,
        lead="p0",
        operator_keys=keys(900),
        server_keys=keys(901),
    )


def campaign(
    parameters: tuple[tuple[str, tuple[int, ...]], ...],
    rule: UpdateRule,
    genesis: str = "0" * 64,
    *,
    clip: float = 1.0,
    denominator: float = 16.0,
    charter_digest: str = "1" * 64,
) -> Campaign:
    return Campaign(
        charter=charter_digest,
        name="Test",
        parameters=tuple(ParameterShape(name=name, shape=shape) for name, shape in parameters),
        update_rule=rule,
        clip=clip,
        denominator=denominator,
        genesis=genesis,
    )


def plan(
    of: Campaign,
    *,
    event: PrivacyEvent = DISTRIBUTED,
    number: int = 1,
    base: str = "0" * 64,
    scale: float | None = None,
) -> Plan:
    noised = event.kind in ("distributed", "statistics")
    return Plan(
        charter=of.charter,
        campaign=of.digest,
        round=number,
        attempt=number,
        kind="statistics" if event.kind == "statistics" else "training",
        base_state=base,
        layout=VectorLayout(
            parameters=of.length, probes=1024 if noised else 0, lane_width=24, shift=6, scale=scale
        ),
        event=event,
        deadlines=Deadlines(join=1, upload=2, open=3),
    )


def mechanism(of: Campaign, under: Plan, partners: int = 4) -> MechanismPlan | None:
    if under.event.kind in ("local", "none"):
        return None
    return MechanismPlan(
        clip=of.clip,
        noise_multiplier=under.event.noise_multiplier,
        honest=2,
        dimension=under.layout.parameters,
        shift=under.layout.shift,
        lane_offset=LaneLayout(under.layout.lane_width, partners).offset,
        probes=under.layout.probes,
    )
