"""Ends the helper processes of a fault: all that carry its marker in their environment."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.contracts import ProcessId
from harness.primitives import wait_until
from harness.process import read_process, send

OP = "kill_marked"
MARKER_VARIABLE = "GRACE_CHAOS_MARKER"


def kill_marked(marker: str) -> dict[str, Any]:
    """The primitive for every process that carries *marker*."""
    return {"op": OP, "marker": marker}


def take_back(primitive: Mapping[str, Any], complete: bool) -> tuple[str, bool]:
    marker = str(primitive["marker"])
    killed = 0

    def none_left() -> bool:
        nonlocal killed
        left = marked(marker)
        for process in left:
            killed += send(process, signal.SIGKILL)
        return not left

    done = wait_until(none_left)
    return f"killed {killed}", done


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
