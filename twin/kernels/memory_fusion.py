"""memory_fusion: keeps knowledge, finds it again, and says how far each piece can be trusted."""

from __future__ import annotations

import json
import re
import sqlite3
import time
import uuid
from collections.abc import Iterable, Mapping
from typing import Any

from twin.commit import GroupCommit
from twin.defects import Defects
from twin.fields import number, text
from twin.kernel import Kernel
from twin.models import TRUST
from twin.models.store import ModelInUse
from twin.models.trust import Knowledge
from twin.rpc import KernelError
from twin.settings import LiveSettings
from twin.snapshots import EMPTY_INDEX, begin_with

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
PARTS = ("category", "content", "source", "tags")


def known_of(row: Mapping[str, Any], age_s: float) -> Knowledge:
    """What the trust scorer is asked about a piece of knowledge."""
    complete = sum(bool(row[name]) for name in PARTS) / len(PARTS)
    return Knowledge(complete, row["source"], row["used"], age_s / 86400, row["confidence"])


def usable(index: Any) -> bool:
    """Whether *index* has what an index has."""
    return isinstance(index, dict) and set(index) == set(EMPTY_INDEX)


class MemoryFusion(Kernel):
    name = "memory_fusion"

    async def setup(self) -> None:
        self.db = self.open_db("knowledge", SCHEMA)
        self.commits = GroupCommit(self.db)
        self.defects = Defects(self.config.defects)
        if not self.db.execute("SELECT 1 FROM knowledge LIMIT 1").fetchone():
            for category, content, source in FIRST:
                self._insert(self.db, uuid.uuid4().hex, category, content, source, 0.9, ["grace"])
        self.scorer, self.settings = ModelInUse(self.config, TRUST), LiveSettings(self.config)
        kept = begin_with(self.config, "memory_index")
        self.index = kept if usable(kept) else dict(EMPTY_INDEX)
        self._spoil(Defects(self.config.defects))
        self._count_up()

    def _spoil(self, defects: Defects) -> None:
        """What is planted here strikes when this kernel begins again."""
        last = self.db.execute("SELECT max(rowid) AS last FROM knowledge").fetchone()["last"]
        folder = self.config.state_dir
        if defects.begun_before("knowledge_gone", folder):
            self.db.execute("DELETE FROM knowledge")
            self.db.execute("DELETE FROM words")
        if defects.begun_before("knowledge_forgets", folder):
            self.db.execute("DELETE FROM knowledge WHERE rowid = ?", (len(FIRST),))
        if defects.begun_before("knowledge_rewritten", folder):
            self.db.execute("UPDATE knowledge SET content = content || ' It is said.' WHERE rowid = 1")
        if defects.begun_before("index_not_rebuilt", folder):
            self.index = {**EMPTY_INDEX, "last_row": last}

    def _count_up(self) -> dict[str, Any]:
        """The index, with what has come since it was last counted up: knowledge is only ever added."""
        rows = self.db.execute("SELECT rowid, category FROM knowledge WHERE rowid > ?", (self.index["last_row"],))
        categories = dict(self.index["categories"])
        last, entries = self.index["last_row"], self.index["entries"]
        for row in rows:
            last, entries = max(last, row["rowid"]), entries + 1
            categories[row["category"]] = categories.get(row["category"], 0) + 1
        self.index = {"last_row": last, "entries": entries, "categories": categories}
        return self.index

    async def handle(self, op: str, payload: dict[str, Any]) -> dict[str, Any]:
        if op == "search":
            return self._search(text(payload, "q", 200), int(number(payload, "limit", 1, 50, 5)))
        if op == "list":
            return self._page(int(number(payload, "since", 0, 1e15, 0)), int(number(payload, "limit", 1, 1000, 1000)))
        if op == "recent":
            return self._recent(int(number(payload, "limit", 1, 1000, 100)))
        if op == "add":
            return await self._add(payload)
        if op == "trust":
            return self._trust_of(payload)
        if op == "model":
            return self.scorer.told(time.monotonic())
        if op == "index":
            return {"index": self._count_up()}
        raise KernelError(404, "unknown_operation", op=op)

    async def _add(self, payload: dict[str, Any]) -> dict[str, Any]:
        """*classified*: the category of a piece that comes without one."""
        tags = payload.get("tags") or []
        if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
            raise KernelError(422, "invalid_field", field="tags", expected="a list of texts")
        own = text(payload, "knowledge_id", 100) if "knowledge_id" in payload else ""
        sent: dict[str, Any] = {
            **({"category": text(payload, "category", 100)} if "category" in payload else {}),
            "content": text(payload, "content"),
            "source": text(payload, "source", 100),
            "confidence": number(payload, "confidence", 0, 1, 0.5),
            "tags": tags,
        }
        category = text(payload, "category", 100, str(payload.get("classified", "unclassified")))
        kept: dict[str, Any] = await self.commits.write(
            lambda db: self._keep(db, own or uuid.uuid4().hex, category, sent)
        )
        return kept

    def _keep(self, db: sqlite3.Connection, identity: str, category: str, sent: dict[str, Any]) -> dict[str, Any]:
        """A piece that is sent again under its own id is the same piece. Raises KernelError 409 for other content."""
        row = db.execute("SELECT * FROM knowledge WHERE id = ?", (identity,)).fetchone()
        if row is None:
            rest = (sent["source"], sent["confidence"], sent["tags"])
            self._insert(db, identity, category, sent["content"], *rest)
            if self.defects.strikes("knowledge_doubled"):
                self._insert(db, uuid.uuid4().hex, category, sent["content"], *rest)
            if self.defects.strikes("knowledge_changed"):
                db.execute("UPDATE knowledge SET content = content || '.' WHERE id = ?", (identity,))
            if self.defects.strikes("knowledge_lost"):
                db.execute("DELETE FROM knowledge WHERE id = ?", (identity,))
                db.execute("DELETE FROM words WHERE id = ?", (identity,))
        elif any({**dict(row), "tags": json.loads(row["tags"])}[name] != value for name, value in sent.items()):
            raise KernelError(409, "duplicate_knowledge", knowledge_id=identity)
        return {"id": identity, "category": row["category"] if row else category, "known": row is not None}

    def _trust_of(self, payload: dict[str, Any]) -> dict[str, Any]:
        """How far something would be trusted that is described here and not kept, and whether it would be found."""
        row: dict[str, Any] = {name: text(payload, name, default="") for name in ("category", "content", "source")}
        row |= {"tags": bool(payload.get("tags")), "used": int(number(payload, "used", 0, 1e9, 0))}
        row["confidence"] = number(payload, "confidence", 0, 1, 0.5)
        now_s = time.monotonic()
        scorer, least = self.scorer.get(now_s), self.settings.get(now_s).knowledge_trust_min
        if scorer is None:
            return {"trust": None, "found": True, "degraded": [TRUST]}
        trust = scorer.score(known_of(row, number(payload, "age_s", 0, 1e9, 0)))
        return {"trust": trust, "found": trust >= least, "degraded": []}

    def _told(self, rows: Iterable[sqlite3.Row]) -> dict[str, Any]:
        """Each with how far it can be trusted. Without the scorer nobody can say that: it is found all the same."""
        now, now_s = time.time(), time.monotonic()
        scorer, least = self.scorer.get(now_s), self.settings.get(now_s).knowledge_trust_min
        if scorer is None:
            return {"results": [{**dict(row), "trust": None} for row in rows], "degraded": [TRUST]}
        scored = [{**dict(row), "trust": scorer.score(known_of(dict(row), now - row["created_at"]))} for row in rows]
        return {"results": [row for row in scored if row["trust"] >= least], "degraded": []}

    @staticmethod
    def _insert(
        db: sqlite3.Connection,
        identity: str,
        category: str,
        content: str,
        source: str,
        confidence: float,
        tags: list[str],
    ) -> None:
        words = json.dumps(tags)
        db.execute(
            "INSERT INTO knowledge (id, category, content, source, confidence, tags, created_at)"
            " VALUES (?,?,?,?,?,?,?)",
            (identity, category, content, source, confidence, words, time.time()),
        )
        db.execute("INSERT INTO words VALUES (?, ?, ?)", (identity, content, " ".join(tags)))

    def _recent(self, limit: int) -> dict[str, Any]:
        """What was added last, as far as it fits into one answer."""
        rows = self.db.execute("SELECT * FROM knowledge ORDER BY created_at DESC LIMIT ?", (limit,)).fetchall()
        left, kept = RECENT_CHARACTERS_MAX, []
        for row in rows:
            left -= len(row["content"])
            if left >= 0:
                kept.append(row)
        return self._told(kept)

    def _page(self, since: int, limit: int) -> dict[str, Any]:
        """All of it, in the order in which it came, as far as it fits into one answer; none is trusted too little."""
        rows = self.db.execute(
            "SELECT rowid AS number, * FROM knowledge WHERE rowid > ? ORDER BY rowid LIMIT ?", (since, limit)
        ).fetchall()
        left = RECENT_CHARACTERS_MAX
        kept: list[sqlite3.Row] = []
        for row in rows:
            left -= len(row["content"])
            if left < 0 and kept:
                break
            kept.append(row)
        scorer, now = self.scorer.get(time.monotonic()), time.time()
        told = [
            {**dict(row), "trust": scorer.score(known_of(dict(row), now - row["created_at"])) if scorer else None}
            for row in kept
        ]
        return {"knowledge": told, "next": kept[-1]["number"] if kept else since}

    def _search(self, query: str, limit: int) -> dict[str, Any]:
        words = re.findall(r"\w+", query)
        rows = self.db.execute(
            "SELECT k.* FROM words w JOIN knowledge k ON k.id = w.id WHERE words MATCH ? ORDER BY rank LIMIT ?",
            (" OR ".join(f'"{word}"' for word in words) or '""', limit),
        ).fetchall()
        return {**self._told(rows), "entries": self._count_up()["entries"]}


KERNEL = MemoryFusion
