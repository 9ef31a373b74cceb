"""Worker watchdog: sees that a worker gets nothing done, is not there, or says nothing, and asks for a new one."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from twin.config import Thresholds

WELL_COMPLETED = 60  # pieces of work: the defect worker_killed_well


@dataclass
class WorkerLife:
    """What the scheduler knows of a worker; times are monotonic seconds."""

    name: str
    pid: int = 0  # 0: it has never said hello
    gone: bool = False
    hellos: int = 0  # its connections so far; what it asked over an earlier one is no longer waited for
    last_beat_s: float = 0.0  # for one that has never said hello: since when it is waited for
    busy_since_s: float | None = None  # since when it has had work and completed none
    timeouts_in_row: int = 0
    completed: int = 0
    timed_out: int = 0


@dataclass(frozen=True)
class Stalled:
    """A worker that is of no use."""

    worker: str
    reason: str
    details: dict[str, Any]


class WorkerWatchdog:
    """tick() looks at every worker that should be there; it holds no state of its own, but for a planted defect's."""

    name = "worker_watchdog"
    playbook = "worker_restart"

    def __init__(self, thresholds: Thresholds, planted: Collection[str] = ()) -> None:
        self.kills_one_well = "worker_killed_well" in planted
        self.stalled_s = thresholds.worker_no_progress_s
        self.timeouts_in_row = thresholds.worker_timeouts_in_row

    def tick(self, now_s: float, workers: list[WorkerLife]) -> list[Stalled]:
        found = []
        for life in workers:
            reason = self.trouble(now_s, life)
            if reason:
                details = {"pid": life.pid, "completed": life.completed, "timeouts_in_row": life.timeouts_in_row}
                found.append(Stalled(life.name, reason, details))
        return found

    def trouble(self, now_s: float, life: WorkerLife) -> str:
        """Why it is of no use; "" when it is."""
        if life.gone:
            return "process gone"
        if life.timeouts_in_row >= self.timeouts_in_row:
            return f"timed out {life.timeouts_in_row} times in a row"
        if life.busy_since_s is not None and now_s - life.busy_since_s >= self.stalled_s:
            return f"nothing completed for {self.stalled_s:g} s while it had work"
        if now_s - life.last_beat_s >= self.stalled_s:
            return f"no sign of it for {self.stalled_s:g} s"
        if self.kills_one_well and life.completed >= WELL_COMPLETED:
            self.kills_one_well = False
            return f"nothing completed for {self.stalled_s:g} s while it had work"
        return ""
