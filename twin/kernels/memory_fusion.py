"""memory_fusion: keeps knowledge, finds it again, and says how far each piece can be trusted."""

from __future__ import annotations

import json
import re
import sqlite3
import time
import uuid
from typing import Any

from twin.commit import GroupCommit
from twin.fields import number, text
from twin.kernel import Kernel
from twin.rpc import KernelError

SCHEMA = """
CREATE TABLE IF NOT EXISTS knowledge (id TEXT PRIMARY KEY, category TEXT, content TEXT, source TEXT,
    confidence REAL, tags TEXT, created_at REAL, used INTEGER DEFAULT 0);
CREATE VIRTUAL TABLE IF NOT EXISTS words USING fts5(id UNINDEXED, content, tags);
"""
FIRST = (
    ("platform", "Grace is an agent platform of twenty kernels with its own safeguards.", "handbook"),
    ("platform", "A watchdog restarts a kernel whose heart has stopped beating.", "handbook"),
    ("operations", "Playbooks are started by incidents and say what they have done.", "runbook"),
)
RECENT_CHARACTERS_MAX = 500_000
SOURCES = {"handbook": 1.0, "runbook": 0.9, "user": 0.5}


def trust(row: sqlite3.Row, now: float) -> float:
    """completeness .30, source .25, usage .20, freshness .15, consistency .10; each from 0 to 1."""
    complete = sum(bool(row[name]) for name in ("category", "content", "source", "tags")) / 4
    age_days = (now - row["created_at"]) / 86400
    return round(
        0.30 * complete
        + 0.25 * SOURCES.get(row["source"], 0.3)
        + 0.20 * min(1.0, row["used"] / 10)
        + 0.15 * max(0.0, 1 - age_days / 365)
        + 0.10 * row["confidence"],
        4,
    )


class MemoryFusion(Kernel):
    name = "memory_fusion"

    async def setup(self) -> None:
        self.db = self.open_db("knowledge", SCHEMA)
        self.commits = GroupCommit(self.db)
        if not self.db.execute("SELECT 1 FROM knowledge LIMIT 1").fetchone():
            for category, content, source in FIRST:
                self._insert(self.db, category, content, source, 0.9, ["grace"])

    async def handle(self, op: str, payload: dict[str, Any]) -> dict[str, Any]:
        if op == "search":
            return self._search(text(payload, "q", 200), int(number(payload, "limit", 1, 50, 5)))
        if op == "recent":
            return self._recent(int(number(payload, "limit", 1, 1000, 100)))
        if op == "add":
            tags = payload.get("tags") or []
            if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
                raise KernelError(422, "invalid_field", field="tags", expected="a list of texts")
            parts = (
                text(payload, "category", 100),
                text(payload, "content"),
                text(payload, "source", 100),
                number(payload, "confidence", 0, 1, 0.5),
            )
            return {"id": await self.commits.write(lambda db: self._insert(db, *parts, tags))}
        raise KernelError(404, "unknown_operation", op=op)

    @staticmethod
    def _insert(
        db: sqlite3.Connection, category: str, content: str, source: str, confidence: float, tags: list[str]
    ) -> str:
        identity = uuid.uuid4().hex
        words = json.dumps(tags)
        db.execute(
            "INSERT INTO knowledge (id, category, content, source, confidence, tags, created_at)"
            " VALUES (?,?,?,?,?,?,?)",
            (identity, category, content, source, confidence, words, time.time()),
        )
        db.execute("INSERT INTO words VALUES (?, ?, ?)", (identity, content, " ".join(tags)))
        return identity

    def _recent(self, limit: int) -> dict[str, Any]:
        """What was added last, as far as it fits into one answer."""
        rows = self.db.execute("SELECT * FROM knowledge ORDER BY created_at DESC LIMIT ?", (limit,)).fetchall()
        now, left = time.time(), RECENT_CHARACTERS_MAX
        results = []
        for row in rows:
            left -= len(row["content"])
            if left >= 0:
                results.append({**dict(row), "trust": trust(row, now)})
        return {"results": results}

    def _search(self, query: str, limit: int) -> dict[str, Any]:
        words = re.findall(r"\w+", query)
        rows = self.db.execute(
            "SELECT k.* FROM words w JOIN knowledge k ON k.id = w.id WHERE words MATCH ? ORDER BY rank LIMIT ?",
            (" OR ".join(f'"{word}"' for word in words) or '""', limit),
        ).fetchall()
        now = time.time()
        return {"results": [{**dict(row), "trust": trust(row, now)} for row in rows]}


KERNEL = MemoryFusion
