"""The damaged configuration is on the disk again byte for byte, by the target's doing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from harness.checks import FILES, finding
from harness.mendings import damaged, mendings, sum_up
from harness.model import Finding, Setup, Verdict
from harness.record import Record


@dataclass(frozen=True, kw_only=True)
class ConfigRestored:
    observers: ClassVar[tuple[str, ...]] = (FILES,)

    claim: str
    sources: ClassVar[tuple[str, ...]] = (
        "timeline: fault_ended, fault_injected, fault_planned, file_changed, run_started, signal_back, signal_lost",
    )

    def never(self, setup: Setup) -> str:
        """Return why no run can pass, "" when one can."""
        return setup.without("config_corruption")

    def check(self, record: Record) -> Finding:
        faults = damaged(record, "config_corruption", "config")
        if not faults:
            why = "no fault of this plan damages the configuration"
            return finding(self, Verdict.INCONCLUSIVE, why, record.looked("plan.json"), code="no_such_fault")
        whole = sum_up([one for fault in faults for one in mendings(record, fault)])
        return finding(self, whole.verdict, whole.because, *whole.rows, code=whole.code)


CHECK = ConfigRestored
