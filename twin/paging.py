"""Where a page of a table begins: behind the cursor that a reader has, or so that it ends with the last rows."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from typing import Any


def cursor(db: sqlite3.Connection, table: str, column: str, asked: Mapping[str, Any]) -> int:
    """*asked* has `since`, or `last`: how many rows of the end are wanted. *column* is the table's integer key."""
    if "last" not in asked:
        return int(asked.get("since", 0))
    behind = max(0, int(asked["last"]))
    row = db.execute(f"SELECT {column} FROM {table} ORDER BY {column} DESC LIMIT 1 OFFSET ?", (behind,)).fetchone()
    return int(row[0]) if row else 0
