"""The service's own fixtures, for attacks on it alone."""

from __future__ import annotations

from tests.aggregator.conftest import consortium, constituted, driver, running

__all__ = ["consortium", "constituted", "driver", "running"]
