"""Hashes of a run folder's files: recorded in its timeline, so that a later change of any file shows.

The run hashes all files once nothing more is written, in its last event, also when it was cut short; what judging
writes comes later and stays outside. The plan and the scenario are hashed in the first event too, for a run that was
killed.
"""

from __future__ import annotations

import hashlib
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from harness import undo_log
from harness.journal import JUDGED, JUDGED_IF_THERE
from harness.model import Event, Kind
from harness.required import FORMAT_KEY

HASHES, OUTSIDE, SIZES = "sha256", "outside", "bytes"  # keys of an event's detail
TIMELINE = "timeline.jsonl"  # its own hash chain covers it
SIGNATURE = "signature.json"
FIXED_AT_START = ("plan.json", "scenario.yaml")
# What may be in the folder beside the hashed files: what judging writes, and the file that asks for a halt.
WRITTEN_LATER = ("findings.json", "incident.json", "junit.xml", "report.html", SIGNATURE, "HALT")
ODD = "not a regular file"


def at_start(folder: Path) -> dict[str, Any]:
    """The detail of the first event: the hashes of what is fixed before anything starts."""
    return {HASHES: {name: hash_of(folder / name) for name in FIXED_AT_START if (folder / name).exists()}}


def at_end(folder: Path, outside: Iterable[str]) -> dict[str, Any]:
    """The detail of the last event: the hash of each file, and *outside*, the names of the files that come later.

    Of the undo log the size too: whoever heals later what is stuck goes on with it.
    """
    later = sorted({*WRITTEN_LATER, *outside})
    log = folder / undo_log.NAME
    sizes = {log.name: log.lstat().st_size} if log.is_file() else {}
    return {HASHES: hashes(folder, later), OUTSIDE: later, SIZES: sizes}


def hashes(folder: Path, outside: Iterable[str]) -> dict[str, str]:
    """SHA-256 of each file below *folder*, by its path there; without the timeline and the names in *outside*."""
    left_out = {TIMELINE, *outside}
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if name not in left_out and not (path.is_dir() and not path.is_symlink()):
            found[name] = hash_of(path)
    return found


def hash_of(path: Path) -> str:
    """SHA-256 of a file in hex; words for one that is missing, cannot be read, or is a link, a pipe or a device."""
    try:
        if not stat.S_ISREG(path.lstat().st_mode):
            return ODD
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return "missing"
    except OSError as error:
        return f"cannot be read: {error.strerror}"


def changes(folder: Path, first: Event | None, finished: Event | None) -> dict[str, str]:
    """{file: "changed", "added" or "missing"}: how *folder* differs from what its *first* and last event recorded."""
    if first is None or first.kind is not Kind.RUN_STARTED:
        return {}
    if first.detail.get(FORMAT_KEY, 1) == 1:
        return {} if finished is None else _differences(_recorded(finished), _of_format_1(folder))
    told = _recorded(first)
    now = {name: hash_of(folder / name) for name in told}
    if finished is not None:
        outside = finished.detail.get(OUTSIDE)
        names = [str(one) for one in outside] if isinstance(outside, list) else WRITTEN_LATER
        told, now = {**told, **_recorded(finished)}, {**now, **hashes(folder, names)}
        name = undo_log.NAME
        if now.get(name) not in (None, ODD) and name in told and _healed_later(folder, finished, told[name]):
            now[name] = told[name]
    return _differences(told, now)


def _healed_later(folder: Path, finished: Event, told: str) -> bool:
    """True when the undo log is what it was, and then only what later sweeps wrote of its open faults."""
    sizes = finished.detail.get(SIZES)
    size = sizes.get(undo_log.NAME) if isinstance(sizes, dict) else None
    if not isinstance(size, int) or size < 0:
        return False
    try:
        data = (folder / undo_log.NAME).read_bytes()
    except OSError:
        return False
    before, after = data[:size], data[size:]
    return hashlib.sha256(before).hexdigest() == told and undo_log.only_healed(before, after)


def _of_format_1(folder: Path) -> dict[str, str]:
    """The hashes that a run folder of format 1 has recorded: of the files that its verdict is judged from."""
    more = sorted(str(path.relative_to(folder)) for form in JUDGED_IF_THERE for path in folder.glob(form))
    return {name: hash_of(folder / name) for name in (*JUDGED, *more)}


def _recorded(event: Event | None) -> dict[str, str]:
    found = event.detail.get(HASHES) if event is not None else None
    return {str(name): str(value) for name, value in found.items()} if isinstance(found, dict) else {}


def _differences(told: Mapping[str, str], now: Mapping[str, str]) -> dict[str, str]:
    found = {}
    for name in sorted({*told, *now}):
        if name not in told:
            found[name] = "added"
        elif now.get(name, "missing") == "missing":
            found[name] = "missing"
        elif told[name] != now[name] or now[name] == ODD:
            found[name] = "changed"
    return found
