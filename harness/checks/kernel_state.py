"""A kernel is in the state that is asked for when the run ends, by what its control plane says and by /proc."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from harness.checks import PROCESSES, early, finding, lost
from harness.model import Event, Finding, Kind, Verdict
from harness.observers.control_plane import UNLISTED
from harness.record import Record

RUNNING, STOPPED = "running", "T"
PROC = "processes"  # the observer that looks there


@dataclass(frozen=True, kw_only=True)
class KernelState:
    """A kernel that runs has a process as well: the harness's own look at /proc is the witness.

    The state that was told last is that of the end only when the kernel was told of until then.
    """

    observers: ClassVar[tuple[str, ...]] = ("control_plane", PROCESSES)

    claim: str
    kernel: str
    state: str
    sources: ClassVar[tuple[str, ...]] = (
        "signals.csv: kernel_heartbeat_age_s, kernel_pid",
        "timeline: fault_ended, kernel_changed, run_started, signal_back, signal_lost",
    )

    def check(self, record: Record) -> Finding:
        told = record.signals("kernel_heartbeat_age_s", self.kernel)
        edges = _edges(record, self.kernel, "control_plane", "state")
        state = str(edges[-1].detail["to"]) if edges else RUNNING  # the first look tells of any other
        if state == UNLISTED:
            why = f"the target lists its kernels at the end, and {self.kernel} is not among them"
            return finding(self, Verdict.FAIL, why, edges[-1], code="unlisted")
        since_s = record.last_fault_end_s
        if since_s is None or not told.rows or told.rows[-1][0] <= since_s:
            why = f"nobody told of {self.kernel} after the faults had ended"
            return finding(self, Verdict.INCONCLUSIVE, why, record.looked("signals.csv"), code="not_told")
        line = f"signals.csv:{told.rows[-1][2]}"
        if stale := early(record, told):
            return finding(self, Verdict.INCONCLUSIVE, f"{self.kernel} {stale}", line, code="told_early")
        evidence = (edges[-1] if edges else None, line)
        if state != self.state:
            return finding(self, Verdict.FAIL, f"{self.kernel} is {state} at the end", *evidence, code="other_state")
        if state == RUNNING and (unfit := self._by_proc(record, evidence)):
            return unfit
        return finding(self, Verdict.PASS, f"{self.kernel} is {state} at the end", *evidence)

    def _by_proc(self, record: Record, evidence: tuple[Event | str | None, ...]) -> Finding | None:
        """Why /proc does not bear it out that the kernel runs; None when it does."""
        blind, pids = lost(record, PROCESSES), record.signals("kernel_pid", self.kernel).rows
        if blind is not None:
            why = f"{self.kernel} is said to run, and nobody looked at /proc to the end"
            return finding(self, Verdict.INCONCLUSIVE, why, *evidence, blind, code="not_looked")
        if not pids or not pids[-1][1]:
            verdict = Verdict.FAIL if pids else Verdict.INCONCLUSIVE
            why = f"{self.kernel} is said to run, and /proc shows no process"
            return finding(self, verdict, why, *evidence, code="no_process" if pids else "process_unseen")
        looks = _edges(record, self.kernel, PROC)
        if looks and looks[-1].detail.get("to") == STOPPED:
            why = f"{self.kernel} is said to run, and /proc shows that it stands still"
            return finding(self, Verdict.FAIL, why, *evidence, looks[-1], code="stands_still")
        return None


def _edges(record: Record, kernel: str, source: str, what: str = "") -> list[Event]:
    return [
        event
        for event in record.of_kind(Kind.KERNEL_CHANGED)
        if (event.subject, event.source) == (kernel, source) and what in ("", event.detail.get("what"))
    ]


CHECK = KernelState
