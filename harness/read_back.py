"""Reads what the target finally holds, page by page, into the run folder, once it has had time to finish its work."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from harness.contracts import LedgerPage, Target
from harness.ledger import AUDIT, COMPLETED, HELD_IN, REFERENCE, held_file
from harness.loopback import Client

PAGES_MAX = 500
TRIES = 3  # a page that a busy target does not bring is asked for again
LOOK_EVERY_S = 0.5
STALLED_S = 15.0  # a target that has finished nothing for so long will not finish the rest
PAGE_LIMIT_S = 5.0
Rows = list[dict[str, Any]]
ID_OF = dict(HELD_IN.values())


class NotRead(Exception):
    """A ledger of the target that could not be read to its end; the text says why."""


def read_back(
    target: Target,
    folder: Path,
    awaited: Mapping[str, set[str]],
    deadline_s: float,
    now_s: Callable[[], float] = time.monotonic,
    pause: Callable[[float], None] = time.sleep,
) -> list[str]:
    """Writes target/NAME.jsonl below *folder* for each ledger of *target*; what went wrong, in words.

    It first waits until the target holds all that is *awaited* (harness/ledger.py), for at most *deadline_s* and no
    longer than something is still going on. A ledger that cannot be read has no file.
    """
    client = Client(target.base_url, timeout_s=PAGE_LIMIT_S, permitted=target.permitted)
    (folder / "target").mkdir(exist_ok=True)
    until_s = now_s() + deadline_s
    problems = []
    try:
        # the audit last: what is done while the others are read is in it all the same
        for name in sorted(target.ledgers, key=lambda one: (one == AUDIT, one)):
            wanted = awaited.get(name, set())
            try:
                rows, open_ids = _settled(_Pages(client, name, target.ledgers[name]), wanted, until_s, now_s, pause)
            except NotRead as error:
                problems.append(f"ledger {name} could not be read: {error}")
                continue
            if open_ids:
                few = ", ".join(sorted(open_ids)[:3])
                problems.append(f"ledger {name} still lacked {len(open_ids)} of {len(wanted)} at the end: {few}")
            text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
            (folder / held_file(name)).write_text(text, encoding="utf-8")
    finally:
        client.close()
    return problems


def _settled(
    pages: _Pages, wanted: set[str], until_s: float, now_s: Callable[[], float], pause: Callable[[float], None]
) -> tuple[Rows, set[str]]:
    """(rows, what of *wanted* is still open): read again until nothing is, or nothing changes any more."""
    before, changed_s, failures = -1, now_s(), 0
    while True:
        try:
            rows = pages.read()
            failures = 0
        except NotRead:
            failures += 1
            if failures >= TRIES:
                raise
            pause(LOOK_EVERY_S)
            continue
        done = {pages.id_of(row) for row in rows if pages.is_done(row)}
        open_ids = wanted - done
        if len(done) != before:
            before, changed_s = len(done), now_s()
        if not open_ids or now_s() >= min(until_s, changed_s + STALLED_S):
            return rows, open_ids
        pause(min(LOOK_EVERY_S, max(0.0, until_s - now_s())))


class _Pages:
    """A ledger of the target. What can no longer change is read once: the pages up to the first that has open work."""

    def __init__(self, client: Client, name: str, page: LedgerPage) -> None:
        self.client = client
        self.page = page
        self.field = ID_OF.get(name, REFERENCE)
        self.has_status = name in ID_OF
        self._kept: Rows = []
        self._cursor: Any = 0
        self._count = 0

    def id_of(self, row: Mapping[str, Any]) -> str:
        return str(row.get(self.field))

    def is_done(self, row: Mapping[str, Any]) -> bool:
        return not self.has_status or row.get("status") == COMPLETED

    def read(self) -> Rows:
        """All rows of the ledger as it is now."""
        rows, cursor, whole = list(self._kept), self._cursor, True
        for _ in range(PAGES_MAX - self._count):
            found, following = self._page(cursor)
            if not found:
                return rows
            rows += found
            whole = whole and all(map(self.is_done, found))
            cursor = following
            if whole:
                self._kept, self._cursor, self._count = list(rows), cursor, self._count + 1
        raise NotRead(f"it has more than {PAGES_MAX} pages")

    def _page(self, cursor: Any) -> tuple[Rows, Any]:
        path = self.page.url.replace("{next}", quote(str(cursor), safe=""))
        try:
            told = self.client.get_json(path)
        except (OSError, http.client.HTTPException) as error:
            raise NotRead(f"{path}: {error or type(error).__name__}") from None
        found = told.get(self.page.rows) if isinstance(told, dict) else None
        if not isinstance(found, list) or not all(isinstance(row, dict) for row in found):
            raise NotRead(f"{path} has no list of rows called {self.page.rows!r}")
        if found and told.get("next") in (None, cursor):
            raise NotRead(f"{path} has rows, and no next cursor that goes on")
        return found, told.get("next")
