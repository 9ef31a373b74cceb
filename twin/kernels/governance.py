"""governance: decides who may do what, always the same for the same question, and records each decision for good."""

from __future__ import annotations

import asyncio
import hashlib
import json
import sqlite3
import uuid
from functools import partial
from typing import Any

from twin.commit import GroupCommit
from twin.fields import text
from twin.kernel import Kernel
from twin.rpc import KernelError, KernelTimeout, KernelUnavailable

RELAY_EVERY_S = 0.2
RISK = {"read": 0.1, "write": 0.4, "deploy": 0.6, "delete": 0.8}
SENSITIVE = ("production", "secret", "database", "governance")
SCHEMA = """
CREATE TABLE IF NOT EXISTS decisions (id TEXT PRIMARY KEY, entry TEXT, logged INTEGER DEFAULT 0);
CREATE INDEX IF NOT EXISTS unlogged ON decisions (logged) WHERE logged = 0;
"""


def decide(actor: str, action: str, resource: str) -> dict[str, Any]:
    """A pure function of the question: risk from the action and the resource, and a share by who asks."""
    base = next((risk for verb, risk in RISK.items() if verb in action), 0.5)
    sensitive = 0.2 if any(word in resource for word in SENSITIVE) else 0.0
    share = int(hashlib.sha256(f"{actor}:{action}:{resource}".encode()).hexdigest()[:4], 16) / 0xFFFF * 0.1
    risk = round(min(1.0, base + sensitive + share), 4)
    decision = "allow" if risk < 0.5 else "review" if risk < 0.85 else "deny"
    return {
        "allowed": decision == "allow",
        "approved": decision == "allow",
        "requires_approval": decision == "review",
        "decision": decision,
        "risk_score": risk,
        "reason": f"risk {risk:.2f}: {decision}",
    }


def _mark_logged(db: sqlite3.Connection, ids: list[tuple[str]]) -> None:
    db.executemany("UPDATE decisions SET logged = 1 WHERE id = ?", ids)


class Governance(Kernel):
    name = "governance"

    async def setup(self) -> None:
        self.db = self.open_db("governance", SCHEMA)
        self.commits = GroupCommit(self.db)
        self.spawn(self._relay())

    async def handle(self, op: str, payload: dict[str, Any]) -> dict[str, Any]:
        if op != "check":
            raise KernelError(404, "unknown_operation", op=op)
        actor, action, resource = (text(payload, name, 200) for name in ("actor", "action", "resource"))
        answer = decide(actor, action, resource)
        reference = uuid.uuid4().hex
        entry = {
            "actor": actor,
            "action": action,
            "resource": resource,
            "subsystem": "governance",
            "payload": payload.get("payload") or {},
            "result": answer["decision"],
            "reference": reference,
        }

        def keep(db: sqlite3.Connection) -> None:
            db.execute("INSERT INTO decisions (id, entry) VALUES (?, ?)", (reference, json.dumps(entry)))

        await self.commits.write(keep)
        return {**answer, "decision_id": reference}

    async def _relay(self) -> None:
        """The outbox: what immutable_log could not take stays here until it can."""
        while True:
            await asyncio.sleep(RELAY_EVERY_S)
            rows = self.db.execute(
                "SELECT id, entry FROM decisions WHERE logged = 0 ORDER BY rowid LIMIT 500"
            ).fetchall()
            if not rows:
                continue
            try:
                await self.rpc.call("immutable_log", "append", {"entries": [json.loads(row["entry"]) for row in rows]})
            except (KernelTimeout, KernelUnavailable, KernelError):
                continue
            ids = [(row["id"],) for row in rows]
            await self.commits.write(partial(_mark_logged, ids=ids))


KERNEL = Governance
