"""meta_loop: looks back at what happened and counts what recurs, one retrospective after the other."""

from __future__ import annotations

import asyncio
import hashlib
import json
import sqlite3
import time
import uuid
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from typing import Any

from twin.commit import GroupCommit
from twin.defects import Defects
from twin.fields import text
from twin.kernel import Kernel
from twin.paging import cursor, fitting
from twin.rpc import KernelError

SCHEMA = """
CREATE TABLE IF NOT EXISTS retros (seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT UNIQUE, subject TEXT, events TEXT,
    status TEXT, findings TEXT, at REAL, nonce TEXT DEFAULT '', result TEXT, executions INTEGER DEFAULT 0);
CREATE INDEX IF NOT EXISTS queued ON retros (seq) WHERE status = 'queued';
"""
EVENTS_MAX = 1000
PAGE_MAX = 1000
RETRY_AFTER_S = 2
FINDINGS_MAX = 5
EVENT_CHARS_MAX = 200
HOARDED = 40  # copies of each body, where that is planted: what no bound holds back is meant to weigh something


def analyse(events: list[str]) -> list[dict[str, Any]]:
    """What recurs most: single events, and one event right after another."""
    counts: Counter[str] = Counter(events)
    counts.update(f"{first} -> {second}" for first, second in pairwise(events))
    return [{"event": event, "count": count} for event, count in counts.most_common(FINDINGS_MAX)]


def proof(nonce: str, findings: list[dict[str, Any]]) -> str:
    """The result of a retrospective, which only an analysis of its events gives."""
    told = json.dumps(findings, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(f"{nonce}:{told}".encode()).hexdigest()


class MetaLoop(Kernel):
    """The queue is on disk, only its length is in memory, and one retrospective at a time is looked at."""

    name = "meta_loop"

    async def setup(self) -> None:
        self.db = self.open_db("meta_loop", SCHEMA)
        self.commits = GroupCommit(self.db)
        self.defects = Defects(self.config.defects)
        self.waiting = self.refused = 0
        self._count()
        self._hoard: list[list[str]] = []
        self.arrived = asyncio.Event()
        self.arrived.set()
        self.spawn(self._work())

    async def handle(self, op: str, payload: dict[str, Any]) -> dict[str, Any]:
        if op == "retrospective":
            return await self._submit(payload)
        if op == "queue":
            return {"depth": self.waiting, "bound": self._bound, "refused": self.refused}
        if op == "list":
            return self._page(cursor(self.db, "retros", "seq", payload), int(payload.get("limit", PAGE_MAX)))
        raise KernelError(404, "unknown_operation", op=op)

    async def _submit(self, payload: dict[str, Any]) -> dict[str, Any]:
        """One that is sent again under the same id is the same retrospective."""
        subject, events = text(payload, "subject", 500), payload.get("events", [])
        if not isinstance(events, list) or len(events) > EVENTS_MAX:
            raise KernelError(422, "invalid_field", field="events", expected=f"a list of at most {EVENTS_MAX}")
        identity = text(payload, "retro_id", 100) if "retro_id" in payload else uuid.uuid4().hex
        nonce = text(payload, "nonce", 200, "")
        kept = json.dumps([str(event)[:EVENT_CHARS_MAX] for event in events])
        if not await self._write(lambda db: self._keep(db, identity, subject, kept, nonce)):
            self.refused += 1
            raise KernelError(503, "retro_queue_full", retry_after_s=RETRY_AFTER_S)
        self.arrived.set()
        if "retro_unbounded" in self.defects.planted:
            self._hoard += (json.loads(kept) for _ in range(HOARDED))
        return {"id": identity, "status": "queued"}

    @property
    def _bound(self) -> int:
        return int(self.config.thresholds.retro_queue_max)

    def _count(self) -> None:
        self.waiting = self.db.execute("SELECT count(*) FROM retros WHERE status = 'queued'").fetchone()[0]

    async def _write(self, work: Callable[[sqlite3.Connection], Any]) -> Any:
        """*work* in the next transaction. When that fails, what *work* had counted is undone: the disk is right."""
        try:
            return await self.commits.write(work)
        except sqlite3.Error:
            self._count()
            raise

    def _keep(self, db: sqlite3.Connection, identity: str, subject: str, events: str, nonce: str) -> bool:
        """False when there is no room for a new one."""
        if db.execute("SELECT 1 FROM retros WHERE id = ?", (identity,)).fetchone():
            return True
        if self.waiting >= self._bound and "retro_unbounded" not in self.defects.planted:
            return False
        db.execute(
            "INSERT INTO retros (id, subject, events, nonce, status, at) VALUES (?, ?, ?, ?, 'queued', ?)",
            (identity, subject, events, nonce, time.time()),
        )
        self.waiting += 1
        if self.defects.planted:
            self._spoil(db, identity, subject, events, nonce)
        return True

    def _spoil(self, db: sqlite3.Connection, identity: str, subject: str, events: str, nonce: str) -> None:
        """Planted defects that strike a retrospective which has just been accepted."""
        if self.defects.strikes("retro_changed"):
            changed = json.dumps([*json.loads(events), "one more"])
            db.execute("UPDATE retros SET events = ? WHERE id = ?", (changed, identity))
        sql = "INSERT INTO retros (id, subject, events, nonce, status, at) VALUES (?, ?, ?, ?, 'queued', ?)"
        if self.defects.strikes("retro_doubled"):
            db.execute(sql, (uuid.uuid4().hex, subject, events, nonce, time.time()))
            self.waiting += 1
        if self.defects.strikes("retro_invented"):
            db.execute(sql, (uuid.uuid4().hex, "invented", '["a", "b"]', "", time.time()))
            self.waiting += 1

    async def _work(self) -> None:
        """In the order in which they came, no faster than its rate: the rest of the platform needs the machine too."""
        while True:
            row = self.db.execute("SELECT * FROM retros WHERE status = 'queued' ORDER BY seq LIMIT 1").fetchone()
            if row is None:
                self.arrived.clear()
                await self.arrived.wait()
                continue
            seq = row["seq"]
            if self.defects.strikes("retro_lost"):
                await self._forget(seq)
            else:
                findings = analyse(json.loads(row["events"]))
                result = proof(row["nonce"], findings)
                if self.defects.strikes("retro_faked"):
                    findings, result = [], hashlib.sha256(uuid.uuid4().bytes).hexdigest()
                await self._finish(seq, json.dumps(findings), result)
            await asyncio.sleep(1 / self.config.thresholds.retro_rate_per_s)

    async def _finish(self, seq: int, findings: str, result: str) -> None:
        sql = "UPDATE retros SET status = 'completed', findings = ?, result = ?, executions = executions + 1"
        await self._end(f"{sql} WHERE seq = ?", findings, result, seq)

    async def _forget(self, seq: int) -> None:
        await self._end("DELETE FROM retros WHERE seq = ?", seq)

    async def _end(self, sql: str, *values: Any) -> None:
        """One that waited does no longer; it is counted in the transaction that says so."""

        def work(db: sqlite3.Connection) -> None:
            db.execute(sql, values)
            self.waiting -= 1

        await self._write(work)

    def _page(self, since: int, limit: int) -> dict[str, Any]:
        """The ledger from a cursor on: each retrospective as it is stored, and what came of it."""
        sql = "SELECT * FROM retros WHERE seq > ? ORDER BY seq LIMIT ?"
        rows = fitting(self.db.execute(sql, (since, max(1, min(PAGE_MAX, limit)))), "events")
        plain, written = ("id", "subject", "status", "nonce", "result", "executions"), ("events", "findings")
        retrospectives = [
            {**{key: row[key] for key in plain}, **{key: json.loads(row[key] or "[]") for key in written}}
            for row in rows
        ]
        return {"retrospectives": retrospectives, "next": rows[-1]["seq"] if rows else since}


KERNEL = MetaLoop
