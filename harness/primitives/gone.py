"""A process that a fault ends for good: nothing is taken back, but whom it was aimed at stands in the undo.

So the limits see it before anything is done (harness/limits.py: protected), and the log tells it afterwards.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from harness.contracts import ProcessId
from harness.process import same

OP = "gone"


def gone(process: ProcessId) -> dict[str, Any]:
    """The primitive for *process*, by pid, start time and boot id."""
    return {"op": OP, **asdict(process)}


def take_back(primitive: Mapping[str, Any], complete: bool) -> tuple[str, bool]:
    """Whether it has ended; either is well: a dead process is the target's to replace."""
    process = ProcessId(
        pid=int(primitive["pid"]),
        start_ticks=int(primitive["start_ticks"]),
        boot_id=str(primitive["boot_id"]),
    )
    return ("lives, as it did before" if same(process) else "gone"), True
