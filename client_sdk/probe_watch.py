"""What a decoder finds of the noise in a sum and in all sums so far, said aloud and signed (protocol 6.2, 4.5).

Rules:
1. Every opened sum's probes are tested, and all that this partner opened in the campaign together.
2. Missing noise is an alarm in the round's report. The figures go into the confirmation whatever they are: they are
   a function of noise alone.
What they mean is decided in privacy/dp/probes.py.
"""

from __future__ import annotations

import json

import numpy as np
from numpy.typing import NDArray

from client_sdk.meter import Meter
from client_sdk.partner import Partner
from privacy.dp.mechanism import MechanismPlan
from privacy.dp.probes import ProbeStatistic, probe_statistic, together
from privacy.protocol.messages import Plan, ProbeFigures


class ProbeWatch:
    """The probes of one attempt, beside those of the sums before it in its campaign."""

    def __init__(self, partner: Partner, plan: Plan, meter: Meter) -> None:
        self._partner = partner
        self._plan = plan
        self._meter = meter
        self.found: ProbeStatistic | None = None

    def test(self, values: NDArray[np.int64], contributors: int, noise: MechanismPlan | None) -> None:
        """Rule 1, for this sum; nothing where the plan has no noise of its own or no probes."""
        if noise is None or self._plan.layout.probes == 0:
            return
        self.found = probe_statistic(values[self._plan.layout.parameters :], contributors, noise)
        self._say(self.found, f"round {self._plan.round}", "the probes lie")

    def test_all(self) -> None:
        """Rule 1, for all sums so far: this one's ratio must stand in the journal before."""
        total = self.total()
        if self.found is not None and total is not None:
            self._say(total, f"the rounds up to {self._plan.round}", "their probes together lie")

    def total(self) -> ProbeStatistic | None:
        """All sums of the campaign that were opened here, as one sample; None before the first."""
        rows = self._partner.journal.query(
            "SELECT signed_plan, probe_ratio FROM attempt WHERE campaign = ? AND probe_ratio IS NOT NULL",
            (self._plan.campaign,),
        )
        sums = [ProbeStatistic(ratio, json.loads(plan)["body"]["layout"]["probes"]) for plan, ratio in rows]
        return together(sums) if sums else None

    def figures(self) -> ProbeFigures | None:
        """What the confirmation says."""
        total = self.total()
        if self.found is None or total is None:
            return None
        return ProbeFigures(ratio=self.found.ratio, total_ratio=total.ratio, total_probes=total.probes)

    def _say(self, statistic: ProbeStatistic, where: str, lie: str) -> None:
        far = abs(statistic.deviations)
        if statistic.missing:
            self._meter.alarm(
                f"noise is missing in {where}: {lie} {far:.1f} standard deviations below what the contributors owe"
            )
        elif statistic.excessive:
            self._meter.alarm(
                f"noise beyond what is owed in {where}: {lie} {far:.1f} standard deviations above it; this costs"
                " accuracy, not privacy"
            )
