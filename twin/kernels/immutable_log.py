"""immutable_log: the hash-chained record of what was decided. Entries are only ever added."""

from __future__ import annotations

import asyncio
import hashlib
import json
import sqlite3
import time
from typing import Any

from twin.commit import GroupCommit
from twin.incidents import SCHEMA as INCIDENTS_SCHEMA
from twin.incidents import Incidents
from twin.kernel import Kernel
from twin.log_room import Complaints, Room, unwritable
from twin.rpc import KernelError
from twin.safeguards.log_write_guard import LogWriteGuard

LOOK_EVERY_S = 0.25
RETRY_AFTER_S = 2
GENESIS = "0" * 64
SCHEMA = """
CREATE TABLE IF NOT EXISTS entries (sequence INTEGER PRIMARY KEY, actor TEXT, action TEXT, resource TEXT,
    subsystem TEXT, payload TEXT, result TEXT, previous_hash TEXT, entry_hash TEXT, reference TEXT UNIQUE);
"""
COLUMNS = "sequence, actor, action, resource, subsystem, payload, result, previous_hash, entry_hash, reference"


def entry_hash(sequence: int, actor: str, action: str, resource: str, payload: str, result: str, previous: str) -> str:
    """SHA-256 over seq:actor:action:resource:payload:result:prev; *payload* is canonical JSON."""
    text = f"{sequence}:{actor}:{action}:{resource}:{payload}:{result}:{previous}"
    return hashlib.sha256(text.encode()).hexdigest()


class ImmutableLog(Kernel):
    name = "immutable_log"

    async def setup(self) -> None:
        self.db = self.open_db("immutable_log", SCHEMA, self.config.audit_dir)
        self.commits = GroupCommit(self.db)
        self.unwritten = ""  # why an append since the last look was not written
        guard = LogWriteGuard(self.config.thresholds)
        if self.config.enabled(guard.name):
            # Its incidents are kept elsewhere: they begin when this disk takes nothing more.
            incidents = Incidents(self, guard.name, self.open_db("immutable_log_incidents", INCIDENTS_SCHEMA))
            guard.engaged = bool(incidents.open)
            self.spawn(self._guard(guard, incidents))

    async def _guard(self, guard: LogWriteGuard, incidents: Incidents) -> None:
        room, complaints = Room(self.config.audit_dir), Complaints(self.log)
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            now_s = time.monotonic()
            trouble, self.unwritten = room.trouble() or self.unwritten, ""
            if trouble:
                complaints.say(now_s, trouble)
            change = guard.tick(now_s, trouble)
            if change is not None and change.engaged:
                await incidents.engage(guard.subject, guard.playbook, change.reason, change.details)
            elif change is not None:
                incidents.release(guard.subject, change.reason, change.details)

    async def handle(self, op: str, payload: dict[str, Any]) -> dict[str, Any]:
        if op == "append":
            return {"sequences": await self._write(payload["entries"])}
        if op == "read":
            limit = max(1, min(1000, int(payload.get("limit", 100))))
            since = int(payload.get("since", 0))
            rows = self.db.execute(
                f"SELECT {COLUMNS} FROM entries WHERE sequence > ? ORDER BY sequence LIMIT ?", (since, limit)
            )
            entries = [dict(row) for row in rows]
            return {"entries": entries, "next": entries[-1]["sequence"] if entries else since}
        if op == "verify":
            return self._verify()
        raise KernelError(404, "unknown_operation", op=op)

    async def _write(self, entries: list[dict[str, Any]]) -> list[int]:
        """All of them, or none and KernelError 503."""
        try:
            sequences: list[int] = await self.commits.write(lambda db: [self._append(db, one) for one in entries])
        except sqlite3.Error as error:
            if not unwritable(error):
                raise
            self.unwritten = str(error)
            raise KernelError(503, "log_unwritable", retry_after_s=RETRY_AFTER_S) from None
        return sequences

    def _append(self, db: sqlite3.Connection, entry: dict[str, Any]) -> int:
        """A reference makes an entry that is sent again the same entry."""
        known = db.execute("SELECT sequence FROM entries WHERE reference = ?", (entry["reference"],)).fetchone()
        if known:
            return int(known[0])
        last = db.execute("SELECT sequence, entry_hash FROM entries ORDER BY sequence DESC LIMIT 1").fetchone()
        sequence, previous = (last[0] + 1, last[1]) if last else (1, GENESIS)
        content = json.dumps(entry.get("payload", {}), sort_keys=True, separators=(",", ":"))
        parts = (entry["actor"], entry["action"], entry["resource"])
        digest = entry_hash(sequence, *parts, content, entry["result"], previous)
        db.execute(
            "INSERT INTO entries VALUES (?,?,?,?,?,?,?,?,?,?)",
            (
                sequence,
                *parts,
                entry["subsystem"],
                content,
                entry["result"],
                previous,
                digest,
                entry["reference"],
            ),
        )
        return int(sequence)

    def _verify(self) -> dict[str, Any]:
        previous, count = GENESIS, 0
        for row in self.db.execute(f"SELECT {COLUMNS} FROM entries ORDER BY sequence"):
            count += 1
            digest = entry_hash(
                row["sequence"],
                row["actor"],
                row["action"],
                row["resource"],
                row["payload"],
                row["result"],
                previous,
            )
            if (row["sequence"], row["previous_hash"], row["entry_hash"]) != (count, previous, digest):
                return {"valid": False, "entries": count, "broken_at": row["sequence"]}
            previous = digest
        return {"valid": True, "entries": count, "head": previous}


KERNEL = ImmutableLog
