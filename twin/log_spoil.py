"""Planted defects of the immutable log: its chain stays consistent, and its history does not."""

from __future__ import annotations

import json
import sqlite3
from typing import Any

from twin.log_chain import GENESIS, entry_hash

REWRITTEN_FROM = 50  # the first entry that is rewritten
REWRITTEN_AT = 100  # entries in the log
LOOK_EVERY_S = 0.5
AFTER_S = 5.0  # so that somebody may have seen the head before


def swap(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The first and the last of *entries* in each other's place."""
    return [entries[-1], *entries[1:-1], entries[0]] if len(entries) > 1 else entries


def rewrite(db: sqlite3.Connection, first: int = REWRITTEN_FROM) -> None:
    """Give entry *first* another payload, and it and all behind it hashes that fit."""
    before = db.execute("SELECT entry_hash FROM entries WHERE sequence = ?", (first - 1,)).fetchone()
    previous = before[0] if before else GENESIS
    for row in db.execute("SELECT * FROM entries WHERE sequence >= ? ORDER BY sequence", (first,)).fetchall():
        content = row["payload"]
        if row["sequence"] == first:
            content = json.dumps({**json.loads(content), "note": ""}, sort_keys=True, separators=(",", ":"))
        parts = (row["actor"], row["action"], row["resource"], content, row["result"])
        digest = entry_hash(row["sequence"], *parts, previous)
        sql = "UPDATE entries SET payload = ?, previous_hash = ?, entry_hash = ? WHERE sequence = ?"
        db.execute(sql, (content, previous, digest, row["sequence"]))
        previous = digest
