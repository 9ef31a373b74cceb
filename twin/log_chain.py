"""The chain of the immutable log: what an entry is, what its hash is made of, and which entries do not fit."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Mapping
from typing import Any

GENESIS = "0" * 64
SCHEMA = """
CREATE TABLE IF NOT EXISTS entries (sequence INTEGER PRIMARY KEY, actor TEXT, action TEXT, resource TEXT,
    subsystem TEXT, payload TEXT, result TEXT, previous_hash TEXT, entry_hash TEXT, reference TEXT UNIQUE);
"""
COLUMNS = "sequence, actor, action, resource, subsystem, payload, result, previous_hash, entry_hash, reference"


def entry_hash(sequence: int, actor: str, action: str, resource: str, payload: str, result: str, previous: str) -> str:
    """SHA-256 over seq:actor:action:resource:payload:result:prev; *payload* is canonical JSON."""
    text = f"{sequence}:{actor}:{action}:{resource}:{payload}:{result}:{previous}"
    return hashlib.sha256(text.encode()).hexdigest()


def misfit(row: Mapping[str, Any] | sqlite3.Row, number: int, previous: str) -> str:
    """Why *row* cannot be entry *number* behind the hash *previous*; "" when it can."""
    if row["sequence"] != number:
        return f"{number} is missing"
    if row["previous_hash"] != previous:
        return f"{number} does not carry the hash of the one before it"
    parts = (row["sequence"], row["actor"], row["action"], row["resource"], row["payload"], row["result"])
    return "" if entry_hash(*parts, previous) == row["entry_hash"] else f"{number} is not what its hash was made of"


def misfits(db: sqlite3.Connection, after: int = 0, limit: int = -1) -> tuple[list[str], int]:
    """(what is wrong with the entries behind *after*, the last that was looked at). Each is held to its neighbour."""
    before = db.execute("SELECT entry_hash FROM entries WHERE sequence = ?", (after,)).fetchone()
    number, previous = (after, before[0]) if before else (0, GENESIS)
    found = []
    wanted = f"SELECT {COLUMNS} FROM entries WHERE sequence > ? ORDER BY sequence LIMIT ?"
    for row in db.execute(wanted, (number, limit)):
        why = misfit(row, number + 1, previous)
        found += [why] if why else []
        number, previous = row["sequence"], row["entry_hash"]
    return found, number
