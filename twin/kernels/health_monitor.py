"""health_monitor: measures the machine, hears how calls between kernels go, and says when either is not well."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from twin.dependencies import BYPASSED, heard
from twin.incidents import SCHEMA, Incidents
from twin.kernel import Kernel
from twin.meters import Meters
from twin.rpc import KernelError
from twin.safeguards.dependency_latency_monitor import DependencyLatencyMonitor
from twin.safeguards.resource_pressure_monitor import ResourcePressureMonitor

LOOK_EVERY_S = 0.25
WOLF_PERCENT = 40.0
CALM_LOOKS = 12  # looks at a CPU below that, three seconds, before it may strike


class HealthMonitor(Kernel):
    name = "health_monitor"
    calm_looks = 0

    async def setup(self) -> None:
        self.meters = Meters(self.config.dir, self.config.audit_dir)
        self.last: dict[str, float] = {}
        self.planted = set(self.config.defects)
        self.monitor = ResourcePressureMonitor(self.config.thresholds)
        db = self.open_db("health_monitor", SCHEMA)
        self.incidents = Incidents(self, self.monitor.name, db)
        self.monitor.engaged |= set(self.incidents.open)
        self.dependencies = DependencyLatencyMonitor(self.config.thresholds)
        self.late = Incidents(self, self.dependencies.name, db)
        self.dependencies.engaged |= set(self.late.open)
        self.spawn(self._watch(self.config.enabled(self.monitor.name)))
        if self.config.enabled(self.dependencies.name):
            self.spawn(self._watch_dependencies())

    async def _watch(self, enabled: bool) -> None:
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            self.last = self.meters.read()
            if not enabled:
                continue
            self._cry_wolf()
            for change in self.monitor.tick(time.monotonic(), self.last):
                if change.engaged:
                    playbook = self.monitor.playbook(change.resource)
                    await self.incidents.engage(change.resource, playbook, change.reason, change.details)
                else:
                    self.incidents.release(change.resource, change.reason, change.details)

    def _cry_wolf(self) -> None:
        """Where it is planted: say once that memory is short, because the CPU is busy; its own start does not count."""
        if self.last["cpu"] < WOLF_PERCENT:
            self.calm_looks += 1
        elif self.calm_looks >= CALM_LOOKS and "alarm_without_cause" in self.planted:
            self.planted.discard("alarm_without_cause")
            self.last["memory"] = 100.0
            self.monitor.readings["memory"].clear()

    async def _watch_dependencies(self) -> None:
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            for change in self.dependencies.tick(time.monotonic()):
                if change.engaged:
                    goes_round = change.callee in BYPASSED and "api_server" in change.callers
                    playbook = self.dependencies.playbook if goes_round else ""
                    await self.late.engage(change.callee, playbook, change.reason, change.details)
                else:
                    self.late.release(change.callee, change.reason, change.details)

    async def handle(self, op: str, payload: dict[str, Any]) -> dict[str, Any]:
        if op == "calls":
            return {"doubtful": self.dependencies.take(time.monotonic(), *heard(payload))}
        if op != "resources":
            raise KernelError(404, "unknown_operation", op=op)
        return {name: round(value, 1) for name, value in self.last.items()}


KERNEL = HealthMonitor
