"""Somebody other than the fault noticed it: the faulted kernel's route failed or was slow."""

from __future__ import annotations

from dataclasses import dataclass

from harness.checks import finding
from harness.model import Finding, Kind, Verdict
from harness.record import Record

LATE_S = 5.0  # a request that was under way when the fault ended


@dataclass(frozen=True, kw_only=True)
class SymptomSeen:
    claim: str
    step_id: str

    def check(self, record: Record) -> Finding:
        fault = record.fault(self.step_id)
        if fault.injected is None:
            return finding(self, Verdict.INCONCLUSIVE, "the fault was not injected")
        until_s = (fault.ended.at_s if fault.ended else record.end_s) + LATE_S
        seen = [
            event
            for event in record.of_kind(Kind.SYMPTOM_SEEN)
            if event.subject == fault.step.subject
            and event.detail.get("what") in ("route_down", "route_slow")
            and fault.injected.at_s <= event.at_s <= until_s
        ]
        if not seen:
            why = f"the route of {fault.step.subject} never failed: the fault touched nobody"
            return finding(self, Verdict.INCONCLUSIVE, why, fault.injected)
        after_s = seen[0].at_s - fault.injected.at_s
        return finding(self, Verdict.PASS, f"{seen[0].detail.get('what')} after {after_s:.1f} s", seen[0])


CHECK = SymptomSeen
