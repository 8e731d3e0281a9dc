"""Settings that every test shares."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

# One thread a process: xdist already uses both cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# No deadline: numba compiles at first use, and a timed test tells of the machine, not of the code.
settings.register_profile("chorale", deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("chorale")
