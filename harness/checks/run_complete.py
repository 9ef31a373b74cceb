"""The run was not cut short, every fault is healed, as read back, and none of an earlier run was left in force."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from harness.checks import finding
from harness.model import Finding, Verdict
from harness.record import Record


@dataclass(frozen=True, kw_only=True)
class RunComplete:
    claim: str
    sources: ClassVar[tuple[str, ...]] = (
        "timeline: fault_healed, fault_planned, run_aborted, run_finished, run_started",
    )

    def check(self, record: Record) -> Finding:
        if record.aborted is not None:
            why = f"the run was cut short: {record.aborted.detail.get('reason')}"
            return finding(self, Verdict.INCONCLUSIVE, why, record.aborted, code="cut_short")
        if record.finished is None:
            why = "the run did not come to its end"
            return finding(self, Verdict.INCONCLUSIVE, why, record.looked("timeline"), code="not_finished")
        loose = [f for f in record.faults if f.planned and not (f.healed and f.healed.detail.get("verified"))]
        if loose:
            names = ", ".join(fault.step.step_id for fault in loose)
            why = f"not healed: {names}"
            return finding(
                self,
                Verdict.INCONCLUSIVE,
                why,
                *(f.healed for f in loose),
                record.looked("timeline"),
                code="not_healed",
            )
        stuck = record.events[0].detail.get("stuck")
        if stuck:
            why = f"a fault of an earlier run was still in force: {'; '.join(stuck)}"
            return finding(self, Verdict.INCONCLUSIVE, why, record.events[0], code="earlier_fault_in_force")
        return finding(self, Verdict.PASS, "it came to its end; all healed", record.finished)


CHECK = RunComplete
