"""Where a page of a table begins: behind the cursor that a reader has, or so that it ends with the last rows."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
from typing import Any


def cursor(db: sqlite3.Connection, table: str, column: str, asked: Mapping[str, Any]) -> int:
    """*asked* has `since`, or `last`: how many rows of the end are wanted. *column* is the table's integer key."""
    if "last" not in asked:
        return int(asked.get("since", 0))
    behind = max(0, int(asked["last"]))
    row = db.execute(f"SELECT {column} FROM {table} ORDER BY {column} DESC LIMIT 1 OFFSET ?", (behind,)).fetchone()
    return int(row[0]) if row else 0


PAGE_CHARACTERS_MAX = 2_000_000  # of the long texts in one answer


def fitting(rows: Iterable[sqlite3.Row], text: str) -> list[sqlite3.Row]:
    """The first of *rows* whose column *text* fits into one answer together, and at least one."""
    kept: list[sqlite3.Row] = []
    left = PAGE_CHARACTERS_MAX
    for row in rows:
        left -= len(row[text] or "")
        if left < 0 and kept:
            break
        kept.append(row)
    return kept
