"""The outbox of a kernel: what immutable_log has to record waits here, on disk, until it really has."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import time
from typing import Any

from twin.commit import GroupCommit
from twin.kernel import Kernel
from twin.log_room import Complaints, unwritable
from twin.rpc import KernelError, KernelTimeout, KernelUnavailable
from twin.safeguards.log_write_guard import LogWriteGuard

SCHEMA = "CREATE TABLE IF NOT EXISTS outbox (number INTEGER PRIMARY KEY AUTOINCREMENT, entry TEXT);"
RELAY_EVERY_S = 0.2
BATCH = 500
BATCH_BYTES_MAX = 4 << 20
WAITING_MAX = 100_000
RETRY_AFTER_S = 2


class Outbox:
    """One kernel's entries. Each is sent until it is taken; its reference makes one that comes twice a single one.

    It lives on the immutable log's own disk. When that takes no more, add() refuses what it is called for; without
    the log write guard it only complains, and what is done is done without a record.
    """

    def __init__(self, kernel: Kernel, db: sqlite3.Connection, commits: GroupCommit) -> None:
        self.kernel = kernel
        self.db = db
        self.commits = commits
        self.strict = kernel.config.enabled(LogWriteGuard.name) and "refuse_leaks" not in kernel.config.defects
        self.complaints = Complaints(kernel.log)
        self.waiting: int = db.execute("SELECT count(*) FROM outbox").fetchone()[0]
        self.arrived = asyncio.Event()

    async def add(self, entry: dict[str, Any]) -> None:
        """On disk when it returns. *entry*: actor, action, resource, subsystem, payload, result, reference."""
        if self.waiting >= WAITING_MAX:
            raise KernelError(503, "audit_backlog", retry_after_s=RETRY_AFTER_S)
        text = json.dumps(entry)
        self.waiting += 1
        try:
            await self.commits.write(lambda db: db.execute("INSERT INTO outbox (entry) VALUES (?)", (text,)))
        except BaseException as error:
            self.waiting -= 1
            if not isinstance(error, sqlite3.Error) or not unwritable(error):
                raise
            self.complaints.say(time.monotonic(), str(error))
            if self.strict:
                raise KernelError(503, "log_unwritable", retry_after_s=RETRY_AFTER_S) from None
            return
        self.arrived.set()

    async def relay(self) -> None:
        """Hands everything to immutable_log, in order; while that is away, nothing is lost."""
        while True:
            if not self.waiting:
                self.arrived.clear()
                await self.arrived.wait()
            await asyncio.sleep(RELAY_EVERY_S)
            while await self._hand_over():
                pass

    async def _hand_over(self) -> bool:
        """Whether it was taken and there is more."""
        try:
            last, entries = self._batch()
            if not entries:
                return False
            await self.kernel.rpc.call("immutable_log", "append", {"entries": entries})
            await self.commits.write(lambda db: db.execute("DELETE FROM outbox WHERE number <= ?", (last,)))
        except (KernelTimeout, KernelUnavailable, KernelError, sqlite3.Error):
            return False
        self.waiting -= len(entries)
        return self.waiting > 0

    def _batch(self) -> tuple[int, list[dict[str, Any]]]:
        """(the last one's number, entries), as many as fit into one message."""
        entries: list[dict[str, Any]] = []
        last = size = 0
        for number, text in self.db.execute("SELECT number, entry FROM outbox ORDER BY number LIMIT ?", (BATCH,)):
            size += len(text)
            if entries and size > BATCH_BYTES_MAX:
                break
            last = number
            entries.append(json.loads(text))
        return last, entries
