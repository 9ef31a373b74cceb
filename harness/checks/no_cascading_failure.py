"""No kernel without a fault left running or restarted, and routes that need no faulted kernel went on."""

from __future__ import annotations

from dataclasses import dataclass

from harness.checks import finding
from harness.model import Finding, Kind, Verdict
from harness.record import Record

REQUESTS_MIN = 20


@dataclass(frozen=True, kw_only=True)
class NoCascadingFailure:
    claim: str

    def check(self, record: Record) -> Finding:
        start_s, end_s = record.first_injection_s, record.recovered.at_s if record.recovered else record.end_s
        if start_s is None:
            return finding(self, Verdict.INCONCLUSIVE, "no fault was injected")
        faulted = {fault.step.subject for fault in record.faults} & set(record.plan.kernels)
        dragged = [
            event
            for event in record.of_kind(Kind.KERNEL_CHANGED)
            if event.subject in record.plan.kernels
            and event.subject not in faulted
            and start_s <= event.at_s <= end_s
            and (event.detail.get("what") == "process" or event.detail.get("to") not in ("running", "R", "S"))
        ]
        if dragged:
            names = ", ".join(sorted({event.subject for event in dragged}))
            return finding(self, Verdict.FAIL, f"kernels without a fault changed: {names}", *dragged)
        others = frozenset(name for name, kernels in record.plan.routes.items() if not faulted & set(kernels))
        traffic = record.traffic(start_s, end_s, names=others)
        if traffic.count < REQUESTS_MIN:
            why = f"only {traffic.count} requests went to routes without a faulted kernel"
            return finding(self, Verdict.INCONCLUSIVE, why)
        success = 100 - traffic.failed_percent
        bound = record.plan.slo.bystander_success_percent_min
        verdict = Verdict.PASS if success >= bound else Verdict.FAIL
        why = f"{success:.2f} % of {traffic.count} requests to other routes succeeded, at least {bound:g} % asked"
        return finding(self, verdict, why, "requests.csv:1")


CHECK = NoCascadingFailure
