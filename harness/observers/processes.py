"""The target's processes as /proc shows them: who runs, who is stopped, who was replaced."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import ClassVar

from harness.contracts import ProcessId, Target, TargetError, View
from harness.model import Kind, Reading
from harness.process import age_s, process_state, resident_mb, same

WEIGH_EVERY_S = 1.0


class Processes:
    """kernel_pid, worker_pid, resident_mb and processes_seen samples, and edges.

    An edge tells that a process is another, gone, stopped, or goes on.

    A successor's edge bears the time at which the successor began, as /proc tells it, not that of the look.
    """

    every_s: ClassVar[float] = 0.25

    def __init__(self, target: Target) -> None:
        self.known: dict[str, ProcessId] = {}
        self.present: dict[str, bool] = {}
        self.stopped: dict[str, bool] = {}
        self.looked_s: dict[str, float] = {}
        self.weighed_s = -WEIGH_EVERY_S

    def observe(self, view: View) -> Iterable[Reading]:
        at_s = view.now_s()
        weigh = at_s - self.weighed_s >= WEIGH_EVERY_S
        if weigh:
            self.weighed_s = at_s
        for kernel in view.target.kernels:
            yield from self._look(view.target, kernel, at_s)
        for pool in view.target.workers.values():
            for worker in pool.processes:
                yield from self._look(view.target, worker, at_s, signal="worker_pid")
        if weigh:
            yield Reading(at_s=at_s, name="processes_seen", value=float(sum(self.present.values())))
        for name, process in self.known.items() if weigh else ():
            if self.present.get(name) and (resident := resident_mb(process)) is not None:
                yield Reading(at_s=at_s, name="resident_mb", subject=name, value=resident)

    def _look(self, target: Target, kernel: str, at_s: float, signal: str = "kernel_pid") -> Iterable[Reading]:
        old = self.known.get(kernel)
        try:
            now = old if old is not None and same(old) else target.process(kernel)
        except TargetError:
            now = None
        first = kernel not in self.present
        if now is not None and old is not None and now != old:
            detail: dict[str, object] = {**self._change(old, now), "seen_at_s": round(at_s, 4)}
            yield self._edge(kernel, self._began_s(kernel, now, at_s), "process", detail)
        elif now is None and self.present.get(kernel):
            yield self._edge(kernel, at_s, "state", {"from": "running", "to": "gone", "pid": 0})
        if now is not None:
            self.known[kernel] = now
        if first or self.present[kernel] != (now is not None) or now != old:
            yield Reading(at_s=at_s, name=signal, subject=kernel, value=now.pid if now else 0)
        if now is not None and not first and not self.present[kernel]:
            began_s = self._began_s(kernel, now, at_s)
            detail = {"from": "gone", "to": "running", "pid": now.pid}
            yield self._edge(kernel, began_s, "state", detail)
        stopped = now is not None and process_state(now.pid) in ("T", "t")
        if now is not None and stopped != self.stopped.get(kernel, False):
            yield self._edge(kernel, at_s, "state", {"from": "running", "to": "T"} if stopped else {"to": "running"})
            if stopped:
                detail = {"what": "process_stopped"}
                yield Reading(at_s=at_s, name="processes", subject=kernel, kind=Kind.SYMPTOM_SEEN, detail=detail)
        self.stopped[kernel] = stopped
        self.present[kernel] = now is not None
        self.looked_s[kernel] = at_s

    def _began_s(self, kernel: str, process: ProcessId, at_s: float) -> float:
        """When *process* took over: its start, but not before the last look, which still saw another state."""
        return min(at_s, max(at_s - age_s(process), self.looked_s.get(kernel, at_s)))

    @staticmethod
    def _change(old: ProcessId, now: ProcessId) -> dict[str, object]:
        return {
            "old_pid": old.pid,
            "pid": now.pid,
            "old_start_ticks": old.start_ticks,
            "start_ticks": now.start_ticks,
        }

    @staticmethod
    def _edge(kernel: str, at_s: float, what: str, detail: Mapping[str, object]) -> Reading:
        told = {"what": what, **detail}
        return Reading(at_s=at_s, name="processes", subject=kernel, kind=Kind.KERNEL_CHANGED, detail=told)

    def close(self) -> None:
        pass


OBSERVER = Processes
