"""kernel_restart: ends what is left of a kernel's process, forks a new one, and waits until its heart beats."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twin.safeguards.kernel_watchdog import KernelLife

if TYPE_CHECKING:
    from twin.supervisor import Supervisor

GONE_LIMIT_S = 2.0


def kill(pid: int, number: signal.Signals) -> None:
    """Signals a child of the zygote, which reaps it only then: the pid cannot be another's meanwhile."""
    if pid > 1:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


async def end_process(pid: int) -> None:
    """SIGKILL, and waits until nothing of it is left."""
    deadline = time.monotonic() + GONE_LIMIT_S
    kill(pid, signal.SIGKILL)
    while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
        await asyncio.sleep(0.01)


async def begins(life: KernelLife, limit_s: float) -> bool:
    """Waits for a new process's first sign of life."""
    deadline = time.monotonic() + limit_s
    while life.state != "running":
        if life.gone or time.monotonic() > deadline:
            return False
        await asyncio.sleep(0.02)
    return True


class KernelRestart:
    """Run by the control plane: a kernel cannot be asked to restart itself."""

    name = "kernel_restart"

    def __init__(self, supervisor: Supervisor) -> None:
        self.supervisor = supervisor

    async def run(self, life: KernelLife, incident: dict[str, Any]) -> None:
        """Restart, then close the incident when the heartbeat has been fresh for a while."""
        record, old_pid = self.supervisor.record, life.pid
        about = {"incident_id": incident["incident_id"], "subject": life.name, "playbook": self.name}
        record("playbook.started", {**about, "timestamp": time.time()})
        record(
            "kernel.restart.initiated",
            {"kernel": life.name, "old_pid": old_pid, "reason": incident["reason"]},
        )
        life.restarts.append(time.monotonic())
        life.restarts_total += 1
        await end_process(old_pid)
        new_pid = await self.supervisor.spawn(life.name)
        if not await begins(life, self.supervisor.config.thresholds.kernel_start_limit_s):
            record("kernel.restart.failed", {"kernel": life.name, "old_pid": old_pid, "new_pid": new_pid})
            record("playbook.finished", {**about, "outcome": "failed", "details": {"reason": "no heartbeat"}})
            record("event.incident.closed", {**_closing(incident), "reason": "the restart failed"})
            life.state, life.gone = "running", True  # the watchdog decides anew, within its budget
            return
        details = {
            "kernel": life.name,
            "old_pid": old_pid,
            "new_pid": new_pid,
            "restarts": life.restarts_total,
        }
        record("kernel.restart.success", dict(details))
        record("playbook.finished", {**about, "outcome": "succeeded", "details": details})
        await self._fresh(life)
        record("event.incident.closed", {**_closing(incident), "reason": "the heartbeat is back"})

    async def give_up(self, life: KernelLife, incident: dict[str, Any]) -> None:
        """The budget is spent: the kernel stays down until somebody looks."""
        await end_process(life.pid)
        self.supervisor.record("system.control", {"action": "kernel_quarantined", "kernel": life.name})
        self.supervisor.record(
            "security.alert",
            {"kind": "kernel_quarantined", "subject": life.name, "reason": "the restart budget is spent"},
        )

    async def _fresh(self, life: KernelLife) -> None:
        """Waits until heartbeats have come without a gap for heartbeat_fresh_s."""
        thresholds = self.supervisor.config.thresholds
        since = time.monotonic()
        while time.monotonic() - since < thresholds.heartbeat_fresh_s:
            await asyncio.sleep(0.05)
            if life.gone or time.monotonic() - (life.last_beat_s or 0.0) > 2 * thresholds.heartbeat_every_s:
                since = time.monotonic()


def _closing(incident: dict[str, Any]) -> dict[str, Any]:
    return {key: incident[key] for key in ("incident_id", "trigger_id", "subject")}
