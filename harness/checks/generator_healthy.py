"""The load generator kept up: its event loop was never held up for long, over the run and during each fault.

The bound holds for the 99th percentile of each window by itself: a long quiet run must not hide a fault that disturbs
the generator.
"""

from __future__ import annotations

from dataclasses import dataclass

from harness.checks import finding
from harness.model import Finding, Verdict
from harness.record import Record


@dataclass(frozen=True, kw_only=True)
class GeneratorHealthy:
    claim: str

    def check(self, record: Record) -> Finding:
        overall = record.loop_lag(0.0, record.end_s)
        if overall is None:
            return finding(self, Verdict.INCONCLUSIVE, "the generator's own lag was not measured")
        windows = {"over the run": overall}
        for fault in record.faults:
            lag = record.loop_lag_of(fault)
            if lag is not None:
                windows[f"during {fault.step.step_id}"] = lag
        bound = record.plan.slo.loop_lag_ms_p99_max
        worst = max(windows, key=lambda name: windows[name][0])
        verdict = Verdict.PASS if windows[worst][0] <= bound else Verdict.INCONCLUSIVE
        told = ", ".join(f"{lag_ms:.0f} ms {name}" for name, (lag_ms, _) in windows.items())
        why = f"p99 of the event loop's lag: {told}; at most {bound:g} ms"
        return finding(self, verdict, why, f"signals.csv:{windows[worst][1]}")


CHECK = GeneratorHealthy
