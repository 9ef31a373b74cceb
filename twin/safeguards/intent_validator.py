"""Intent validator: refuses what is no intent before it reaches the queue, and sees who keeps sending such things."""

from __future__ import annotations

from typing import Any

from twin.config import Thresholds
from twin.fields import number, text, word
from twin.insistence import Insistence
from twin.rpc import KernelError

PRIORITIES = (0, 1, 3, 5, 8, 10)
NORMAL = 5
DOMAINS = (
    "ingestion",
    "query",
    "learning",
    "analysis",
    "orchestration",
    "maintenance",
    "security",
    "unknown",
)
RISKS = ("low", "medium", "high", "critical")
TEXTS = (("intent_id", 100), ("goal", 2000), ("expected_outcome", 2000), ("created_by", 100))


class IntentValidator:
    """check() refuses an intent by the name of what is wrong with it; `insistence` counts the refusals by client."""

    name = "intent_validator"
    playbook = ""  # the refusals themselves are what is done about it

    def __init__(self, thresholds: Thresholds) -> None:
        self.bytes_max = thresholds.intent_bytes_max
        self.insistence = Insistence(thresholds.invalid_count, thresholds.invalid_within_s, thresholds.invalid_quiet_s)

    @staticmethod
    def check(body: dict[str, Any]) -> None:
        """Raises KernelError 422 with the field that is missing, of the wrong type, unknown or out of range."""
        for name, longest in TEXTS:
            text(body, name, longest)
        number(body, "sla_ms", 1, 86_400_000)
        number(body, "confidence", 0, 1, 1.0)
        word(body, "domain", DOMAINS, "unknown")
        word(body, "risk_level", RISKS, "low")
        if type(body.get("priority", NORMAL)) is not int or body.get("priority", NORMAL) not in PRIORITIES:
            raise KernelError(422, "invalid_field", field="priority", expected=f"one of {PRIORITIES}")
        if not isinstance(body.get("context", {}), dict):
            raise KernelError(422, "invalid_field", field="context", expected="a mapping")
