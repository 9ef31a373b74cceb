"""health_monitor: measures the machine and says when it is under pressure."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from twin.incidents import SCHEMA, Incidents
from twin.kernel import Kernel
from twin.meters import Meters
from twin.rpc import KernelError
from twin.safeguards.resource_pressure_monitor import ResourcePressureMonitor

LOOK_EVERY_S = 0.25


class HealthMonitor(Kernel):
    name = "health_monitor"

    async def setup(self) -> None:
        self.meters = Meters(self.config.dir)
        self.last: dict[str, float] = {}
        self.monitor = ResourcePressureMonitor(self.config.thresholds)
        self.incidents = Incidents(self, self.monitor.name, self.open_db("health_monitor", SCHEMA))
        self.monitor.engaged |= set(self.incidents.open)
        self.spawn(self._watch(self.config.enabled(self.monitor.name)))

    async def _watch(self, enabled: bool) -> None:
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            self.last = self.meters.read()
            if not enabled:
                continue
            for change in self.monitor.tick(time.monotonic(), self.last):
                if change.engaged:
                    playbook = self.monitor.playbook(change.resource)
                    await self.incidents.engage(change.resource, playbook, change.reason, change.details)
                else:
                    self.incidents.release(change.resource, change.reason, change.details)

    async def handle(self, op: str, payload: dict[str, Any]) -> dict[str, Any]:
        if op != "resources":
            raise KernelError(404, "unknown_operation", op=op)
        return {name: round(value, 1) for name, value in self.last.items()}


KERNEL = HealthMonitor
