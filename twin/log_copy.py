"""A copy of the immutable log elsewhere: each entry as soon as it is there and fits, and the way back from it."""

from __future__ import annotations

import asyncio
import json
import logging
import sqlite3
import time

from twin.log_chain import COLUMNS, GENESIS, SCHEMA, misfit

COPY_SCHEMA = SCHEMA + "CREATE TABLE IF NOT EXISTS quarantined (at REAL, sequence INTEGER, entry TEXT);"
FOLLOW_EVERY_S = 0.5
FOLLOW_MAX = 1000
log = logging.getLogger("log_copy")
MARKS = ",".join("?" * len(COLUMNS.split(",")))


class LogCopy:
    """*log* is the log's own database, *copy* that of the copy."""

    def __init__(self, log: sqlite3.Connection, copy: sqlite3.Connection) -> None:
        self.log = log
        self.copy = copy

    async def run(self) -> None:
        """For what was there before, and what could not be copied at once."""
        while True:
            full = self.follow() == FOLLOW_MAX
            await asyncio.sleep(0 if full else FOLLOW_EVERY_S)

    def follow(self) -> int:
        """Copies what is new, up to the first entry that does not fit: damage is never copied. How many.

        A copy that cannot be written now must not keep the log from being written.
        """
        try:
            return self._follow()
        except sqlite3.Error as error:
            if self.copy.in_transaction:
                self.copy.execute("ROLLBACK")
            log.warning("the copy of the log is behind: %s", error)
            return 0

    def _follow(self) -> int:
        last = self.copy.execute("SELECT sequence, entry_hash FROM entries ORDER BY sequence DESC LIMIT 1").fetchone()
        number, previous = (last[0], last[1]) if last else (0, GENESIS)
        wanted = f"SELECT {COLUMNS} FROM entries WHERE sequence > ? ORDER BY sequence LIMIT ?"
        fitting = []
        for row in self.log.execute(wanted, (number, FOLLOW_MAX)):
            if misfit(row, number + 1, previous):
                break
            fitting.append(tuple(row))
            number, previous = row["sequence"], row["entry_hash"]
        if fitting:
            self.copy.execute("BEGIN")
            self.copy.executemany(f"INSERT INTO entries VALUES ({MARKS})", fitting)
            self.copy.execute("COMMIT")
        return len(fitting)

    def differing(self) -> list[tuple[sqlite3.Row, sqlite3.Row | None]]:
        """(the entry as it was copied, the one that the log has in its place now or None) of all that differ."""
        now = {row["sequence"]: row for row in self.log.execute(f"SELECT {COLUMNS} FROM entries")}
        kept = self.copy.execute(f"SELECT {COLUMNS} FROM entries ORDER BY sequence").fetchall()
        pairs = [(row, now.get(row["sequence"])) for row in kept]
        return [(was, there) for was, there in pairs if there is None or tuple(there) != tuple(was)]

    def put_back(self, db: sqlite3.Connection) -> list[int]:
        """Every entry that differs from its copy is as it was; what stood there is kept in quarantine."""
        found = self.differing()
        for was, there in found:
            told = json.dumps(None if there is None else dict(there))
            self.copy.execute("INSERT INTO quarantined VALUES (?, ?, ?)", (time.time(), was["sequence"], told))
            db.execute(f"INSERT OR REPLACE INTO entries VALUES ({MARKS})", tuple(was))
        return [was["sequence"] for was, _ in found]
