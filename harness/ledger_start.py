"""Where a target's ledgers end when a run begins: only what comes behind is read back, however long the target lives.

The hash chain of its log is then proved from the last entry that was there before, which the first event of the run
names: that entry's own past was for the runs before this one to judge.
"""

from __future__ import annotations

import http.client
import time
from collections.abc import Collection, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from harness.contracts import LedgerPage, Target
from harness.loopback import Client
from harness.model import Event, Kind

LIMIT_S = 3.0
COUNT_LIMIT_S = 3.0  # for a ledger whose manifest has no `last`
LINK = ("sequence", "entry_hash")  # of a row, what the next one of a chain follows from


class NoStart(Exception):
    """The target did not tell it; the text says why."""


def ledger_starts(target: Target, whole: Collection[str] = ()) -> dict[str, dict[str, Any]]:
    """{ledger: {since: cursor, last: the row before it}}, for the first event of a run.

    One whose manifest has no `last`, or that is *whole*, or of a page only, is read from its beginning: only its
    `rows_before` are kept. One that did not answer has a `problem`.
    """
    found = {}
    client = Client(target.base_url, timeout_s=LIMIT_S, permitted=target.permitted)
    try:
        for name, page in target.ledgers.items():
            try:
                found[name] = _start(client, page, name in whole) if page.last else _counted(client, page)
            except NoStart as error:
                found[name] = {"problem": str(error)}
    finally:
        client.close()
    return found


def _start(client: Client, page: LedgerPage, whole: bool) -> dict[str, Any]:
    """Ask for the end first: what comes later is not lost."""
    rows, end = _page(client, page.last, page.rows)
    if not rows:
        return {"rows_before": 0}
    if whole:
        number = rows[-1].get("sequence")
        return {"rows_before": number} if type(number) is int else _counted(client, page)
    first, after_first = _page(client, page.url.replace("{next}", "0"), page.rows)
    if after_first == end:
        return {"rows_before": len(first)}
    return {"since": end, "last": {key: rows[-1][key] for key in LINK if key in rows[-1]}}


def _counted(client: Client, page: LedgerPage) -> dict[str, Any]:
    """Count the rows page by page, for at most COUNT_LIMIT_S."""
    cursor, number, until_s = 0, 0, time.monotonic() + COUNT_LIMIT_S
    while time.monotonic() < until_s:
        rows, cursor = _page(client, page.url.replace("{next}", quote(str(cursor), safe="")), page.rows)
        if not rows:
            return {"rows_before": number}
        number += len(rows)
    raise NoStart(f"{page.url}: more than {number} rows, counted for {COUNT_LIMIT_S:g} s")


def _page(client: Client, path: str, key: str) -> tuple[list[dict[str, Any]], Any]:
    try:
        told = client.get_json(path)
    except (OSError, http.client.HTTPException) as error:
        raise NoStart(f"{path}: {error or type(error).__name__}") from None
    rows = told.get(key) if isinstance(told, dict) else None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows) or told.get("next") is None:
        raise NoStart(f"{path} has no list of rows called {key!r}, or no next cursor")
    return rows, told["next"]


def _told(events: Sequence[Event]) -> Mapping[str, Any]:
    first = next(iter(events), None)
    told = first.detail.get("ledgers") if first is not None and first.kind is Kind.RUN_STARTED else None
    return told if isinstance(told, dict) else {}


def cursors(events: Sequence[Event]) -> dict[str, Any]:
    """{ledger: the cursor to read it from}, as the first event of a run tells."""
    return {name: one["since"] for name, one in _told(events).items() if "since" in one}


def rows_before(events: Sequence[Event], name: str) -> int | None:
    """Return how many of the rows that were read of a ledger were there before the run; None when not known."""
    start = _told(events).get(name, {})
    found = 0 if "since" in start else start.get("rows_before")
    return found if type(found) is int else None


def last_before(events: Sequence[Event], name: str) -> Mapping[str, Any] | None:
    """What the first entry of the run follows from; None when the ledger was read from its beginning."""
    found = _told(events).get(name, {}).get("last")
    return found if isinstance(found, dict) and set(LINK) <= set(found) else None
