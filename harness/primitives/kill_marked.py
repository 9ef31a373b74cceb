"""Ends the helper processes of a fault: all that carry its marker in their environment."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.contracts import ProcessId
from harness.primitives import wait_until
from harness.process import read_process, same, send

OP = "kill_marked"
MARKER_VARIABLE = "GRACE_CHAOS_MARKER"
GUARDIAN_VARIABLE = "GRACE_CHAOS_GUARDIAN"  # PID:START_TICKS:BOOT_ID:PID_NAMESPACE of its starter
TERM_S_MAX = 3.0


def kill_marked(marker: str, term_s: float = 0.0) -> dict[str, Any]:
    """The primitive for every process that carries *marker*; "" = the fault's own, filled in when it is armed.

    With *term_s* they are told first (SIGTERM) and have so many seconds (at most TERM_S_MAX) to end by themselves.
    """
    return {"op": OP, "marker": marker, "term_s": term_s}


def take_back(primitive: Mapping[str, Any], complete: bool) -> tuple[str, bool]:
    marker = str(primitive["marker"])
    if not marker:
        return "never armed, so no helper was started", True
    ended = _told(marker, min(TERM_S_MAX, float(primitive.get("term_s", 0.0))))
    killed: set[ProcessId] = set()

    def none_left() -> bool:
        """Nor one that is ending: it has lost its marker by then, but not yet its memory and its files."""
        left = marked(marker)
        killed.update(process for process in left if send(process, signal.SIGKILL))
        return not left and not any(map(same, killed))

    done = wait_until(none_left)
    return f"killed {len(killed)}" + (f", {ended} had ended when told" if ended else ""), done


def _told(marker: str, term_s: float) -> int:
    """Says SIGTERM to all that carry *marker*, and waits; how many are gone after at most *term_s*."""
    told = [process for process in marked(marker) if send(process, signal.SIGTERM)] if term_s > 0 else []
    wait_until(lambda: not any(read_process(process.pid) == process for process in told), term_s)
    return sum(read_process(process.pid) != process for process in told)


def marked(marker: str) -> list[ProcessId]:
    """The processes that carry *marker*, this one excepted."""
    wanted = f"{MARKER_VARIABLE}={marker}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            environment = (entry / "environ").read_bytes().split(b"\0")
        except (OSError, ProcessLookupError):
            continue
        if wanted in environment and (process := read_process(int(entry.name))):
            found.append(process)
    return found
