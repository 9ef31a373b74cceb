"""Queue pressure monitor: sees that more intents wait than the workers get done soon, and when they have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from twin.config import Thresholds


@dataclass(frozen=True)
class QueueChange:
    """The queue has come under pressure, or is free of it."""

    engaged: bool
    reason: str
    details: dict[str, Any]


class QueuePressureMonitor:
    """tick() takes the depth now and the greatest since it was last asked; time is an argument."""

    name = "queue_pressure_monitor"
    playbook = "queue_backpressure"
    subject = "htm_queue"

    def __init__(self, thresholds: Thresholds) -> None:
        self.thresholds = thresholds
        self.engaged = False
        self._low_since_s: float | None = None

    def tick(self, now_s: float, depth: int, deepest: int) -> QueueChange | None:
        limits = self.thresholds
        if not self.engaged:
            if deepest < limits.queue_pressure_depth:
                return None
            self.engaged, self._low_since_s = True, None
            details = {"depth": deepest, "limit": limits.queue_pressure_depth}
            return QueueChange(True, f"{deepest} intents in the queue", details)
        if deepest > limits.queue_release_depth:
            self._low_since_s = None
            return None
        if self._low_since_s is None:
            self._low_since_s = now_s
        if now_s - self._low_since_s < limits.queue_release_s:
            return None
        self.engaged = False
        return QueueChange(False, f"down to {depth} intents", {"depth": depth})
