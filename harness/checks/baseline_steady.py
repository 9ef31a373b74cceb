"""Before any fault the target answered steadily and the machine had room."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from harness.checks import finding
from harness.model import Finding, Verdict
from harness.record import Record


@dataclass(frozen=True, kw_only=True)
class BaselineSteady:
    claim: str
    sources: ClassVar[tuple[str, ...]] = ("timeline: run_aborted, steady_state_met",)

    def check(self, record: Record) -> Finding:
        baseline = record.baseline
        if baseline is None:
            why = record.aborted.detail.get("reason", "") if record.aborted else "it was never reached"
            why = f"no steady baseline: {why}"
            return finding(
                self, Verdict.INCONCLUSIVE, why, record.aborted, record.looked("timeline"), code="never_steady"
            )
        told = baseline.detail
        why = (
            f"{told.get('requests')} requests, p95 {told.get('latency_ms_p95')} ms,"
            f" {told.get('failure_percent')} % failed, CPU {told.get('cpu_percent')} %"
        )
        slo = record.plan.slo
        cpu = float(told.get("cpu_percent", 100.0))
        failed = float(told.get("failure_percent", 100.0))
        fine = cpu <= slo.baseline_cpu_percent_max and failed <= slo.failure_percent_max
        return finding(self, Verdict.PASS if fine else Verdict.INCONCLUSIVE, why, baseline, code="unsteady")


CHECK = BaselineSteady
