"""Pause: a kernel is alive but does nothing (SIGSTOP), as in a long garbage collection or a hung disk."""

from __future__ import annotations

import signal
import time
from dataclasses import asdict, dataclass
from typing import ClassVar

from harness.contracts import Hands, ProcessId, Target, TargetError
from harness.model import Effect, Hold, Magnitude, Sample, Undo
from harness.primitives.resume import resume
from harness.process import process_state, read_process, send

STOP_LIMIT_S = 1.0


@dataclass(frozen=True, kw_only=True)
class KernelPause:
    """Stops the process of kernel *target* for *pause_seconds*, or until the target ends it itself."""

    target: str
    pause_seconds: float

    duration_field: ClassVar[str] = "pause_seconds"
    min_duration_s: ClassVar[float] = 5.0

    @property
    def subject(self) -> str:
        return self.target

    @property
    def asked(self) -> Magnitude:
        return Magnitude(name="paused", value=1.0, unit="", tolerance=0.05)

    def prepare(self, target: Target) -> Undo:
        return Undo(primitives=(resume(target.process(self.target)),))

    def inject(self, target: Target, undo: Undo, hands: Hands) -> Effect:
        process = _paused(undo)
        if not send(process, signal.SIGSTOP):
            raise TargetError(f"{self.target} (pid {process.pid}) was gone before it could be paused")
        deadline = time.monotonic() + STOP_LIMIT_S
        while process_state(process.pid) != "T":
            if time.monotonic() > deadline:
                raise TargetError(f"{self.target} (pid {process.pid}) did not stop")
            time.sleep(0.002)
        return Effect(facts={"mechanism": "SIGSTOP", "state": "T", **asdict(process)})

    def sample(self, target: Target, undo: Undo, effect: Effect, hands: Hands) -> Sample:
        process = _paused(undo)
        now = read_process(process.pid)
        if now != process:
            return Sample(achieved=None, hold=Hold.TARGET, because=_ending(target, self.target, process))
        state = process_state(process.pid)
        if state != "T":
            because = f"pid {process.pid} runs again (state {state}), and it was not resumed by this harness"
            return Sample(achieved=None, hold=Hold.TARGET, because=because)
        return Sample(achieved=1.0)


def _paused(undo: Undo) -> ProcessId:
    one = undo.primitives[0]
    return ProcessId(pid=one["pid"], start_ticks=one["start_ticks"], boot_id=one["boot_id"])


def _ending(target: Target, kernel: str, old: ProcessId) -> str:
    """The witness that the target ended the pause: what /proc says of the old process and of its successor."""
    try:
        new = target.process(kernel)
    except TargetError:
        return f"pid {old.pid} is gone from /proc; no successor yet"
    return f"pid {old.pid} is gone from /proc; {kernel} is now pid {new.pid} (started at tick {new.start_ticks})"


FAULT = KernelPause
