"""The service's own fixtures, for attacks on it alone."""

from __future__ import annotations

from tests.aggregator.conftest import consortium, constituted, driver, running
from tests.aggregator.console.conftest import quick_passwords

__all__ = ["consortium", "constituted", "driver", "quick_passwords", "running"]
