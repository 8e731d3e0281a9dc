"""Names that both the service and the operator's commands check."""

from __future__ import annotations

ACCOUNT_PATTERN = r"^[a-z0-9][a-z0-9._@+-]{0,63}$"
