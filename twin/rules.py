"""The rules by which governance decides, as plain data: a part of each snapshot of the platform's state."""

from __future__ import annotations

from typing import Any

from twin.config import Config
from twin.snapshots import begin_with

RULES: dict[str, Any] = {
    "version": 1,
    "risk": {"read": 0.1, "write": 0.4, "deploy": 0.6, "delete": 0.8},
    "risk_of_others": 0.5,
    "sensitive": ["production", "secret", "database", "governance"],
    "risk_of_sensitive": 0.2,
    "review_from": 0.5,
}


def rules_of(config: Config) -> dict[str, Any]:
    """Those of the last snapshot that is whole, else those that the platform is delivered with."""
    kept = begin_with(config, "governance_rules")
    return kept if isinstance(kept, dict) and set(kept) == set(RULES) else RULES
