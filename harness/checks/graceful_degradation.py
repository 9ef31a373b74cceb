"""Degraded, and gracefully so: enough was served, in time, and who was turned away was told when to come again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from harness.checks import finding, no_independent_route
from harness.ledger import LEGITIMATE
from harness.model import Finding, Setup, Verdict
from harness.record import Record, cite_rows
from harness.strikes import spared_rows

WINDOW_S = 10.0
STEP_S = 2.5  # windows overlap: a bad stretch must not hide on the border of two
BASELINE_REQUESTS_MIN = 20
SERVER_ERROR = 500


@dataclass(frozen=True, kw_only=True)
class GracefulDegradation:
    """What legitimate users got while faults were in force, against what they got in the baseline: by what needs no
    kernel that a fault is aimed at.

    Goodput is what was served a second. A refusal is graceful as a 429, or as a 503 that says when to come again;
    any other 5xx, and an answer that never came, is not.
    """

    claim: str
    sources: ClassVar[tuple[str, ...]] = (
        "requests.csv",
        "signals.csv: route_up",
        "timeline: fault_ended, fault_healed, fault_injected, kernel_changed, steady_state_met",
    )

    def never(self, setup: Setup) -> str:
        """Return why no run can pass, "" when one can."""
        return setup.no_route_left()

    def check(self, record: Record) -> Finding:
        baseline, slo = record.baseline, record.plan.slo
        start_s, end_s = record.first_injection_s, record.last_fault_end_s
        if baseline is None or start_s is None or end_s is None:
            why = "there is no baseline, or a fault has not ended"
            return finding(self, Verdict.INCONCLUSIVE, why, record.looked("timeline"), code="no_baseline")
        if lacks := no_independent_route(record):
            return finding(self, Verdict.INCONCLUSIVE, lacks, record.looked("plan.json"), code="no_independent_route")
        names = record.bystander_routes if record.faulted_kernels else None
        before = record.traffic(baseline.at_s - slo.baseline_s, baseline.at_s, names=names)
        good_before = before.served / slo.baseline_s
        if before.served < BASELINE_REQUESTS_MIN:
            why = f"only {before.served} requests were served in the baseline"
            return finding(self, Verdict.INCONCLUSIVE, why, record.looked("requests.csv"), code="too_few_requests")
        if end_s - start_s < WINDOW_S / 2:
            why = f"faults were in force for {end_s - start_s:.1f} s: too short to tell"
            return finding(self, Verdict.INCONCLUSIVE, why, record.looked("timeline"), code="too_short")
        length_s = min(WINDOW_S, end_s - start_s)
        count = max(1, int((end_s - start_s - length_s) / STEP_S) + 1)
        windows = [start_s + STEP_S * number for number in range(count)]
        windows += [end_s - length_s] if end_s - length_s > windows[-1] else []  # to the very end
        seen = [(record.traffic(at_s, at_s + length_s, names=names), at_s) for at_s in windows]
        least, least_at_s = min((traffic.served / length_s, at_s) for traffic, at_s in seen)
        slowest, slow_at_s = max((traffic.percentile(95) or 0.0, at_s) for traffic, at_s in seen)
        percent = 100 * least / good_before
        rude = [row for row in spared_rows(record, start_s, end_s, LEGITIMATE) if row.outcome == "failed"]
        rude = [row for row in rude if row.status >= SERVER_ERROR or row.status == 0]
        why = (
            f"at worst {percent:.0f} % of the baseline's {good_before:.1f}/s were served (from {least_at_s:.1f} s), at"
            f" least {slo.goodput_percent_min:g} % asked; p95 at most {slowest:.0f} ms (from {slow_at_s:.1f} s), below"
            f" {slo.degraded_latency_ms_p95_max:g} ms asked; {sum(row.count for row in rude)} errors that say nothing"
        )
        few = percent < slo.goodput_percent_min
        if few or slowest >= slo.degraded_latency_ms_p95_max or rude:
            at_s = least_at_s if few else slow_at_s
            return finding(
                self,
                Verdict.FAIL,
                why,
                *cite_rows(rude or record.request_rows(at_s, at_s + length_s, names=names)),
                code="few_served" if few else "errors" if rude else "slow",
            )
        rows = record.request_rows(least_at_s, least_at_s + length_s, names=names)
        return finding(self, Verdict.PASS, f"{len(windows)} windows: {why}", *cite_rows((rows[0], rows[-1])))


CHECK = GracefulDegradation
