"""Takes faults back: what each primitive of an undo does, and how it is read back. Imports no fault.

A primitive is a mapping with an "op". Healing is idempotent; a target that is gone counts as healed.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from harness.contracts import ProcessId
from harness.model import Undo
from harness.process import process_state, read_process, same, send

MARKER_VARIABLE = "GRACE_CHAOS_MARKER"
READ_BACK_S = 1.0


def resume(process: ProcessId) -> dict[str, Any]:
    """The primitive that lets a stopped process go on."""
    return {"op": "resume", **asdict(process)}


def kill_marked(marker: str) -> dict[str, Any]:
    """The primitive that ends every process which carries *marker* in its environment."""
    return {"op": "kill_marked", "marker": marker}


def heal(undo: Undo) -> list[dict[str, Any]]:
    """Takes every primitive back, the last first; each result says what was done and whether it is verified."""
    return [_heal_one(primitive) for primitive in reversed(undo.primitives)]


def _heal_one(primitive: Mapping[str, Any]) -> dict[str, Any]:
    op = str(primitive.get("op"))
    try:
        did, verified = PRIMITIVES[op](primitive)
    except KeyError:
        did, verified = f"no primitive is called {op!r}", False
    except (OSError, ValueError) as error:
        did, verified = f"{type(error).__name__}: {error}", False
    return {"op": op, "did": did, "verified": verified}


def _resume(primitive: Mapping[str, Any]) -> tuple[str, bool]:
    process = ProcessId(
        pid=int(primitive["pid"]),
        start_ticks=int(primitive["start_ticks"]),
        boot_id=str(primitive["boot_id"]),
    )
    if not send(process, signal.SIGCONT):
        return "gone", True
    return "continued", _wait_until(lambda: not same(process) or process_state(process.pid) not in ("T", "t"))


def _kill_marked(primitive: Mapping[str, Any]) -> tuple[str, bool]:
    marker = str(primitive["marker"])
    killed = 0

    def none_left() -> bool:
        nonlocal killed
        left = marked(marker)
        for process in left:
            killed += send(process, signal.SIGKILL)
        return not left

    done = _wait_until(none_left)
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


def _wait_until(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + READ_BACK_S
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True


PRIMITIVES: dict[str, Callable[[Mapping[str, Any]], tuple[str, bool]]] = {
    "resume": _resume,
    "kill_marked": _kill_marked,
}
