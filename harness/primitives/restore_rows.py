"""Gives rows of a database back the values that they had, where a fault's own are still in their place.

The database may be in use: each row is changed only if it holds what the fault has put there, in one transaction.
What somebody else has made of a row meanwhile is theirs.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.primitives.restore_file import given_back

OP = "restore_rows"
BUSY_MS = 2000


@dataclass(frozen=True, kw_only=True)
class Column:
    """Where the values are: *column* of the rows of *table* that *key* names. All of them are plain identifiers."""

    table: str
    key: str
    column: str


def restore_rows(path: Path, where: Column, rows: Sequence[tuple[int, str, str]]) -> dict[str, Any]:
    """The primitive; *rows* are (key, value before, damaged value). The run's folder is put before the note's name."""
    names = {"table": where.table, "key": where.key, "column": where.column}
    return {"op": OP, "path": str(path), "backup": "rows", **names, "rows": [list(one) for one in rows]}


def take_back(primitive: Mapping[str, Any], complete: bool) -> tuple[str, bool]:
    path = Path(primitive["path"])
    where = Column(table=primitive["table"], key=primitive["key"], column=primitive["column"])
    rows = [(int(key), str(before), str(damaged)) for key, before, damaged in primitive["rows"]]
    if not path.exists():
        return "gone", True
    try:
        with opened(path) as db:
            now = values(db, where, [key for key, _, _ in rows])
            wounded = [row for row in rows if now.get(row[0]) == row[2]]
            if wounded:
                with contextlib.suppress(OSError):  # a full disk must not keep a row from being given back
                    given_back(Path(primitive["backup"])).touch()
                replace(db, where, [(key, damaged, before) for key, before, damaged in wounded])
                now = values(db, where, [key for key, _, _ in rows])
    except sqlite3.Error as error:
        return f"cannot be restored: {error}", False
    left = [str(key) for key, _, damaged in rows if now.get(key) == damaged]
    if left:
        return f"still damaged: {', '.join(left)}", False
    return (f"{len(wounded)} rows restored" if wounded else "as it was, or another's by now: left alone"), True


@contextlib.contextmanager
def opened(path: Path, busy_ms: int = BUSY_MS) -> Iterator[sqlite3.Connection]:
    """An existing database; none is ever made."""
    db = sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True, isolation_level=None, timeout=busy_ms / 1000)
    try:
        yield db
    finally:
        db.close()


def values(db: sqlite3.Connection, where: Column, keys: Sequence[int]) -> dict[int, Any]:
    """{key: value} of those rows that are there."""
    marks = ",".join("?" * len(keys))
    wanted = f"SELECT {where.key}, {where.column} FROM {where.table} WHERE {where.key} IN ({marks})"
    return {int(row[0]): row[1] for row in db.execute(wanted, list(keys))}


def replace(db: sqlite3.Connection, where: Column, rows: Sequence[tuple[int, str, str]]) -> int:
    """(key, value that must be there, new value) each, all or none; how many rows were changed."""
    change = f"UPDATE {where.table} SET {where.column} = ? WHERE {where.key} = ? AND {where.column} = ?"
    db.execute("BEGIN IMMEDIATE")
    try:
        changed = sum(db.execute(change, (new, key, old)).rowcount for key, old, new in rows)
    except BaseException:
        db.execute("ROLLBACK")
        raise
    db.execute("COMMIT")
    return changed
