"""scheduler: takes intents into a durable queue and carries each out exactly once."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import time
from functools import partial
from typing import Any

from twin.commit import GroupCommit
from twin.fields import number, text, word
from twin.kernel import Kernel
from twin.rpc import KernelError

PRIORITIES = (0, 1, 3, 5, 8, 10)
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
BATCH = 20
SCHEMA = """
CREATE TABLE IF NOT EXISTS intents (intent_id TEXT PRIMARY KEY, body TEXT, priority INTEGER, status TEXT,
    accepted_at REAL, completed_at REAL, executions INTEGER DEFAULT 0);
CREATE INDEX IF NOT EXISTS waiting ON intents (priority DESC, accepted_at) WHERE status != 'completed';
"""


def check_intent(body: dict[str, Any]) -> None:
    """Refuses an intent with a missing, wrong or unknown field by name."""
    for name, longest in (
        ("intent_id", 100),
        ("goal", 2000),
        ("expected_outcome", 2000),
        ("created_by", 100),
    ):
        text(body, name, longest)
    number(body, "sla_ms", 1, 86_400_000)
    number(body, "confidence", 0, 1, 1.0)
    word(body, "domain", DOMAINS, "unknown")
    word(body, "risk_level", ("low", "medium", "high", "critical"), "low")
    if isinstance(body.get("priority", 5), bool) or body.get("priority", 5) not in PRIORITIES:
        raise KernelError(422, "invalid_field", field="priority", expected=f"one of {PRIORITIES}")
    if not isinstance(body.get("context", {}), dict):
        raise KernelError(422, "invalid_field", field="context", expected="a mapping")


class Scheduler(Kernel):
    name = "scheduler"

    async def setup(self) -> None:
        self.db = self.open_db("htm", SCHEMA)
        self.commits = GroupCommit(self.db)
        self.arrived = asyncio.Event()
        self.arrived.set()
        self.spawn(self._work())

    async def handle(self, op: str, payload: dict[str, Any]) -> dict[str, Any]:
        if op == "submit":
            check_intent(payload)
            return await self._submit(payload)
        if op == "status":
            row = self.db.execute(
                "SELECT intent_id, status, executions FROM intents WHERE intent_id = ?",
                (payload["intent_id"],),
            ).fetchone()
            if row is None:
                raise KernelError(404, "unknown_intent", intent_id=payload["intent_id"])
            return dict(row)
        if op == "queue":
            depth = self.db.execute("SELECT count(*) FROM intents WHERE status != 'completed'").fetchone()[0]
            return {"depth": depth}
        raise KernelError(404, "unknown_operation", op=op)

    async def _submit(self, body: dict[str, Any]) -> dict[str, Any]:
        """An intent that is sent again is the same intent."""

        def keep(db: sqlite3.Connection) -> str:
            db.execute(
                "INSERT OR IGNORE INTO intents (intent_id, body, priority, status, accepted_at)"
                " VALUES (?, ?, ?, 'created', ?)",
                (body["intent_id"], json.dumps(body), body.get("priority", 5), time.time()),
            )
            row = db.execute("SELECT status FROM intents WHERE intent_id = ?", (body["intent_id"],)).fetchone()
            return str(row["status"])

        status = await self.commits.write(keep)
        self.arrived.set()
        return {"intent_id": body["intent_id"], "status": status}

    async def _work(self) -> None:
        """The most urgent first. Execution and its record are one transaction, so a kill repeats nothing."""
        while True:
            rows = self.db.execute(
                "SELECT intent_id FROM intents WHERE status != 'completed' ORDER BY priority DESC, accepted_at LIMIT ?",
                (BATCH,),
            ).fetchall()
            if not rows:
                self.arrived.clear()
                await self.arrived.wait()
                continue
            done = [(time.time(), row["intent_id"]) for row in rows]
            await self.commits.write(partial(self._complete, done=done))

    @staticmethod
    def _complete(db: sqlite3.Connection, done: list[tuple[float, str]]) -> None:
        db.executemany(
            "UPDATE intents SET status = 'completed', completed_at = ?, executions = executions + 1"
            " WHERE intent_id = ? AND status != 'completed'",
            done,
        )


KERNEL = Scheduler
