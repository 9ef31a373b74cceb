"""A fault reached what was asked of it, and held it for as long as it was in force."""

from __future__ import annotations

from dataclasses import dataclass

from harness.checks import finding
from harness.model import Finding, Step, Verdict
from harness.record import Record
from harness.unmet import Unmet


@dataclass(frozen=True, kw_only=True)
class FaultAttained:
    claim: str
    step_id: str

    def check(self, record: Record) -> Finding:
        fault = record.fault(self.step_id)
        asked = fault.step.asked
        rows = (fault.injected, fault.attained, fault.ended)
        if fault.shortfall:
            return finding(self, Verdict.INCONCLUSIVE, fault.shortfall, *rows)
        if fault.step.asked.unit == "requests" and (mute := self._unmet(record, fault.step)):
            lines = (f"requests.csv:{line}" for line in mute.lines)
            return finding(self, Verdict.INCONCLUSIVE, mute.unsure, *rows, *lines, code="never_served")
        achieved = fault.achieved or {}
        if asked.is_state:
            return finding(self, Verdict.PASS, f"{asked.name}, ended by {fault.ended_by}", *rows)
        wanted = f"{asked.value:g} {asked.unit}".strip()
        why = (
            f"asked {wanted}, mean {achieved.get('mean', 0):g} (sd {achieved.get('sd', 0):g},"
            f" p5 {achieved.get('p5', 0):g}, p95 {achieved.get('p95', 0):g}), ended by {fault.ended_by}"
        )
        return finding(self, Verdict.PASS, why, *rows)

    @staticmethod
    def _unmet(record: Record, step: Step) -> Unmet | None:
        """The route of this attack, when nothing shows that it ever worked."""
        route = f"POST {step.params.get('endpoint', '')}"
        return next((one for one in record.unmet if one.unsure and one.route == route), None)


CHECK = FaultAttained
