"""The chain of the immutable log: what an entry is, what its hash is made of, and which entries do not fit."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any

GENESIS = "0" * 64
ASKED_AT_ONCE = 500  # references in one statement
SCHEMA = """
CREATE TABLE IF NOT EXISTS entries (sequence INTEGER PRIMARY KEY, actor TEXT, action TEXT, resource TEXT,
    subsystem TEXT, payload TEXT, result TEXT, previous_hash TEXT, entry_hash TEXT, reference TEXT UNIQUE);
"""
COLUMNS = "sequence, actor, action, resource, subsystem, payload, result, previous_hash, entry_hash, reference"


def entry_hash(sequence: int, actor: str, action: str, resource: str, payload: str, result: str, previous: str) -> str:
    """SHA-256 over seq:actor:action:resource:payload:result:prev; *payload* is canonical JSON."""
    text = f"{sequence}:{actor}:{action}:{resource}:{payload}:{result}:{previous}"
    return hashlib.sha256(text.encode()).hexdigest()


def append(db: sqlite3.Connection, entries: Sequence[Mapping[str, Any]]) -> list[int]:
    """Chain *entries* behind the last one; their sequences. An entry whose reference is there already is that entry."""
    known = _known(db, [entry["reference"] for entry in entries])
    last = db.execute("SELECT sequence, entry_hash FROM entries ORDER BY sequence DESC LIMIT 1").fetchone()
    sequence, previous = (last[0], last[1]) if last else (0, GENESIS)
    rows = []
    for entry in entries:
        if entry["reference"] in known:
            continue
        sequence += 1
        content = json.dumps(entry.get("payload", {}), sort_keys=True, separators=(",", ":"))
        parts = (entry["actor"], entry["action"], entry["resource"])
        digest = entry_hash(sequence, *parts, content, entry["result"], previous)
        known[entry["reference"]] = sequence
        rows.append(
            (sequence, *parts, entry["subsystem"], content, entry["result"], previous, digest, entry["reference"])
        )
        previous = digest
    db.executemany("INSERT INTO entries VALUES (?,?,?,?,?,?,?,?,?,?)", rows)
    return [known[entry["reference"]] for entry in entries]


def _known(db: sqlite3.Connection, references: Sequence[str]) -> dict[str, int]:
    """{reference: sequence} of those that the log has."""
    found: dict[str, int] = {}
    for begin in range(0, len(references), ASKED_AT_ONCE):
        part = references[begin : begin + ASKED_AT_ONCE]
        marks = ",".join("?" * len(part))
        found.update(db.execute(f"SELECT reference, sequence FROM entries WHERE reference IN ({marks})", part))
    return found


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
