"""A safeguard's open incidents: published on the bus, kept in SQLite, closed only after their playbook is undone."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import time
import uuid
from typing import Any

from twin.kernel import Kernel
from twin.rpc import KernelError, KernelTimeout, KernelUnavailable

SCHEMA = "CREATE TABLE IF NOT EXISTS incidents (incident_id TEXT PRIMARY KEY, incident TEXT)"
RETRY_EVERY_S = 0.5


class Incidents:
    """One safeguard's incidents, at most one a subject. They outlive the kernel that watches."""

    def __init__(self, kernel: Kernel, safeguard: str, db: sqlite3.Connection) -> None:
        self.kernel = kernel
        self.safeguard = safeguard
        self.db = db
        kept = [json.loads(row[0]) for row in db.execute("SELECT incident FROM incidents").fetchall()]
        mine = [one for one in kept if one["trigger_id"] == safeguard]
        self.open: dict[str, dict[str, Any]] = {one["subject"]: one for one in mine}

    async def engage(self, subject: str, playbook: str, reason: str, details: dict[str, Any]) -> None:
        """*playbook* "": the safeguard itself is what is done about it."""
        incident = {
            "incident_id": uuid.uuid4().hex,
            "trigger_id": self.safeguard,
            "subject": subject,
            "playbook": playbook,
            "severity": "critical",
            "reason": reason,
            "details": details,
            "timestamp": time.time(),
        }
        self.open[subject] = incident
        self.db.execute("INSERT INTO incidents VALUES (?, ?)", (incident["incident_id"], json.dumps(incident)))
        await self.kernel.bus.publish("event.incident", incident)
        alert = {"kind": self.safeguard, "subject": subject, "reason": reason, "timestamp": time.time()}
        await self.kernel.bus.publish("security.alert", alert)

    def release(self, subject: str, reason: str, details: dict[str, Any]) -> None:
        """Undoes the playbook, however long that takes, then says that the incident is closed."""
        incident = self.open.pop(subject, None)
        if incident is not None:
            self.kernel.spawn(self._close(incident, reason, details))

    async def _close(self, incident: dict[str, Any], reason: str, details: dict[str, Any]) -> None:
        while incident["playbook"]:
            try:
                await self.kernel.rpc.call("self_healing", "undo", {"incident": incident}, 5.0)
                break
            except (KernelTimeout, KernelUnavailable, KernelError) as error:
                self.kernel.log.warning("the playbook of %s is not undone yet: %s", incident["subject"], error)
                await asyncio.sleep(RETRY_EVERY_S)
        self.db.execute("DELETE FROM incidents WHERE incident_id = ?", (incident["incident_id"],))
        closing = {key: incident[key] for key in ("incident_id", "trigger_id", "subject")}
        closing |= {"reason": reason, "details": details, "timestamp": time.time()}
        await self.kernel.bus.publish("event.incident.closed", closing)
