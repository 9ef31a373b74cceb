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

SCHEMA = """
CREATE TABLE IF NOT EXISTS outbox (number INTEGER PRIMARY KEY AUTOINCREMENT, entry TEXT, reserved INTEGER DEFAULT 0);
"""
CONFIRM = "UPDATE outbox SET reserved = 0 WHERE number = ?"
CANCEL = "DELETE FROM outbox WHERE number = ?"
RELAY_EVERY_S = 0.2
BATCH = 500
BATCH_BYTES_MAX = 4 << 20
WAITING_MAX = 100_000
RETRY_AFTER_S = 2


class Outbox:
    """One kernel's entries. Each is sent until it is taken; its reference makes one that comes twice a single one.

    An entry of work that another kernel does is reserved before that kernel is asked, so that nothing is done for
    which there is no room. What a process that died had reserved is sent: it may have been done.

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
        left = db.execute("SELECT number FROM outbox WHERE reserved").fetchall()
        self._unsettled = dict.fromkeys((row[0] for row in left), CONFIRM)  # number → statement that is to be tried
        self.arrived = asyncio.Event()

    async def add(self, entry: dict[str, Any]) -> None:
        """On disk when it returns. *entry*: actor, action, resource, subsystem, payload, result, reference."""
        if await self._insert(entry, reserved=False):
            self.arrived.set()

    async def reserve(self, entry: dict[str, Any]) -> int:
        """As add(), but it is not sent before confirm(); its number, 0 when it is lost without the guard."""
        return await self._insert(entry, reserved=True)

    async def confirm(self, number: int) -> None:
        await self._settle(number, CONFIRM)

    async def cancel(self, number: int) -> None:
        await self._settle(number, CANCEL)

    async def _settle(self, number: int, statement: str) -> None:
        """A full disk is no reason to fail: the entry is on disk, and the statement is tried again later."""
        if not number:
            return
        try:
            await self.commits.write(lambda db: db.execute(statement, (number,)))
        except sqlite3.Error as error:
            if not unwritable(error):
                raise
            self._unsettled[number] = statement
        else:
            self.waiting -= statement == CANCEL
        self.arrived.set()

    async def _insert(self, entry: dict[str, Any], reserved: bool) -> int:
        if self.waiting >= WAITING_MAX:
            raise KernelError(503, "audit_backlog", retry_after_s=RETRY_AFTER_S)
        text = json.dumps(entry)
        self.waiting += 1
        try:
            sql = "INSERT INTO outbox (entry, reserved) VALUES (?, ?)"
            number: int = await self.commits.write(lambda db: db.execute(sql, (text, reserved)).lastrowid)
        except BaseException as error:
            self.waiting -= 1
            if not isinstance(error, sqlite3.Error) or not unwritable(error):
                raise
            self.complaints.say(time.monotonic(), str(error))
            if self.strict:
                raise KernelError(503, "log_unwritable", retry_after_s=RETRY_AFTER_S) from None
            return 0
        return number

    async def relay(self) -> None:
        """Hands everything to immutable_log, in order; while that is away, nothing is lost."""
        while True:
            if not self.waiting:
                self.arrived.clear()
                await self.arrived.wait()
            await asyncio.sleep(RELAY_EVERY_S)
            await self._settle_again()
            while await self._hand_over():
                pass

    async def _settle_again(self) -> None:
        unsettled, self._unsettled = self._unsettled, {}
        for number, statement in unsettled.items():
            await self._settle(number, statement)

    async def _hand_over(self) -> bool:
        """Whether it was taken and there is more."""
        try:
            numbers, entries = self._batch()
            if not entries:
                return False
            await self.kernel.rpc.call("immutable_log", "append", {"entries": entries})
            await self.commits.write(lambda db: db.executemany("DELETE FROM outbox WHERE number = ?", numbers))
        except (KernelTimeout, KernelUnavailable, KernelError, sqlite3.Error):
            return False
        self.waiting -= len(entries)
        return self.waiting > 0

    def _batch(self) -> tuple[list[tuple[int]], list[dict[str, Any]]]:
        """(their numbers, entries), as many as fit into one message."""
        entries: list[dict[str, Any]] = []
        numbers: list[tuple[int]] = []
        size = 0
        sql = "SELECT number, entry FROM outbox WHERE NOT reserved ORDER BY number LIMIT ?"
        for number, text in self.db.execute(sql, (BATCH,)):
            size += len(text)
            if entries and size > BATCH_BYTES_MAX:
                break
            numbers.append((number,))
            entries.append(json.loads(text))
        return numbers, entries
