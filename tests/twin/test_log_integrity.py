"""log_integrity_monitor and the copy of the log: what does not fit is seen, never copied, and put back."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from twin.log_chain import GENESIS, SCHEMA, entry_hash, misfits
from twin.log_copy import COPY_SCHEMA, LogCopy
from twin.safeguards.log_integrity_monitor import SLICE, LogIntegrityMonitor


def opened(path: Path, schema: str) -> sqlite3.Connection:
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("PRAGMA journal_mode=WAL")
    db.executescript(schema)
    db.row_factory = sqlite3.Row
    return db


def grow(db: sqlite3.Connection, count: int) -> None:
    last = db.execute("SELECT sequence, entry_hash FROM entries ORDER BY sequence DESC LIMIT 1").fetchone()
    number, previous = (last[0], last[1]) if last else (0, GENESIS)
    for _ in range(count):
        number += 1
        digest = entry_hash(number, "ann", "read", "page", "{}", "allow", previous)
        row = (number, "ann", "read", "page", "governance", "{}", "allow", previous, digest, f"r{number}")
        db.execute("INSERT INTO entries VALUES (?,?,?,?,?,?,?,?,?,?)", row)
        previous = digest


@pytest.fixture
def log(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    db = opened(tmp_path / "log.db", SCHEMA)
    yield db
    db.close()


@pytest.fixture
def other(tmp_path: Path, log: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """Somebody else's connection to the same file."""
    db = sqlite3.connect(tmp_path / "log.db", isolation_level=None)
    yield db
    db.close()


def test_a_chain_that_is_whole_has_no_misfits(log: sqlite3.Connection) -> None:
    assert misfits(log) == ([], 0)
    grow(log, 9)
    assert misfits(log) == ([], 9) and misfits(log, 4, 3) == ([], 7)


def test_each_entry_that_does_not_fit_is_named(log: sqlite3.Connection) -> None:
    grow(log, 9)
    log.execute("UPDATE entries SET payload = '{}x' WHERE sequence IN (2, 5)")
    log.execute("DELETE FROM entries WHERE sequence = 8")
    words = "is not what its hash was made of"
    assert misfits(log)[0] == [f"2 {words}", f"5 {words}", "8 is missing"]
    assert misfits(log, 2, 2) == ([], 4)
    log.execute("UPDATE entries SET entry_hash = 'x' WHERE sequence = 3")
    assert f"3 {words}" in misfits(log)[0] and "4 does not carry the hash of the one before it" in misfits(log)[0]


def test_a_strangers_hand_is_seen_at_the_next_look(log: sqlite3.Connection, other: sqlite3.Connection) -> None:
    grow(log, SLICE + 50)
    monitor = LogIntegrityMonitor(log)
    assert monitor.problems(0.0) == {"immutable_log": ""}
    other.execute("UPDATE entries SET result = 'deny' WHERE sequence IN (3, 540)")
    told = monitor.problems(0.5)["immutable_log"]
    assert "3 is not what" in told and "540 is not what" in told, "all of the log, and not the next piece of it"
    assert monitor.problems(1.0)["immutable_log"] == told, "until it is mended"
    other.execute("UPDATE entries SET result = 'allow'")
    assert monitor.problems(1.5) == {"immutable_log": ""}


def test_what_the_log_itself_has_wrong_is_seen_piece_by_piece(log: sqlite3.Connection) -> None:
    grow(log, 2 * SLICE + 10)
    monitor = LogIntegrityMonitor(log)
    log.execute("UPDATE entries SET result = 'deny' WHERE sequence = ?", (2 * SLICE + 5,))
    assert [bool(monitor.problems(n / 2)["immutable_log"]) for n in range(3)] == [False, False, True]


def test_of_many_only_a_few_are_told(log: sqlite3.Connection, other: sqlite3.Connection) -> None:
    grow(log, 20)
    monitor = LogIntegrityMonitor(log)
    other.execute("UPDATE entries SET actor = 'bob'")
    assert monitor.problems(0.0)["immutable_log"].endswith(", and 15 more")


def test_damage_is_never_copied_and_the_copy_brings_back_what_was(tmp_path: Path, log: sqlite3.Connection) -> None:
    copy = opened(tmp_path / "copy.db", COPY_SCHEMA)
    one = LogCopy(log, copy)
    grow(log, 7)
    assert (one.follow(), one.follow()) == (7, 0)
    grow(log, 5)
    log.execute("UPDATE entries SET payload = 'x' WHERE sequence IN (2, 10)")
    log.execute("DELETE FROM entries WHERE sequence = 6")
    assert one.follow() == 2, "up to the first that does not fit"
    assert one.put_back(log) == [2, 6]
    assert misfits(log)[0] == ["10 is not what its hash was made of"], "nobody has a copy of that one"
    kept = copy.execute("SELECT sequence, entry FROM quarantined ORDER BY sequence").fetchall()
    assert [row[0] for row in kept] == [2, 6] and '"payload": "x"' in kept[0][1] and kept[1][1] == "null"
    assert one.put_back(log) == []
    copy.close()
