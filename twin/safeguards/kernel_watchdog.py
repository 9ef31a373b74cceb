"""Kernel watchdog: sees that a kernel has no heartbeat, or no process, and asks for its restart."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from twin.config import Thresholds

WELL_S = 12.0  # after its restart: the defect restarted_twice


@dataclass
class KernelLife:
    """What the control plane knows of a kernel's process."""

    name: str
    state: str = "stopped"
    pid: int = 0
    started_at: float = 0.0  # epoch seconds
    started_s: float = 0.0  # monotonic
    last_beat_s: float | None = None
    gone: bool = False
    restarts: list[float] = field(default_factory=list)  # monotonic times of the restarts in the budget's window
    restarts_total: int = 0


@dataclass(frozen=True)
class Verdict:
    """A kernel that needs help: restart it, or give it up."""

    kernel: str
    reason: str
    action: str  # "restart" or "quarantine"
    details: dict[str, float | int | str]


class KernelWatchdog:
    """tick() looks at every kernel that should run; it holds no state of its own."""

    name = "kernel_watchdog"
    playbook = "kernel_restart"

    def __init__(self, thresholds: Thresholds, planted: Collection[str] = ()) -> None:
        self.thresholds = thresholds
        self.restarts_twice = "restarted_twice" in planted

    def tick(self, now_s: float, kernels: list[KernelLife]) -> list[Verdict]:
        verdicts = []
        for life in kernels:
            reason = self._trouble(now_s, life)
            if reason:
                verdicts.append(
                    Verdict(
                        life.name,
                        reason,
                        self.action(now_s, life),
                        {
                            "pid": life.pid,
                            "heartbeat_age_s": round(now_s - (life.last_beat_s or life.started_s), 3),
                            "restarts_total": life.restarts_total,
                        },
                    )
                )
        return verdicts

    def _trouble(self, now_s: float, life: KernelLife) -> str:
        if life.state not in ("starting", "running"):
            return ""
        if life.gone:
            return "process gone"
        if life.state == "starting":
            limit_s = self.thresholds.kernel_start_limit_s
            return "no first heartbeat" if now_s - life.started_s > limit_s else ""
        if life.last_beat_s is not None and now_s - life.last_beat_s > self.thresholds.heartbeat_missed_s:
            return "heartbeat missed"
        if self.restarts_twice and life.restarts_total == 1 and life.restarts and now_s - life.restarts[-1] > WELL_S:
            return "heartbeat missed"
        return ""

    def action(self, now_s: float, life: KernelLife) -> str:
        """Within the budget a restart, beyond it the quarantine."""
        window_s = self.thresholds.restart_budget_window_s
        recent = [at for at in life.restarts if at > now_s - window_s]
        return "restart" if len(recent) < self.thresholds.restart_budget else "quarantine"
