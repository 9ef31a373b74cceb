"""A safeguard that covers a fault of the plan engaged for it, in time, and not before."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from harness.checks import EVENTS, finding, if_looked, masked
from harness.model import Finding, Setup, Verdict
from harness.record import Record


@dataclass(frozen=True, kw_only=True)
class SafeguardEngaged:
    observers: ClassVar[tuple[str, ...]] = (EVENTS,)

    claim: str
    safeguard: str
    sources: ClassVar[tuple[str, ...]] = (
        "timeline: fault_attained, fault_ended, fault_injected, run_started, safeguard_engaged, safeguard_released",
        "timeline: signal_back, signal_lost",
    )

    def never(self, setup: Setup) -> str:
        """Return why no run can pass, "" when one can."""
        if any(self.safeguard in dict(rows) for _, rows in setup.covered):
            return ""
        return f"no fault of the scenario is one that {self.safeguard} detects: {setup.types}"

    def check(self, record: Record) -> Finding:
        covered = [step for step, rows in record.plan.coverage.items() if self.safeguard in dict(rows)]
        if not covered:
            why = f"no fault of this plan is covered by {self.safeguard}"
            return finding(self, Verdict.INCONCLUSIVE, why, record.looked("plan.json"), code="no_such_fault")
        start_s = record.first_injection_s
        early = [
            one
            for one in record.engagements
            if one.safeguard == self.safeguard
            and (start_s is None or one.engaged.at_s < start_s)
            and (one.released is None or start_s is None or one.released.at_s >= start_s)
        ]
        if early:
            why = f"{self.safeguard} was engaged before any fault"
            return finding(self, Verdict.INCONCLUSIVE, why, early[0].engaged, code="engaged_early")
        found = {step_id: record.detection(step_id, self.safeguard) for step_id in covered}
        missed = [step_id for step_id, detection in found.items() if detection is None]
        seen = [detection for detection in found.values() if detection is not None]
        if missed:
            if (unsure := masked(self, record, missed, self.safeguard)) is not None:
                return unsure
            missed = [step for step in missed if record.still_engaged(step, self.safeguard) is None]
            steps = ", ".join(missed)
            why = f"{self.safeguard} did not engage for {steps} within its time"
            red = finding(
                self,
                Verdict.FAIL,
                why,
                *(record.fault(step).injected for step in covered),
                record.looked("timeline"),
                code="not_engaged",
            )
            return if_looked(record, EVENTS, red)
        first = min(seen, key=lambda one: one.event.at_s)
        why = f"{self.safeguard} engaged {first.after_injected_s:.2f} s after the injection"
        return finding(self, Verdict.PASS, why, *(one.event for one in seen))


CHECK = SafeguardEngaged
