"""Every fault of the plan was injected."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from harness.checks import finding
from harness.model import Finding, Verdict
from harness.record import Record


@dataclass(frozen=True, kw_only=True)
class AllFaultsInjected:
    claim: str
    sources: ClassVar[tuple[str, ...]] = ("timeline: fault_ended, fault_injected",)

    def check(self, record: Record) -> Finding:
        missing = [fault for fault in record.faults if fault.injected is None]
        if missing or not record.faults:
            why = "; ".join(f"{fault.step.step_id}: {fault.shortfall}" for fault in missing) or "there is no fault"
            return finding(
                self,
                Verdict.INCONCLUSIVE,
                why,
                *(fault.ended for fault in missing),
                record.looked("timeline"),
                code="not_injected",
            )
        return finding(self, Verdict.PASS, f"all {len(record.faults)} injected", *(f.injected for f in record.faults))


CHECK = AllFaultsInjected
