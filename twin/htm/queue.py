"""The durable queue of intents: who waits, who has been given out under which lease, and what is finished.

SQLite holds all of it; what is kept in memory beside it can be read again at any time. Every method that changes
something runs inside one transaction of the caller's. A lease is a number that is never given twice: a completion
under a lease that is no longer the intent's own is refused, so an intent is completed once, whoever works on it.
"""

from __future__ import annotations

import heapq
import json
import sqlite3
from dataclasses import dataclass
from typing import Any

from twin.paging import fitting

SCHEMA = """
CREATE TABLE IF NOT EXISTS htm (seq INTEGER PRIMARY KEY AUTOINCREMENT, intent_id TEXT UNIQUE, body TEXT,
    priority INTEGER, status TEXT, accepted_at REAL, completed_at REAL, executions INTEGER DEFAULT 0,
    worker TEXT DEFAULT '', lease INTEGER DEFAULT 0, given_back INTEGER DEFAULT 0, charged INTEGER DEFAULT 0,
    result TEXT);
CREATE INDEX IF NOT EXISTS unfinished ON htm (status) WHERE status IN ('created', 'executing');
CREATE TABLE IF NOT EXISTS leases (last INTEGER);
"""
ROWS = "seq, intent_id, status, executions, priority, accepted_at, completed_at, body, result"
BEHIND_ALL = -1  # the order of an intent that was given back again and again: what works goes first


@dataclass(frozen=True)
class Lease:
    """An intent in a worker's hands."""

    number: int
    intent_id: str
    seq: int
    worker: str
    since_s: float


class HtmQueue:
    """Times come as arguments: *now* in epoch seconds for the ledger, *now_s* on the monotonic clock for leases."""

    def __init__(self, db: sqlite3.Connection, waiting_max: int, attempts_max: int) -> None:
        self.db = db
        self.waiting_max = waiting_max
        self.attempts_max = attempts_max
        self.leases: dict[int, Lease] = {}
        self._heap: list[tuple[int, int, str]] = []
        self.last_lease = 0

    def load(self, now_s: float) -> None:
        """Reads everything again; what is given out keeps its lease for as long as a new one would have it."""
        rows = self.db.execute("SELECT * FROM htm WHERE status IN ('created', 'executing')").fetchall()
        self._heap = [self._entry(row) for row in rows if row["status"] == "created"]
        heapq.heapify(self._heap)
        out = [row for row in rows if row["status"] == "executing"]
        self.leases = {r["lease"]: Lease(r["lease"], r["intent_id"], r["seq"], r["worker"], now_s) for r in out}
        found = self.db.execute("SELECT last FROM leases").fetchone()
        if found is None:
            self.db.execute("INSERT INTO leases VALUES (0)")
        self.last_lease = found["last"] if found else 0

    @staticmethod
    def _entry(row: sqlite3.Row) -> tuple[int, int, str]:
        """Its place: the most urgent first, then who came first."""
        return (-(row["priority"] if row["given_back"] < 2 else BEHIND_ALL), row["seq"], row["intent_id"])

    @property
    def waiting(self) -> int:
        return len(self._heap)

    @property
    def depth(self) -> int:
        """All that was accepted and is not finished."""
        return len(self._heap) + len(self.leases)

    def add(self, rows: list[tuple[str, int, str]], now: float, again: bool = False) -> tuple[list[str], list[str]]:
        """A word for each (intent_id, priority, body): created, duplicate (known with another body) or full.

        With it the ids of those that came for the first time.

        *again*: nobody has checked them, and a known one with another body is carried out anew.
        """
        words: list[str] = []
        fresh: list[str] = []
        for intent_id, priority, body in rows:
            known = self.db.execute("SELECT * FROM htm WHERE intent_id = ?", (intent_id,)).fetchone()
            if known is not None and known["body"] == body:
                words.append("created")
            elif known is not None and not again:
                words.append("duplicate")
            elif len(self._heap) >= self.waiting_max:
                words.append("full")
            else:
                self._keep(known, intent_id, priority, body, now)
                words.append("created")
                fresh += [intent_id] if known is None else []
        return words, fresh

    def _keep(self, known: sqlite3.Row | None, intent_id: str, priority: int, body: str, now: float) -> None:
        if known is None:
            sql = "INSERT INTO htm (intent_id, body, priority, status, accepted_at) VALUES (?, ?, ?, 'created', ?)"
            seq = self.db.execute(sql, (intent_id, body, priority, now)).lastrowid
            heapq.heappush(self._heap, (-priority, int(seq or 0), intent_id))
            return
        self.db.execute("UPDATE htm SET body = ? WHERE seq = ?", (body, known["seq"]))
        if known["status"] not in ("created", "executing"):
            self.repeat(intent_id)

    def repeat(self, intent_id: str) -> None:
        """Puts a finished intent into the queue once more."""
        self.db.execute("UPDATE htm SET status = 'created' WHERE intent_id = ?", (intent_id,))
        row = self.db.execute("SELECT * FROM htm WHERE intent_id = ?", (intent_id,)).fetchone()
        heapq.heappush(self._heap, self._entry(row))

    def drop(self, intent_id: str) -> None:
        """Forgets an intent as if it had never come."""
        self.db.execute("DELETE FROM htm WHERE intent_id = ?", (intent_id,))
        self.shelve(intent_id)

    def shelve(self, intent_id: str) -> None:
        """Hands an intent to no worker any more."""
        self._heap = [one for one in self._heap if one[2] != intent_id]
        heapq.heapify(self._heap)

    def take(self, worker: str, now_s: float) -> dict[str, Any] | None:
        """The most urgent intent for *worker*, with the lease under which it has it; None when nothing waits."""
        if not self._heap:
            return None
        _, seq, intent_id = heapq.heappop(self._heap)
        self.last_lease += 1
        lease = Lease(self.last_lease, intent_id, seq, worker, now_s)
        self.db.execute("UPDATE leases SET last = ?", (lease.number,))
        self.db.execute(
            "UPDATE htm SET status = 'executing', worker = ?, lease = ? WHERE seq = ?", (worker, lease.number, seq)
        )
        body = self.db.execute("SELECT body FROM htm WHERE seq = ?", (seq,)).fetchone()["body"]
        self.leases[lease.number] = lease
        return {"lease": lease.number, "intent_id": intent_id, "intent": json.loads(body)}

    def finish(self, worker: str, number: int, result: str, now: float) -> str:
        """The id of the intent that is completed by this; "" when the lease is not *worker*'s (any more)."""
        lease = self.leases.get(number)
        if lease is None or lease.worker != worker:
            return ""
        del self.leases[number]
        self.db.execute(
            "UPDATE htm SET status = 'completed', completed_at = ?, executions = executions + 1, result = ?, lease = 0"
            " WHERE seq = ? AND lease = ?",
            (now, result, lease.seq, number),
        )
        return lease.intent_id

    def give_back(self, number: int) -> str:
        """Ends a lease without a result: its intent waits again. Its id, or "" when there is no such lease."""
        lease = self.leases.pop(number, None)
        if lease is None:
            return ""
        self.db.execute(
            "UPDATE htm SET status = 'created', worker = '', lease = 0, given_back = given_back + 1 WHERE seq = ?",
            (lease.seq,),
        )
        row = self.db.execute("SELECT * FROM htm WHERE seq = ?", (lease.seq,)).fetchone()
        if row is not None:
            heapq.heappush(self._heap, self._entry(row))
        return lease.intent_id

    def charge(self, intent_id: str, as_status: str, now: float) -> bool:
        """Holds a failed attempt against the intent itself; whether that was one too many, so that it is given up."""
        self.db.execute("UPDATE htm SET charged = charged + 1 WHERE intent_id = ?", (intent_id,))
        row = self.db.execute("SELECT * FROM htm WHERE intent_id = ?", (intent_id,)).fetchone()
        if row is None or row["status"] != "created" or row["charged"] < self.attempts_max:
            return False
        self.db.execute("UPDATE htm SET status = ?, completed_at = ? WHERE intent_id = ?", (as_status, now, intent_id))
        self._heap = [one for one in self._heap if one[2] != intent_id]
        heapq.heapify(self._heap)
        return True

    def overdue(self, now_s: float, lease_s: float) -> list[int]:
        """The leases that nobody has given back or completed in time."""
        return [one.number for one in self.leases.values() if now_s - one.since_s >= lease_s]

    def held_by(self, worker: str) -> list[int]:
        return [one.number for one in self.leases.values() if one.worker == worker]

    def page(self, since: int, limit: int) -> dict[str, Any]:
        """The ledger from a cursor on: each intent as it is stored, and the result of its execution."""
        sql = f"SELECT {ROWS} FROM htm WHERE seq > ? ORDER BY seq LIMIT ?"
        rows = fitting(self.db.execute(sql, (since, limit)), "body")
        plain = [one for one in ROWS.split(", ") if one not in ("seq", "body")]
        intents = [{**{key: row[key] for key in plain}, "intent": json.loads(row["body"])} for row in rows]
        return {"intents": intents, "next": rows[-1]["seq"] if rows else since}

    def status(self, intent_id: str) -> dict[str, Any] | None:
        sql = "SELECT intent_id, status, executions FROM htm WHERE intent_id = ?"
        row = self.db.execute(sql, (intent_id,)).fetchone()
        return dict(row) if row else None
