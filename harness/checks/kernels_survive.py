"""All kernels survived: each has a process at the end, none is given up, stopped or away."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from harness.checks import PROCESSES, early, finding, if_looked, lost
from harness.model import Event, Finding, Kind, Verdict
from harness.record import Record

WELL = ("running", "R", "S")
HEART = "kernel_heartbeat_age_s"  # whoever tells of it tells of the kernel's state as well


@dataclass(frozen=True, kw_only=True)
class KernelsSurvive:
    """A kernel that was restarted and runs survives; one that is quarantined does not."""

    observers: ClassVar[tuple[str, ...]] = (PROCESSES,)

    claim: str
    sources: ClassVar[tuple[str, ...]] = (
        "signals.csv: kernel_heartbeat_age_s, kernel_pid",
        "timeline: kernel_changed, run_finished, run_started, signal_back, signal_lost",
    )

    def check(self, record: Record) -> Finding:
        lines: dict[str, str] = {}
        gone, unseen = [], []
        for kernel in record.plan.kernels:
            pids = record.signals("kernel_pid", kernel).rows
            if not pids:
                unseen.append(kernel)
                continue
            lines[kernel] = f"signals.csv:{pids[-1][2]}"
            if not pids[-1][1]:
                gone.append(kernel)
        last: dict[tuple[str, str], Event] = {}
        for event in record.of_kind(Kind.KERNEL_CHANGED):
            if event.detail.get("what") == "state":
                last[event.subject, event.source] = event
        ill = [e for (kernel, _), e in last.items() if kernel in record.plan.kernels and e.detail.get("to") not in WELL]
        if gone or ill:
            names = {**dict.fromkeys(gone, "gone"), **{event.subject: event.detail.get("to") for event in ill}}
            told = ", ".join(f"{kernel} is {state}" for kernel, state in sorted(names.items()))
            why = f"at the end {told}"
            red = finding(
                self, Verdict.FAIL, why, *ill, *(lines[kernel] for kernel in gone), code="gone" if gone else "ill"
            )
            return if_looked(record, PROCESSES, red)
        if blind := lost(record, PROCESSES):
            return finding(self, Verdict.INCONCLUSIVE, "nobody looked at /proc to the end", blind, code="not_looked")
        untold = [kernel for kernel in record.subjects(HEART) if early(record, record.signals(HEART, kernel))]
        if untold:
            why = f"the target told nothing of {', '.join(untold)} at the end"
            return finding(self, Verdict.INCONCLUSIVE, why, record.looked("signals.csv"), code="not_told")
        if unseen or not record.plan.kernels:
            why = f"nobody saw a process of {', '.join(unseen) or 'any kernel'}"
            return finding(self, Verdict.INCONCLUSIVE, why, record.looked("signals.csv"), code="process_unseen")
        if record.finished is None:
            why = "the run did not come to its end"
            return finding(self, Verdict.INCONCLUSIVE, why, record.looked("timeline"), code="run_not_finished")
        restarts = sum(e.detail.get("what") == "process" for e in record.of_kind(Kind.KERNEL_CHANGED))
        why = f"all {len(record.plan.kernels)} run at the end, after {restarts} restarts"
        return finding(self, Verdict.PASS, why, *list(lines.values())[:1], *list(lines.values())[-1:])


CHECK = KernelsSurvive
