"""self_healing: runs the playbook that an incident asks for, and takes it back when the incident is over."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from typing import Any

from twin.config import PLAYBOOKS
from twin.kernel import Kernel
from twin.playbooks import (
    config_restore,
    dependency_bypass,
    log_restore,
    message_bus_acl_violation_fix,
    model_fallback,
    model_restore,
    refuse_unrecorded,
    resource_pressure,
    snapshot_regenerate,
    worker_restart,
)
from twin.rpc import KernelError, KernelTimeout, KernelUnavailable

MODULES = {
    "message_bus_acl_violation_fix": message_bus_acl_violation_fix,
    "resource_pressure_cpu": resource_pressure,
    "resource_pressure_memory": resource_pressure,
    "resource_pressure_disk": resource_pressure,
    "queue_backpressure": resource_pressure,  # the same deferral, for another reason
    "worker_restart": worker_restart,
    "model_restore": model_restore,
    "model_fallback": model_fallback,
    "snapshot_regenerate": snapshot_regenerate,
    "config_restore": config_restore,
    "dependency_bypass": dependency_bypass,
    "log_restore": log_restore,
    "refuse_unrecorded": refuse_unrecorded,
}
ATTEMPTS = 5
RECORDS_MAX = 50
CATCH_UP_S = 1.0
SCHEMA = """
CREATE TABLE IF NOT EXISTS runs (incident_id TEXT PRIMARY KEY, incident TEXT, state TEXT);
"""


class SelfHealing(Kernel):
    name = "self_healing"
    subscriptions = ("event.incident",)

    async def setup(self) -> None:
        self.db = self.open_db("self_healing", SCHEMA)
        self.locks: dict[str, asyncio.Lock] = {}
        rows = self.db.execute("SELECT incident, state FROM runs WHERE state IN ('started', 'succeeded')").fetchall()
        for row in rows:
            incident = json.loads(row["incident"])
            self.spawn(self._run(incident) if row["state"] == "started" else self._repeat(incident))
        self.spawn(self._catch_up())

    async def on_message(self, message: dict[str, Any]) -> None:
        incident = message["payload"]
        if message["topic"] == "event.incident" and incident.get("playbook") in MODULES:
            self.spawn(self._run(incident))

    async def _catch_up(self) -> None:
        """What was announced while this kernel or the bus was away is still open at the control plane."""
        while True:
            with contextlib.suppress(KernelTimeout, KernelUnavailable, KernelError):
                for incident in (await self.rpc.call("control_plane", "incidents", {}))["incidents"]:
                    known = "SELECT 1 FROM runs WHERE incident_id = ?"
                    missed = self.db.execute(known, (incident["incident_id"],)).fetchone() is None
                    if missed and incident.get("playbook") in MODULES:
                        self.spawn(self._run(incident))
            await asyncio.sleep(CATCH_UP_S)

    async def _run(self, incident: dict[str, Any]) -> None:
        """Once an incident; a run that was cut off by this kernel's own end is taken up again."""
        identity = incident["incident_id"]
        async with self.locks.setdefault(identity, asyncio.Lock()):
            row = self.db.execute("SELECT state FROM runs WHERE incident_id = ?", (identity,)).fetchone()
            if row and row["state"] != "started":
                return
            self.db.execute("INSERT OR REPLACE INTO runs VALUES (?, ?, 'started')", (identity, json.dumps(incident)))
            await self._tell("playbook.started", incident)
            outcome, details = await self._try(MODULES[incident["playbook"]].run, incident["subject"])
            self.db.execute("UPDATE runs SET state = ? WHERE incident_id = ?", (outcome, identity))
            await self._tell("playbook.finished", incident, outcome=outcome, details=details)
            if outcome == "succeeded" and MODULES[incident["playbook"]] is resource_pressure:
                await self.bus.publish(
                    "scheduler.load_shedding",
                    {"state": "on", "subject": incident["subject"], "timestamp": time.time()},
                )
        if outcome == "succeeded":
            self.spawn(self._repeat(incident))

    async def _repeat(self, incident: dict[str, Any]) -> None:
        """A pressure that lasts: what was set may be lost with the kernel that holds it, and is set anew meanwhile."""
        action = MODULES[incident["playbook"]]
        while action is resource_pressure:
            await asyncio.sleep(self.config.thresholds.playbook_repeat_s)
            async with self.locks.setdefault(incident["incident_id"], asyncio.Lock()):
                row = self.db.execute(
                    "SELECT state FROM runs WHERE incident_id = ?", (incident["incident_id"],)
                ).fetchone()
                if row is None or row["state"] != "succeeded":
                    return
                await self._tell("playbook.started", incident)
                outcome, details = await self._try(action.run, incident["subject"])
                await self._tell("playbook.finished", incident, outcome=outcome, details=details)

    async def _try(self, action: Any, subject: str) -> tuple[str, dict[str, Any]]:
        """A kernel that it needs may be down for a moment: a few attempts, then it has failed."""
        problem = ""
        for attempt in range(ATTEMPTS):
            try:
                return "succeeded", {**await action(self.rpc, subject), "attempts": attempt + 1}
            except (KernelTimeout, KernelUnavailable, KernelError, RuntimeError) as error:
                problem = f"{type(error).__name__}: {error}"
                await asyncio.sleep(0.5)
        return "failed", {"reason": problem, "attempts": ATTEMPTS}

    async def _undo(self, incident: dict[str, Any]) -> dict[str, Any]:
        async with self.locks.setdefault(incident["incident_id"], asyncio.Lock()):
            newer = self._newer(incident)
            done: dict[str, Any] = {"left_to": newer}
            if not newer:
                done = await MODULES[incident["playbook"]].undo(self.rpc, incident["subject"])
            # Also for one that was never run: should its order still come, it comes too late.
            row = (incident["incident_id"], json.dumps(incident))
            self.db.execute("INSERT OR REPLACE INTO runs VALUES (?, ?, 'undone')", row)
        self.locks.pop(incident["incident_id"], None)
        if MODULES[incident["playbook"]] is resource_pressure and not newer:
            await self.bus.publish(
                "scheduler.load_shedding",
                {"state": "off", "subject": incident["subject"], "timestamp": time.time()},
            )
        return done

    def _newer(self, incident: dict[str, Any]) -> str:
        """The id of a newer incident that needs what this one's playbook did; "" for none."""
        rows = self.db.execute("SELECT incident FROM runs WHERE state IN ('started', 'succeeded')").fetchall()
        for other in (json.loads(row["incident"]) for row in rows):
            same = all(other[key] == incident[key] for key in ("playbook", "subject"))
            if same and other["timestamp"] > incident["timestamp"]:
                return str(other["incident_id"])
        return ""

    async def _tell(self, topic: str, incident: dict[str, Any], **more: Any) -> None:
        about = {key: incident[key] for key in ("playbook", "incident_id", "subject")}
        await self.bus.publish(topic, {**about, **more, "timestamp": time.time()})

    def _records(self) -> list[dict[str, Any]]:
        """The last runs, the newest first."""
        rows = self.db.execute("SELECT incident, state FROM runs ORDER BY rowid DESC LIMIT ?", (RECORDS_MAX,))
        told = ("incident_id", "playbook", "trigger_id", "subject", "timestamp")
        found = [(json.loads(row["incident"]), row["state"]) for row in rows]
        return [{**{key: one.get(key) for key in told}, "state": state} for one, state in found]

    async def handle(self, op: str, payload: dict[str, Any]) -> dict[str, Any]:
        if op == "undo":
            return await self._undo(payload["incident"])
        if op == "playbooks":
            rows = self.db.execute("SELECT state, count(*) FROM runs GROUP BY state").fetchall()
            runs = {row[0]: row[1] for row in rows}
            return {"playbooks": list(PLAYBOOKS), "runs": runs, "records": self._records()}
        raise KernelError(404, "unknown_operation", op=op)


KERNEL = SelfHealing
