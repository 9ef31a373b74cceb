"""Ends the endless loop that a fault has put into a process: its gate goes, and the process notes what it did then.

Nothing is done to the process itself: the loop looks whether its gate is there. The gate and, beside it, the notes of
those who loop belong to the run's folder; a primitive is for one process, and several may share a gate.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from harness.contracts import ProcessId
from harness.primitives import wait_until
from harness.process import same

OP = "end_loop"
GATE = "gate"
NOTES = ".notes"  # beside the gate


@dataclass(frozen=True, kw_only=True)
class Note:
    """A line of the notes: faults/helpers/endless.py says when each is written."""

    what: str
    pid: int
    thread: int
    at_s: float
    why: str = ""


def end_loop(process: ProcessId) -> dict[str, Any]:
    """The primitive for *process*. The run's folder is put before the gate when it is armed."""
    return {"op": OP, "backup": GATE, **asdict(process)}


def take_back(primitive: Mapping[str, Any], complete: bool) -> tuple[str, bool]:
    gate = Path(str(primitive["backup"]))
    process = ProcessId(
        pid=int(primitive["pid"]),
        start_ticks=int(primitive["start_ticks"]),
        boot_id=str(primitive["boot_id"]),
    )
    if not gate.is_absolute():
        return "never armed, so there never was a gate", True
    gate.unlink(missing_ok=True)
    ended = wait_until(lambda: not same(process) or not left(process.pid, read_notes(gate)))
    if not same(process):
        return "the process is gone", True
    notes = [one for one in read_notes(gate) if one.pid == process.pid]
    if not ended:
        return f"pid {process.pid}: {left(process.pid, notes)}", False
    return "the function has its own code again" if notes else "nothing was ever done to it", True


def read_notes(gate: Path) -> list[Note]:
    """Whole lines only; [] when there is no such file."""
    try:
        lines = gate.with_name(gate.name + NOTES).read_text(errors="replace").split("\n")[:-1]
    except OSError:
        return []
    notes = []
    for line in lines:
        what, pid, thread, at_s, *why = line.split(" ", 4)
        notes.append(Note(what=what, pid=int(pid), thread=int(thread), at_s=float(at_s), why=" ".join(why)))
    return notes


def looping(pid: int, notes: list[Note]) -> Counter[int]:
    """The threads of *pid* that are in the loop: {thread: how often, if it calls itself}."""
    counts: Counter[int] = Counter()
    for one in notes:
        if one.pid == pid and one.what in ("in", "out"):
            counts[one.thread] += 1 if one.what == "in" else -1
    return +counts


def left(pid: int, notes: list[Note]) -> str:
    """What of the fault is left in process *pid*, in words; "" for nothing.

    The gate being gone, a process without the note `patching` will not be patched any more: it looks for the gate
    after it has written that.
    """
    mine = {one.what: one for one in notes if one.pid == pid}
    if "patching" not in mine:
        return ""
    threads = looping(pid, notes)
    if threads:
        return f"thread {', '.join(map(str, sorted(threads)))} is in the loop"
    if "failed" in mine:
        return ""
    if "healed" not in mine:
        return "the function has not got its own code back"
    watcher = Path(f"/proc/{pid}/task/{mine['healed'].thread}")
    return "the thread that gave the code back has not ended" if watcher.exists() else ""
