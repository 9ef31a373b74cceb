"""Lets a stopped process go on: SIGCONT to that very process, and a look at its state."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from harness.contracts import ProcessId
from harness.primitives import wait_until
from harness.process import process_state, same, send

OP = "resume"


def resume(process: ProcessId) -> dict[str, Any]:
    """The primitive for *process*, by pid, start time and boot id."""
    return {"op": OP, **asdict(process)}


def take_back(primitive: Mapping[str, Any], complete: bool) -> tuple[str, bool]:
    process = ProcessId(
        pid=int(primitive["pid"]),
        start_ticks=int(primitive["start_ticks"]),
        boot_id=str(primitive["boot_id"]),
    )
    if not send(process, signal.SIGCONT):
        return "gone", True
    return "continued", wait_until(lambda: not same(process) or process_state(process.pid) not in ("T", "t"))
