"""Group commit: many writers, one transaction every few milliseconds, and nobody is answered before it is on disk."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from typing import Any

WINDOW_S = 0.003


class GroupCommit:
    """await write(work): *work(db)* runs inside the next transaction; its result comes when that is committed."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self.db = db
        self._waiting: list[tuple[Callable[[sqlite3.Connection], Any], asyncio.Future[Any]]] = []
        self._flush: asyncio.Task[None] | None = None

    async def write(self, work: Callable[[sqlite3.Connection], Any]) -> Any:
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting.append((work, future))
        if self._flush is None or self._flush.done():
            self._flush = asyncio.create_task(self._commit())
        return await future

    async def _commit(self) -> None:
        while self._waiting:
            await asyncio.sleep(WINDOW_S)
            batch, self._waiting = self._waiting, []
            try:
                results = self._transaction([work for work, _ in batch])
            except sqlite3.Error as error:  # a full disk: all of them have failed, and are told so
                if self.db.in_transaction:
                    self.db.execute("ROLLBACK")
                results = [error] * len(batch)
            for (_, future), result in zip(batch, results, strict=True):
                if future.done():
                    continue
                if isinstance(result, Exception):
                    future.set_exception(result)
                else:
                    future.set_result(result)

    def _transaction(self, works: list[Callable[[sqlite3.Connection], Any]]) -> list[Any]:
        """Each one's result, or the exception that it raised; one that fails takes no other along."""
        results: list[Any] = []
        self.db.execute("BEGIN IMMEDIATE")
        for work in works:
            self.db.execute("SAVEPOINT one")
            try:
                results.append(work(self.db))
            except Exception as error:
                if not self.db.in_transaction:
                    raise  # a full disk: SQLite has rolled back all of it
                self.db.execute("ROLLBACK TO one")
                results.append(error)
            self.db.execute("RELEASE one")
        self.db.execute("COMMIT")
        return results
