"""The service's own fixtures, for attacks on it alone."""

from __future__ import annotations

from tests.aggregator.conftest import consortium, constituted, driver, running
from tests.aggregator.console.conftest import quick_passwords
from tests.attacks.alarmed import alarmed

__all__ = ["alarmed", "consortium", "constituted", "driver", "quick_passwords", "running"]
