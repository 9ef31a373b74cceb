"""trigger_mesh: knows which event starts what, and watches the bus's refusals."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from twin.config import PLAYBOOKS
from twin.incidents import SCHEMA, Incidents
from twin.kernel import Kernel
from twin.rpc import KernelError
from twin.safeguards.acl_violation_monitor import AclViolationMonitor

LOOK_EVERY_S = 0.25


class TriggerMesh(Kernel):
    name = "trigger_mesh"
    subscriptions = ("bus.refusals",)

    async def setup(self) -> None:
        self.monitor = AclViolationMonitor(self.config.thresholds)
        self.incidents = Incidents(self, self.monitor.name, self.open_db("trigger_mesh", SCHEMA))
        self.monitor.engaged |= set(self.incidents.open)
        self.enabled = self.config.enabled(self.monitor.name)
        if self.enabled:
            self.spawn(self._release())
        self.ready = True

    async def on_message(self, message: dict[str, Any]) -> None:
        if not getattr(self, "ready", False) or not self.enabled:
            return
        for finding in self.monitor.take(time.monotonic(), message["payload"]["refusals"]):
            await self.incidents.engage(finding.actor, self.monitor.playbook, finding.reason, finding.details)

    async def _release(self) -> None:
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            for actor in self.monitor.calm(time.monotonic()):
                self.monitor.release(actor)
                quiet_s = self.config.thresholds.acl_quiet_s
                self.incidents.release(actor, f"no attempt for {quiet_s:g} s", {})

    async def handle(self, op: str, payload: dict[str, Any]) -> dict[str, Any]:
        if op != "triggers":
            raise KernelError(404, "unknown_operation", op=op)
        return {
            "triggers": [{"event": "event.incident", "starts": name} for name in PLAYBOOKS],
            "open": sorted(self.incidents.open),
        }


KERNEL = TriggerMesh
