"""The load generator itself kept up: its event loop was never held up for long."""

from __future__ import annotations

from dataclasses import dataclass

from harness.checks import finding
from harness.model import Finding, Verdict
from harness.record import Record


@dataclass(frozen=True, kw_only=True)
class GeneratorHealthy:
    claim: str

    def check(self, record: Record) -> Finding:
        rows = record.signals("loop_lag_ms").rows
        if not rows:
            return finding(self, Verdict.INCONCLUSIVE, "the generator's own lag was not measured")
        ordered = sorted(rows, key=lambda row: row[1])
        worst = ordered[min(len(ordered) - 1, int(0.99 * len(ordered)))]
        bound = record.plan.slo.loop_lag_ms_p99_max
        verdict = Verdict.PASS if worst[1] <= bound else Verdict.INCONCLUSIVE
        why = f"p99 of the event loop's lag {worst[1]:.0f} ms, at most {bound:g} ms"
        return finding(self, verdict, why, f"signals.csv:{worst[2]}")


CHECK = GeneratorHealthy
