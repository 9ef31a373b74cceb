"""A kernel that was struck got at most one new process for each fault, and that one lived: nothing ended it again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from harness.checks import PROCESSES, finding, lost
from harness.model import Event, Finding, Kind, Verdict
from harness.record import Record

NOT_ALIVE = {"gone": "has no process", "T": "stands still"}  # what /proc shows of it


@dataclass(frozen=True, kw_only=True)
class NoSecondDeath:
    """/proc is asked, not the target: a process is another one by its start time."""

    observers: ClassVar[tuple[str, ...]] = (PROCESSES,)

    claim: str
    sources: ClassVar[tuple[str, ...]] = (
        "timeline: fault_injected, kernel_changed, run_started, signal_back, signal_lost",
    )

    def check(self, record: Record) -> Finding:
        struck = {kernel: _strikes(record, kernel) for kernel in sorted(record.faulted_kernels)}
        struck = {kernel: times for kernel, times in struck.items() if times}
        if not struck:
            why = "no fault was injected into a kernel"
            return finding(self, Verdict.INCONCLUSIVE, why, record.looked("timeline"), code="not_injected")
        wrong, told, unseen, evidence = [], [], [], []
        for kernel, times in struck.items():
            edges = _edges(record, kernel)
            replaced = [event for event in edges if event.detail.get("what") == "process"]
            told.append(f"{kernel} was struck {times} x and replaced {len(replaced)} x")
            evidence += replaced or edges[-1:]
            if len(replaced) > times:
                wrong.append(told[-1])
            elif edges and edges[-1].detail.get("to") in NOT_ALIVE:
                wrong.append(f"{told[-1]}, and {NOT_ALIVE[edges[-1].detail['to']]} in the end")
            elif not edges:
                unseen.append(told[-1])
        if wrong:
            return finding(self, Verdict.FAIL, "; ".join(wrong), *evidence, code="replaced_again_or_dead")
        if blind := lost(record, PROCESSES):
            return finding(self, Verdict.INCONCLUSIVE, "nobody looked at /proc to the end", blind, code="not_looked")
        if unseen:
            why = f"no process was seen to change: {'; '.join(unseen)}"
            return finding(
                self, Verdict.INCONCLUSIVE, why, *evidence, record.looked("timeline"), code="change_not_seen"
            )
        return finding(self, Verdict.PASS, "; ".join(told), *evidence)


def _strikes(record: Record, kernel: str) -> int:
    hit = (fault for fault in record.faults if kernel in (*fault.step.kernels, fault.step.subject))
    return sum(fault.injected is not None for fault in hit)


def _edges(record: Record, kernel: str) -> list[Event]:
    """What /proc showed of the kernel's process from the first injection on."""
    start_s = record.first_injection_s or 0.0
    return [
        event
        for event in record.of_kind(Kind.KERNEL_CHANGED)
        if event.subject == kernel and event.source == "processes" and event.at_s >= start_s
    ]


CHECK = NoSecondDeath
