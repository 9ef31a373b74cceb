"""Reads what the target finally holds, page by page, into the run folder, once it has had time to finish its work."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from harness.contracts import LedgerPage, Target
from harness.ledger import AUDIT, COMPLETED, HELD_IN, KEPT, OVER, REFERENCE, held_file
from harness.loopback import Client

PAGES_MAX = 5000
TRIES = 3  # a page that a busy target does not bring is asked for again
LOOK_EVERY_S = 0.5
STALLED_S = 15.0  # a target that has finished nothing for so long will not finish the rest
READING_S = 60.0  # after the waiting, for taking down all that is there
PAGE_LIMIT_S = 5.0
PAUSE_S_MAX = 0.25  # after a page
Rows = list[dict[str, Any]]
ID_OF = dict(HELD_IN.values())


class NotRead(Exception):
    """A ledger of the target that could not be read to its end; the text says why."""


@dataclass(frozen=True, kw_only=True)
class _Patience:
    """How long all of it may take, the same for every ledger, and whether somebody wants no more of it."""

    until_s: float  # nothing is waited for any longer
    end_s: float  # and nothing read
    now_s: Callable[[], float]
    pause: Callable[[float], None]
    stopped: Callable[[], bool]
    paced: bool = False  # whether a page is followed by a pause as long as it took

    def check(self, pages: int) -> None:
        if self.stopped():
            raise NotRead("it was interrupted")
        if self.now_s() >= self.end_s:
            raise NotRead(f"its time was up, after {pages} pages")


def read_back(
    target: Target,
    folder: Path,
    awaited: Mapping[str, set[str]],
    deadline_s: float,
    now_s: Callable[[], float] = time.monotonic,
    pause: Callable[[float], None] = time.sleep,
    *,
    maybe: Mapping[str, set[str]] | None = None,
    since: Mapping[str, Any] | None = None,
    stopped: Callable[[], bool] = lambda: False,
) -> list[str]:
    """Writes target/NAME.jsonl below *folder* for each ledger of *target*; what went wrong, in words.

    A ledger is read from its cursor in *since* on (harness/ledger_start.py), or from its beginning.

    It first waits until the target holds all that is *awaited* (harness/ledger.py) and has nothing open of what it
    *maybe* holds, for at most *deadline_s* and no longer than something is still going on. Then it reads everything
    once more and takes it down, for at most READING_S more. A ledger that cannot be read has no file.
    """
    client = Client(target.base_url, timeout_s=PAGE_LIMIT_S, permitted=target.permitted)
    (folder / "target").mkdir(exist_ok=True)
    until_s = now_s() + deadline_s
    patience = _Patience(
        until_s=until_s, end_s=until_s + READING_S, now_s=now_s, pause=pause, stopped=stopped, paced=True
    )
    problems: dict[str, str] = {}
    # the audit last: what is done while the others are read is in it all the same
    names = sorted(target.ledgers, key=lambda one: (one == AUDIT, one))
    ledgers = {name: _Pages(client, name, target.ledgers[name], patience, (since or {}).get(name, 0)) for name in names}
    try:
        for name, pages in ledgers.items():
            pages.wanted, pages.maybe = awaited.get(name, set()), (maybe or {}).get(name, set())
        still_open = _settled(ledgers, patience, problems)
        for name in still_open:
            try:
                _take_down(ledgers[name], folder / held_file(name))
            except NotRead as error:
                problems[name] = f"ledger {name} could not be read: {error}"
    finally:
        client.close()
    for name, open_ids in still_open.items():
        if open_ids and name not in problems:
            few = ", ".join(sorted(open_ids)[:3])
            of = len(ledgers[name].wanted | open_ids)
            problems[name] = f"ledger {name} still lacked {len(open_ids)} of {of} at the end: {few}"
    return [problems[name] for name in names if name in problems]


def pages_of(
    client: Client,
    name: str,
    page: LedgerPage,
    end_s: float,
    now_s: Callable[[], float] = time.monotonic,
    pause: Callable[[float], None] = time.sleep,
    since: Any = 0,
) -> Iterator[Rows]:
    """Every page of a ledger behind the cursor *since* as it is now, read until *end_s*. Raises NotRead."""
    patience = _Patience(until_s=end_s, end_s=end_s, now_s=now_s, pause=pause, stopped=lambda: False)
    for rows, _ in _Pages(client, name, page, patience).after(since):
        yield rows


def _settled(ledgers: Mapping[str, _Pages], patience: _Patience, problems: dict[str, str]) -> dict[str, set[str]]:
    """What is still open of all that is waited for, by ledger; one that cannot be read is in *problems* instead.

    All that have something open are looked at in turn, until none has, or none of them changes any more.
    """
    found: dict[str, set[str]] = {}
    before: dict[str, int] = {}
    changed_s, looking = patience.now_s(), list(ledgers)
    while looking:
        for name in looking:
            try:
                far, found[name] = ledgers[name].look()
            except NotRead as error:
                problems[name] = f"ledger {name} could not be read: {error}"
                continue
            if far != before.get(name, -1):
                before[name], changed_s = far, patience.now_s()
        looking = [name for name in looking if name not in problems and found[name]]
        if looking and patience.now_s() >= min(patience.until_s, changed_s + STALLED_S):
            break
        if looking:
            patience.pause(min(LOOK_EVERY_S, max(0.0, patience.until_s - patience.now_s())))
    return {name: found[name] for name in ledgers if name not in problems}


def _take_down(pages: _Pages, path: Path) -> None:
    """Every page as it is now, also those that were thought not to change any more; all of them, or no file."""
    part = path.with_suffix(".part")
    try:
        with part.open("w", encoding="utf-8") as file:
            for rows, _ in pages.after(pages.since):
                file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        part.rename(path)
    finally:
        part.unlink(missing_ok=True)


@dataclass
class _Pages:
    """A ledger of the target, no more than a page of it in memory."""

    client: Client
    name: str
    page: LedgerPage
    patience: _Patience
    since: Any = 0  # the cursor behind what was there before the run
    wanted: set[str] = field(default_factory=set)
    maybe: set[str] = field(default_factory=set)
    _cursor: Any = field(init=False)  # what is before it has no open work: looked at once
    _finished: int = 0  # rows before it
    _done: set[str] = field(default_factory=set)  # of those that are wanted

    def __post_init__(self) -> None:
        self._cursor = self.since

    def look(self) -> tuple[int, set[str]]:
        """(how far the target is, what is open of all that is waited for).

        Work that others wait for holds ours up, so all that is finished counts; a log goes on for ever without ours.
        """
        named, finished, whole = ID_OF.get(self.name, REFERENCE), self._finished, True
        open_ids: set[str] = set()
        for rows, following in self.after(self._cursor):
            for row in rows:
                status, one = self._status(row), str(row.get(named))
                if status == COMPLETED:
                    finished += 1
                    self._done |= {one} & self.wanted
                else:
                    whole = False
                    open_ids |= {one} & self.maybe if status not in OVER else set()
            if whole:
                self._cursor, self._finished = following, finished
        far = finished if self.name in ID_OF else len(self._done)
        return far, (self.wanted - self._done) | open_ids

    def _status(self, row: Mapping[str, Any]) -> Any:
        return row.get("status") if self.name in ID_OF and self.name not in KEPT else COMPLETED

    def after(self, cursor: Any) -> Iterator[tuple[Rows, Any]]:
        """(rows, cursor behind them) of each page from *cursor* to the end."""
        for number in range(PAGES_MAX):
            began_s = self.patience.now_s()
            found, following = self._asked(cursor, number)
            if not found:
                return
            yield found, following
            # half the time at most: reading without a pause would itself be a load that the target's safeguards see
            if self.patience.paced and (took_s := self.patience.now_s() - began_s) > 0:
                self.patience.pause(min(PAUSE_S_MAX, took_s))
            cursor = following
        raise NotRead(f"it has more than {PAGES_MAX} pages")

    def _asked(self, cursor: Any, number: int) -> tuple[Rows, Any]:
        for _ in range(TRIES - 1):
            self.patience.check(number)
            try:
                return self._page(cursor)
            except NotRead:
                self.patience.pause(LOOK_EVERY_S)
        self.patience.check(number)
        return self._page(cursor)

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
