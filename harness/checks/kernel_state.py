"""A kernel is in the state that is asked for when the run ends, by what its control plane says and by /proc."""

from __future__ import annotations

from dataclasses import dataclass

from harness.checks import finding
from harness.model import Finding, Kind, Verdict
from harness.record import Record

RUNNING, STOPPED = "running", "T"
PROC = "processes"  # the observer that looks there


@dataclass(frozen=True, kw_only=True)
class KernelState:
    """A kernel that runs has a process as well: the harness's own look at /proc is the witness."""

    claim: str
    kernel: str
    state: str

    def check(self, record: Record) -> Finding:
        told = record.signals("kernel_heartbeat_age_s", self.kernel).rows
        since_s = record.last_fault_end_s
        if since_s is None or not told or told[-1][0] <= since_s:
            why = f"nobody told of {self.kernel} after the faults had ended"
            return finding(self, Verdict.INCONCLUSIVE, why)
        edges = [
            event
            for event in record.of_kind(Kind.KERNEL_CHANGED)
            if (event.subject, event.source, event.detail.get("what")) == (self.kernel, "control_plane", "state")
        ]
        state = str(edges[-1].detail["to"]) if edges else RUNNING  # the first look tells of any other
        evidence = (edges[-1] if edges else None, f"signals.csv:{told[-1][2]}")
        if state != self.state:
            return finding(self, Verdict.FAIL, f"{self.kernel} is {state} at the end", *evidence)
        pids = record.signals("kernel_pid", self.kernel).rows
        if state == RUNNING and (not pids or not pids[-1][1]):
            verdict = Verdict.FAIL if pids else Verdict.INCONCLUSIVE
            return finding(self, verdict, f"{self.kernel} is said to run, and /proc shows no process", *evidence)
        looks = [one for one in record.of_kind(Kind.KERNEL_CHANGED) if (one.subject, one.source) == (self.kernel, PROC)]
        if state == RUNNING and looks and looks[-1].detail.get("to") == STOPPED:
            why = f"{self.kernel} is said to run, and /proc shows that it stands still"
            return finding(self, Verdict.FAIL, why, *evidence, looks[-1])
        return finding(self, Verdict.PASS, f"{self.kernel} is {state} at the end", *evidence)


CHECK = KernelState
