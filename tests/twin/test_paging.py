"""Pages of a ledger: behind a cursor, or the last rows, also where some in between are gone."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping

import pytest

from twin.paging import cursor


@pytest.mark.parametrize(
    ("asked", "begins"),
    [({}, 0), ({"since": 4}, 4), ({"last": 1}, 7), ({"last": 2}, 4), ({"last": 9}, 0), ({"last": 0}, 9)],
)
def test_a_page_begins_where_it_is_asked_to(asked: Mapping[str, int], begins: int) -> None:
    db = sqlite3.connect(":memory:")
    db.execute("CREATE TABLE t (seq INTEGER PRIMARY KEY)")
    assert cursor(db, "t", "seq", {"last": 1}) == 0
    db.executemany("INSERT INTO t VALUES (?)", [(one,) for one in (1, 4, 7, 9)])
    assert cursor(db, "t", "seq", asked) == begins
