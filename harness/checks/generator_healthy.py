"""The load generator kept up: no event loop of it was held up for long, over the run and during each fault.

The bound holds for the 99th percentile of each window by itself: a long quiet run must not hide a fault that disturbs
the generator. In a distributed run it holds for each worker as well, for it is they who load.
While the target is read back nobody loads any more.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

from harness.checks import finding
from harness.model import Finding, Verdict
from harness.record import Record

LOOKED_BACK_S = 1.0  # a sample tells of up to so much before it
SILENT_S = 5.0  # so long a process of the generator may tell nothing of its lag

Windows = dict[str, tuple[float, int]]  # which → its 99th percentile in ms, and the line of signals.csv that shows it


@dataclass(frozen=True, kw_only=True)
class GeneratorHealthy:
    claim: str
    sources: ClassVar[tuple[str, ...]] = (
        "signals.csv: loop_lag_ms, worker_requests",
        "timeline: fault_ended, fault_injected, steady_state_met",
    )

    def check(self, record: Record) -> Finding:
        workers = sorted({*record.subjects("worker_requests"), *record.subjects("loop_lag_ms")} - {""})
        windows: Windows = {}
        for process in ("", *workers):
            found = self._windows(record, process)
            if not found:
                why = f"the {_named(process)} lag was not measured"
                return finding(self, Verdict.INCONCLUSIVE, why, record.looked("signals.csv"), code="not_measured")
            if silent := self._silence(record, process):
                why = f"the {_named(process)} lag was not measured for {silent}"
                return finding(self, Verdict.INCONCLUSIVE, why, record.looked("signals.csv"), code="measured_with_gaps")
            worst = max(found, key=lambda name: found[name][0])
            windows |= {f"{worst} on {process}": found[worst]} if process else found
        bound = record.plan.slo.loop_lag_ms_p99_max
        worst = max(windows, key=lambda name: windows[name][0])
        verdict = Verdict.PASS if windows[worst][0] <= bound else Verdict.INCONCLUSIVE
        told = ", ".join(f"{lag_ms:.0f} ms {name}" for name, (lag_ms, _) in windows.items())
        why = f"p99 of the event loop's lag: {told}; at most {bound:g} ms"
        return finding(self, verdict, why, f"signals.csv:{windows[worst][1]}", code="held_up")

    @staticmethod
    def _windows(record: Record, process: str) -> Windows:
        """Of *process* ("" = the one that judges); {} when its lag was never measured.

        From the baseline on: while users are made, their process is busy with that, and nothing is judged.
        """
        baseline = record.baseline
        since_s = max(0.0, baseline.at_s - record.plan.slo.baseline_s + LOOKED_BACK_S) if baseline else 0.0
        overall = record.loop_lag(since_s, record.load_end_s, process)
        if overall is None:
            return {}
        each = {f"during {fault.step.step_id}": record.loop_lag_of(fault, process) for fault in record.faults}
        return {"over the run": overall, **{name: lag for name, lag in each.items() if lag is not None}}

    @staticmethod
    def _silence(record: Record, process: str) -> str:
        """The longest gap between two looks, when it is too long: a saturated process tells nothing.

        Who tells only after the baseline was not heard in it.
        """
        rows = record.signals("loop_lag_ms", process).rows
        times = [row[0] for row in rows if row[0] <= record.load_end_s] or [rows[0][0]]
        first_s = record.baseline.at_s if record.baseline else times[0]
        begun = [first_s] if times[0] > first_s else []
        gap_s = max(end - start for start, end in pairwise([*begun, *times, max(record.load_end_s, times[-1])]))
        return f"{gap_s:.1f} s" if gap_s > SILENT_S else ""


def _named(process: str) -> str:
    return f"worker {process}'s" if process else "generator's own"


CHECK = GeneratorHealthy
