"""Writers of the run folder: the hash-chained timeline, the signals, the requests."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import threading
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import IO, Any

from harness.clock import Clock
from harness.model import Event, Kind

GENESIS = "0" * 64


def row_hash(row: Mapping[str, Any]) -> str:
    """SHA-256 over the canonical JSON of a timeline row without its own hash."""
    content = {key: value for key, value in row.items() if key != "hash"}
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _off_the_loop(work: Callable[[], None]) -> None:
    """Runs *work* in a native thread when gevent runs this process: an fsync would hold up every greenlet."""
    try:
        from gevent import get_hub
        from gevent.monkey import is_module_patched
    except ImportError:
        work()
        return
    if is_module_patched("threading"):
        get_hub().threadpool.apply(work)
    else:
        work()


def _plain(content: Any) -> Any:
    """As it will be read again. A half of a character, which a target may send, cannot be written and becomes "?"."""
    return json.loads(json.dumps(content, default=str, ensure_ascii=False).encode("utf-8", "replace"))


class Journal:
    """Appends events to timeline.jsonl; each row carries the hash of the one before it."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        self.clock = clock
        self.path = folder / "timeline.jsonl"
        self.events: list[Event] = []
        self._file = self.path.open("x", encoding="utf-8")
        self._lock = threading.RLock()

    def append(
        self,
        kind: Kind,
        subject: str,
        source: str,
        detail: Mapping[str, Any] | None = None,
        at_s: float | None = None,
        durable: bool = False,
    ) -> Event:
        """Writes one event. *durable*: it is on the disk when this returns."""
        with self._lock:
            at_s = round(self.clock.now_s() if at_s is None else at_s, 4)
            row: dict[str, Any] = {
                "seq": len(self.events) + 1,
                "at_s": at_s,
                "wall_time": self.clock.wall_time(at_s),
                "kind": kind.value,
                "subject": _plain(subject),
                "source": source,
                "detail": _plain(dict(detail or {})),
                "prev_hash": self.events[-1].hash if self.events else GENESIS,
            }
            row["hash"] = row_hash(row)
            self._file.write(json.dumps(row, ensure_ascii=False) + "\n")
            self._file.flush()
            event = event_of(row)
            self.events.append(event)
        if durable:
            _off_the_loop(lambda: os.fsync(self._file.fileno()))
        return event

    def close(self) -> None:
        with self._lock:
            if not self._file.closed:
                os.fsync(self._file.fileno())
                self._file.close()


AT_S_MAX = 1e12  # more seconds than any run has; an integer of JSON may be too large to be a float at all
JUDGED = ("plan.json", "signals.csv", "requests.csv")
JUDGED_IF_THERE = ("ledger.jsonl", "target/*.jsonl", "state/*.json")


def file_hashes(folder: Path) -> dict[str, str]:
    """SHA-256 of each file besides the timeline that a verdict is judged from."""
    more = sorted(str(path.relative_to(folder)) for form in JUDGED_IF_THERE for path in folder.glob(form))
    return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in (*JUDGED, *more)}


def event_of(row: Mapping[str, Any]) -> Event:
    """Raises KeyError, TypeError or ValueError for what is no row of a timeline."""
    event = Event(**{**row, "kind": Kind(row["kind"])})
    texts = (event.wall_time, event.subject, event.source, event.prev_hash, event.hash)
    if not all(isinstance(one, str) for one in texts) or not isinstance(event.detail, dict):
        raise TypeError("a text is expected where there is none")
    if isinstance(event.at_s, bool) or not isinstance(event.at_s, int | float) or not -AT_S_MAX < event.at_s < AT_S_MAX:
        raise TypeError(f"at_s: a number of seconds is expected, not {str(event.at_s)[:20]}")
    return event


def read_journal(path: Path) -> tuple[tuple[Event, ...], str]:
    """The events of a timeline and what is wrong with its chain ("" for nothing).

    What a crash has torn, or anybody has changed, ends the reading: the rows before it count, none from there on.
    """
    events: list[Event] = []
    previous = GENESIS
    rows = path.read_bytes().split(b"\n")  # no other character ends a row: a text may hold U+2028
    torn = len(rows) if rows[-1] else 0
    for number, line in enumerate(rows if torn else rows[:-1], 1):
        try:
            row = json.loads(line.decode())
            event = event_of(row)
            whole = event.seq == number and event.prev_hash == previous and row_hash(row) == event.hash
        except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
            if number == torn:
                return tuple(events), f"{path.name}:{number}: the last row is torn, and left out"
            return tuple(events), f"{path.name}:{number}: not an event: {' '.join(str(error).split())}"
        if not whole:
            return tuple(events), f"{path.name}:{number}: the hash chain is broken here"
        events.append(event)
        previous = event.hash
    return tuple(events), "" if events else f"{path.name} is empty"


class CsvWriter:
    """A CSV file with a header, flushed by flush()."""

    def __init__(self, path: Path, header: tuple[str, ...]) -> None:
        self._file: IO[str] = path.open("x", newline="", encoding="utf-8")
        self._csv = csv.writer(self._file, lineterminator="\n")
        self._csv.writerow(header)

    def rows(self, rows: Iterable[Iterable[Any]]) -> None:
        self._csv.writerows(rows)

    def flush(self) -> None:
        self._file.flush()

    def close(self) -> None:
        self._file.close()


SIGNALS = ("at_s", "name", "subject", "value")


class SignalWriter(CsvWriter):
    """signals.csv."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder / "signals.csv", SIGNALS)

    def write(self, at_s: float, name: str, subject: str, value: float) -> None:
        self._csv.writerow((round(at_s, 3), name, subject, round(value, 4)))
