"""Resource pressure monitor: sees that CPU, memory or disk have been short for a while, and when they are not."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any

from twin.config import Thresholds

RESOURCES = ("cpu", "memory", "disk")


@dataclass(frozen=True)
class Change:
    """A resource that has come under pressure, or is free of it."""

    resource: str
    engaged: bool
    reason: str
    details: dict[str, Any]


class ResourcePressureMonitor:
    """tick() takes one reading of each resource, in percent; it decides by means over a window, never by one."""

    name = "resource_pressure_monitor"

    def __init__(self, thresholds: Thresholds) -> None:
        self.thresholds = thresholds
        self.readings: dict[str, deque[tuple[float, float]]] = {name: deque() for name in RESOURCES}
        self.first_s: float | None = None
        self.engaged: set[str] = set()
        self.below_since: dict[str, float] = {}
        self.above_since: dict[str, float] = {}  # the warning figure
        self.warned: set[str] = set()  # those that are engaged at the warning figure only

    def playbook(self, resource: str) -> str:
        return f"resource_pressure_{resource}"

    def critical(self, resource: str) -> float:
        value: float = getattr(self.thresholds, f"{resource}_critical_percent")
        return value

    def tick(self, now_s: float, percent: dict[str, float]) -> list[Change]:
        self.first_s = now_s if self.first_s is None else self.first_s
        changes = []
        for resource, value in percent.items():
            rows = self.readings[resource]
            rows.append((now_s, value))
            while rows[0][0] < now_s - self.thresholds.pressure_mean_s:
                rows.popleft()
            if now_s - self.first_s >= self.thresholds.pressure_mean_s:
                change = self._judge(now_s, resource, sum(row[1] for row in rows) / len(rows))
                changes += [change] if change else []
        return changes

    def _warning(self, now_s: float, resource: str, mean: float) -> str:
        """Why a CPU that is not critical is too busy all the same; "" when it is not, or not for long enough.

        Memory and disks live for months at their warning figure; a CPU that stays there is work that piles up.
        """
        warning, for_s = self.thresholds.cpu_warning_percent, self.thresholds.pressure_warning_s
        if resource != "cpu" or mean < warning:
            self.above_since.pop(resource, None)
            return ""
        if now_s - self.above_since.setdefault(resource, now_s) < for_s:
            return ""
        return f"for {for_s:g} s, a warning from {warning:.0f} %"

    def _release_from(self, resource: str) -> float:
        """So far below the figure that has engaged it."""
        figure = self.thresholds.cpu_warning_percent if resource in self.warned else self.critical(resource)
        return figure - self.thresholds.pressure_release_points

    def _judge(self, now_s: float, resource: str, mean: float) -> Change | None:
        critical = self.critical(resource)
        details = {"mean_percent": round(mean, 1), "critical_percent": critical}
        if resource not in self.engaged:
            reason = f"critical from {critical:.0f} %" if mean >= critical else self._warning(now_s, resource, mean)
            if not reason:
                return None
            self.engaged.add(resource)
            (self.warned.discard if mean >= critical else self.warned.add)(resource)
            self.below_since.pop(resource, None)
            return Change(resource, True, f"{resource} at {mean:.0f} %, {reason}", details)
        if mean > self._release_from(resource):
            self.below_since.pop(resource, None)
            return None
        if now_s - self.below_since.setdefault(resource, now_s) < self.thresholds.pressure_release_s:
            return None
        self.engaged.discard(resource)
        return Change(resource, False, f"{resource} is down to {mean:.0f} %", details)
