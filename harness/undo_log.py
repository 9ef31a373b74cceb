"""The undo log of a run: what will be taken back, on the disk before it is done, and what has been.

A row is one JSON object: {state, fault_id, at, ...}. The first one, OPENED, names the guardian that holds the log;
then, for each fault, PLANNED (with its undo) → ARMED → ACTIVE → HEALING → HEALED or STUCK.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from harness.contracts import ProcessId
from harness.model import Undo
from harness.primitives import sync_folder
from harness.process import same

NAME = "undo.log"
SWEEP = "sweep"  # who wrote a row, when it was written after the run
STATES = ("PLANNED", "ARMED", "ACTIVE", "HEALING", "HEALED", "STUCK")


class UndoLog:
    """Appends rows; each is on the disk when write() returns. Raises OSError when it cannot be (a full disk)."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / NAME
        new = not self.path.exists()
        self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        size = os.fstat(self._file).st_size
        self._torn = size > 0 and os.pread(self._file, 1, size - 1) != b"\n"  # its writer was cut off in mid-row
        if new:
            sync_folder(folder)  # else a machine that loses its power may forget that there ever was a log

    def write(self, state: str, fault_id: str, **detail: Any) -> None:
        row = json.dumps({"state": state, "fault_id": fault_id, "at": time.monotonic(), **detail}).encode() + b"\n"
        row = b"\n" + row if self._torn else row
        self._torn = True
        if os.write(self._file, row) != len(row):
            raise OSError(f"{self.path}: the disk took only a part of a row")
        self._torn = False
        os.fsync(self._file)

    def close(self) -> None:
        os.close(self._file)


@dataclass(frozen=True, kw_only=True)
class OpenFault:
    """A fault that the log does not show as healed, in the state that the log knows of last."""

    fault_id: str
    undo: Undo
    state: str
    complete: bool  # its injection came to its end


@dataclass(frozen=True, kw_only=True)
class LogContent:
    """What a log tells: its faults that are not healed, and the guardian that wrote it (None: not told)."""

    open: Mapping[str, OpenFault] = field(default_factory=dict)
    guardian: ProcessId | None = None
    namespace: str = ""  # of the pids that the log speaks of; "": not told

    @property
    def foreign(self) -> bool:
        """Whether its pids are those of another pid namespace, such as a container's: here they mean nothing."""
        return self.namespace not in ("", pid_namespace())

    @property
    def held(self) -> bool:
        """Whether that guardian lives: then the faults are its own business."""
        return self.guardian is not None and same(self.guardian)


def read_undo_log(path: Path) -> LogContent:
    """Raises OSError when it cannot be read. A row that was cut short, or is none, is passed over."""
    return _content(path.read_bytes())


def only_healed(before: bytes, after: bytes) -> bool:
    """True when *after*, which follows *before* in a log, is what sweeps write: results of healing what was open."""
    still = set(_content(before).open)
    rows = (after.removeprefix(b"\n") if before and not before.endswith(b"\n") else after).split(b"\n")
    if rows.pop():
        return False  # the last one is cut short
    for line in rows:
        try:
            row = json.loads(line)
            state, fault_id, at = row["state"], row["fault_id"], row["at"]
            by_sweep = set(row) == {"state", "fault_id", "at", "results", "by"} and row["by"] == SWEEP
            if not by_sweep or state not in ("HEALED", "STUCK") or fault_id not in still:
                return False
            if not isinstance(at, float) or not all(isinstance(one, dict) for one in row["results"]):
                return False
        except (ValueError, TypeError, KeyError, RecursionError):
            return False
        if state == "HEALED":
            still.remove(fault_id)
    return True


def _content(data: bytes) -> LogContent:
    found: dict[str, OpenFault] = {}
    guardian: ProcessId | None = None
    namespace = ""
    for line in data.split(b"\n"):
        try:
            row = json.loads(line)
            state, fault_id = row["state"], row["fault_id"]
            if state == "OPENED":
                guardian = ProcessId(**row["guardian"])
                namespace = str(row.get("pid_namespace", ""))
            elif state == "PLANNED":
                undo = Undo(primitives=tuple(dict(one) for one in row["undo"]))
                found[fault_id] = OpenFault(fault_id=fault_id, undo=undo, state=state, complete=False)
            elif state == "HEALED":
                found.pop(fault_id, None)
            elif fault_id in found:
                one = found[fault_id]
                complete = one.complete or state == "ACTIVE"
                found[fault_id] = OpenFault(fault_id=fault_id, undo=one.undo, state=state, complete=complete)
        except (ValueError, TypeError, KeyError):
            continue
    return LogContent(open=found, guardian=guardian, namespace=namespace)


def opened_by(process: ProcessId) -> dict[str, Any]:
    """The detail of the first row."""
    return {"guardian": asdict(process), "pid_namespace": pid_namespace()}


def pid_namespace() -> str:
    """Which pids this process sees: "pid:[4026531836]"."""
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return ""
