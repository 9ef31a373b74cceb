"""immutable_log: the hash-chained record of what was decided. Entries are only ever added."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from typing import Any

from twin import log_spoil
from twin.commit import GroupCommit
from twin.defects import Defects
from twin.incidents import SCHEMA as INCIDENTS_SCHEMA
from twin.incidents import Incidents
from twin.kernel import Kernel
from twin.log_chain import COLUMNS, GENESIS, SCHEMA, append, entry_hash
from twin.log_copy import COPY_SCHEMA, FOLLOW_MAX, LogCopy
from twin.log_room import Complaints, Room, unwritable
from twin.paging import cursor
from twin.rpc import KernelError
from twin.safeguards.log_integrity_monitor import LogIntegrityMonitor
from twin.safeguards.log_write_guard import LogWriteGuard
from twin.wholeness import watch

LOOK_EVERY_S = 0.25
RETRY_AFTER_S = 2


class ImmutableLog(Kernel):
    name = "immutable_log"

    async def setup(self) -> None:
        self.db = self.open_db("immutable_log", SCHEMA, self.config.audit_dir)
        self.commits = GroupCommit(self.db)
        self.unwritten = ""  # why an append since the last look was not written
        self.copy: LogCopy | None = None
        guard = LogWriteGuard(self.config.thresholds)
        # Incidents are kept elsewhere: they may begin when this disk takes nothing more.
        kept = self.open_db("immutable_log_incidents", INCIDENTS_SCHEMA)
        if self.config.enabled(LogIntegrityMonitor.name):
            folder = self.config.snapshot_dir / "log"
            folder.mkdir(parents=True, exist_ok=True)
            self.copy = LogCopy(self.db, self.open_db("immutable_log_copy", COPY_SCHEMA, folder))
            self.spawn(self.copy.run())
            monitor = LogIntegrityMonitor(self.db)
            self.spawn(watch(self, monitor, Incidents(self, monitor.name, kept)))
        self.defects = Defects(self.config.defects)
        if "history_rewritten" in self.defects.planted:
            self.spawn(self._rewrite())
        if self.config.enabled(guard.name):
            incidents = Incidents(self, guard.name, kept)
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
            since = cursor(self.db, "entries", "sequence", payload)
            rows = self.db.execute(
                f"SELECT {COLUMNS} FROM entries WHERE sequence > ? ORDER BY sequence LIMIT ?", (since, limit)
            )
            entries = [dict(row) for row in rows]
            return {"entries": entries, "next": entries[-1]["sequence"] if entries else since}
        if op == "verify":
            return self._verify()
        if op == "restore_entries":
            return await self._restore()
        raise KernelError(404, "unknown_operation", op=op)

    async def _write(self, entries: list[dict[str, Any]]) -> list[int]:
        """All of them, or none and KernelError 503."""
        if len(entries) > 1 and self.defects.strikes("entries_reordered"):
            entries = log_spoil.swap(entries)
        try:
            sequences: list[int] = await self.commits.write(lambda db: append(db, entries))
        except sqlite3.Error as error:
            if not unwritable(error):
                raise
            self.unwritten = str(error)
            raise KernelError(503, "log_unwritable", retry_after_s=RETRY_AFTER_S) from None
        while self.copy is not None and self.copy.follow() == FOLLOW_MAX:
            pass  # nobody is told of an entry that there is only once
        return sequences

    async def _rewrite(self) -> None:
        """A planted defect: once there are enough entries and some time has passed, the log and its copy change."""
        while not self.db.execute("SELECT 1 FROM entries WHERE sequence = ?", (log_spoil.REWRITTEN_AT,)).fetchone():
            await asyncio.sleep(log_spoil.LOOK_EVERY_S)
        await asyncio.sleep(log_spoil.AFTER_S)
        await self.commits.write(log_spoil.rewrite)
        if self.copy is not None:
            await GroupCommit(self.copy.copy).write(log_spoil.rewrite)

    async def _restore(self) -> dict[str, Any]:
        """What differs from the copy comes back from it, in one transaction with nothing in between."""
        if self.copy is None:
            raise KernelError(409, "not_restored", reason="nobody keeps a copy")
        return {"entries": await self.commits.write(self.copy.put_back)}

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
