"""Every expected safeguard engaged for the fault that it covers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from harness.checks import EVENTS, finding
from harness.checks.safeguard_engaged import SafeguardEngaged
from harness.model import Finding, Setup, Verdict
from harness.record import Record


@dataclass(frozen=True, kw_only=True)
class AllSafeguardsTriggered:
    observers: ClassVar[tuple[str, ...]] = (EVENTS,)

    claim: str
    sources: ClassVar[tuple[str, ...]] = (
        "timeline: fault_attained, fault_ended, fault_injected, run_started, safeguard_engaged, safeguard_released",
        "timeline: signal_back, signal_lost",
    )

    def never(self, setup: Setup) -> str:
        """Return why no run can pass, "" when one can."""
        if not setup.safeguards:
            return "the scenario expects no safeguard"
        whys = (SafeguardEngaged(claim=self.claim, safeguard=name).never(setup) for name in setup.safeguards)
        return next(filter(None, whys), "")

    def check(self, record: Record) -> Finding:
        expected = record.plan.expected_safeguards
        if not expected:
            why = "the scenario expects no safeguard"
            return finding(self, Verdict.INCONCLUSIVE, why, record.looked("plan.json"), code="nothing_expected")
        found = {name: SafeguardEngaged(claim=self.claim, safeguard=name).check(record) for name in expected}
        for verdict in (Verdict.FAIL, Verdict.INCONCLUSIVE):
            bad = [name for name, one in found.items() if one.verdict is verdict]
            if bad:
                why = "; ".join(found[name].because for name in bad)
                return finding(
                    self, verdict, why, *(row for name in bad for row in found[name].evidence), code=found[bad[0]].cause
                )
        why = f"all {len(expected)} engaged"
        return finding(self, Verdict.PASS, why, *(row for one in found.values() for row in one.evidence))


CHECK = AllSafeguardsTriggered
