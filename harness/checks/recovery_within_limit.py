"""After the last fault the platform was well again, and stayed so, within the limit."""

from __future__ import annotations

from dataclasses import dataclass

from harness.checks import finding
from harness.model import Finding, Verdict
from harness.record import Record

EARLY_S = 0.5  # between a fault's end and the row that says so


@dataclass(frozen=True, kw_only=True)
class RecoveryWithinLimit:
    claim: str

    def check(self, record: Record) -> Finding:
        limit_s = record.plan.recovery_limit_s
        if record.last_fault_end_s is None:
            return finding(self, Verdict.INCONCLUSIVE, "not every fault has ended")
        if record.recovery_s is None:
            waited_s = record.end_s - record.last_fault_end_s
            if waited_s < limit_s:
                why = f"no recovery yet when the run ended, {waited_s:.0f} s after the last fault"
                return finding(self, Verdict.INCONCLUSIVE, why, record.aborted)
            return finding(self, Verdict.FAIL, f"no recovery in {limit_s:g} s", record.finished)
        if record.recovery_s < -EARLY_S:
            why = "the recovery was seen before the last fault had ended"
            return finding(self, Verdict.INCONCLUSIVE, why, record.recovered)
        relapse = record.relapse
        if relapse is not None:
            why = (
                f"well {record.recovery_s:.1f} s after the last fault, and ill again: {relapse.kind} {relapse.subject}"
            )
            return finding(self, Verdict.FAIL, why, record.recovered, relapse)
        verdict = Verdict.PASS if record.recovery_s <= limit_s else Verdict.FAIL
        why = f"recovered {record.recovery_s:.1f} s after the last fault, limit {limit_s:g} s"
        return finding(self, verdict, why, record.recovered)


CHECK = RecoveryWithinLimit
