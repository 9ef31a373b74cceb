"""Somebody other than the fault noticed it: the faulted kernel's route failed, or was slow and nothing else was why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from harness.checks import finding
from harness.model import Event, Finding, Kind, Verdict
from harness.record import Record

LATE_S = 5.0  # a request that was under way when the fault ended


@dataclass(frozen=True, kw_only=True)
class SymptomSeen:
    claim: str
    step_id: str
    sources: ClassVar[tuple[str, ...]] = ("timeline: fault_ended, fault_injected, symptom_seen",)

    def check(self, record: Record) -> Finding:
        fault = record.fault(self.step_id)
        if fault.injected is None:
            why = "the fault was not injected"
            return finding(self, Verdict.INCONCLUSIVE, why, record.looked("timeline"), code="not_injected")
        until_s = (fault.ended.at_s if fault.ended else record.end_s) + LATE_S
        seen = [
            event
            for event in record.of_kind(Kind.SYMPTOM_SEEN)
            if event.subject == fault.step.subject
            and event.detail.get("what") in ("route_down", "route_slow")
            and fault.injected.at_s <= event.at_s <= until_s
        ]
        own = [one for one in seen if one.detail.get("what") == "route_down" or not self._others(record, one)]
        if own:
            after_s = own[0].at_s - fault.injected.at_s
            return finding(self, Verdict.PASS, f"{own[0].detail.get('what')} after {after_s:.1f} s", own[0])
        if seen:
            others = ", ".join(self._others(record, seen[0]))
            why = f"the route of {fault.step.subject} was only slow, which may be the work of {others}"
            return finding(self, Verdict.INCONCLUSIVE, why, fault.injected, *seen, code="only_slow")
        why = f"the route of {fault.step.subject} never failed: the fault touched nobody"
        evidence = (fault.injected, record.looked("timeline"))
        return finding(self, Verdict.INCONCLUSIVE, why, *evidence, code="never_failed")

    def _others(self, record: Record, event: Event) -> list[str]:
        """The other faults of the plan that were in force at *event*, or had ended just before."""
        found = []
        for other in record.faults:
            if other.step.step_id == self.step_id or other.injected is None:
                continue
            until_s = (other.ended.at_s if other.ended else record.end_s) + LATE_S
            if other.injected.at_s <= event.at_s <= until_s:
                found.append(other.step.step_id)
        return found


CHECK = SymptomSeen
