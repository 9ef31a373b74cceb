"""The run was not cut short, every fault is healed, as read back, and none of an earlier run was left in force."""

from __future__ import annotations

from dataclasses import dataclass

from harness.checks import finding
from harness.model import Finding, Verdict
from harness.record import Record


@dataclass(frozen=True, kw_only=True)
class RunComplete:
    claim: str

    def check(self, record: Record) -> Finding:
        if record.aborted is not None:
            why = f"the run was cut short: {record.aborted.detail.get('reason')}"
            return finding(self, Verdict.INCONCLUSIVE, why, record.aborted)
        if record.finished is None:
            return finding(self, Verdict.INCONCLUSIVE, "the run did not come to its end")
        loose = [f for f in record.faults if f.planned and not (f.healed and f.healed.detail.get("verified"))]
        if loose:
            names = ", ".join(fault.step.step_id for fault in loose)
            return finding(self, Verdict.INCONCLUSIVE, f"not healed: {names}", *(f.healed for f in loose))
        stuck = record.events[0].detail.get("stuck")
        if stuck:
            why = f"a fault of an earlier run was still in force: {'; '.join(stuck)}"
            return finding(self, Verdict.INCONCLUSIVE, why, record.events[0])
        return finding(self, Verdict.PASS, "it came to its end; all healed", record.finished)


CHECK = RunComplete
