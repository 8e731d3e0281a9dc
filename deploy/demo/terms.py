"""The two consortia of the demo: the one that is protected, and one without privacy to compare it with.

The second has its own server folder, ids and keys, and a charter that allows events of kind `none`; nothing of it
stands in the first one's reports.
"""

from __future__ import annotations

from pathlib import Path

from deploy.demo.consortium import PARTNERS, Terms
from deploy.demo.settings import DemoSettings, FreeSettings

CAMPAIGN = "Activity of 30 targets"
# Of a model delta: 24-bit lanes of six partners then hold weights that move by up to 85 a round.
FREE_SCALE = 16384


def private_terms(settings: DemoSettings) -> Terms:
    """Mode *distributed*: epsilon 8 in the sum, over all rounds."""
    table = (
        f'[[table]]\nname = "training"\nkind = "distributed"\nnoise_multiplier = {settings.noise_multiplier}\n'
        f"sampling_rate = {settings.sampling_rate}\ncount = {settings.rounds}\n"
    )
    return Terms(
        consortium="The demo choir",
        partners=PARTNERS,
        rounds=settings.rounds,
        caps={"alone": settings.cap_alone, "in_sum": settings.epsilon_in_sum, "delta": settings.delta},
        allow_none=False,
        charter=_charter("The demo choir", PARTNERS[0], settings, table, allow_none=False),
        campaign=_campaign(settings.clip, settings.denominator, settings.learning_rate, settings.momentum),
        conduct=(),
    )


def free_terms(settings: DemoSettings, free: FreeSettings) -> Terms:
    """Kind `none`: steps at home without noise, and the plain mean of the models; still encrypted."""
    partners = tuple(f"{partner}-open" for partner in PARTNERS)
    table = (
        f'[[table]]\nname = "unprotected"\nkind = "none"\nnoise_multiplier = 0.0\nsteps = {free.local_steps}\n'
        f"sampling_rate = {free.sampling_rate}\ncount = {free.rounds}\n"
    )
    return Terms(
        consortium="The choir without privacy",
        partners=partners,
        rounds=free.rounds,
        caps={"alone": settings.cap_alone, "in_sum": settings.epsilon_in_sum, "delta": settings.delta},
        allow_none=True,
        charter=_charter("The choir without privacy", partners[0], settings, table, allow_none=True),
        campaign=_campaign(1.0, free.denominator, 1.0, 0.0),
        conduct=("--scale", str(FREE_SCALE), "--lane-width", "24"),
    )


def _charter(name: str, lead: str, settings: DemoSettings, table: str, *, allow_none: bool) -> str:
    return (
        f'consortium = "{name}"\nn_min = {settings.n_min}\ncolluders = {settings.colluders}\nlead = "{lead}"\n'
        f'privacy_unit = "one compound with all its labels"\nallow_none = {str(allow_none).lower()}\n\n{table}'
    )


def _campaign(clip: float, denominator: float, learning_rate: float, momentum: float) -> str:
    genesis = Path(__file__).resolve().parent / "genesis.py"
    return (
        f'name = "{CAMPAIGN}"\nclip = {clip}\ndenominator = {denominator}\ngenesis = "fresh"\n'
        f'model = "{genesis}:build"\n\n[update_rule]\nkind = "sgd"\nlearning_rate = {learning_rate}\n'
        f"momentum = {momentum}\n"
    )
