"""Legitimate users were served throughout: no 5 s in which too many failed or waited too long, whatever was hurt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from harness.checks import finding, no_independent_route
from harness.ledger import LEGITIMATE
from harness.model import Finding, Setup, Verdict
from harness.record import Record, cite_rows
from harness.strikes import spared_rows
from harness.traffic import RequestRow, Traffic

WINDOW_S = 5.0
STEP_S = 1.0  # windows overlap: a bad stretch must not hide on the border of two
STOPPING_S = 3.0  # while the load is stopped nobody asks any more
REQUESTS_MIN = 20  # fewer say nothing of health, and neither of illness


@dataclass(frozen=True, kw_only=True)
class ApiResponsive:
    """From the first injection until nobody asks any more, by what needs no kernel while a fault strikes it.

    Work that may wait, and is told when to come again (503), is neither. Whoever is limited (429) was not served.
    """

    claim: str
    sources: ClassVar[tuple[str, ...]] = (
        "requests.csv",
        "signals.csv: route_up",
        "timeline: fault_ended, fault_healed, fault_injected, kernel_changed",
    )

    def never(self, setup: Setup) -> str:
        """Return why no run can pass, "" when one can."""
        return setup.no_route_left()

    def check(self, record: Record) -> Finding:
        start_s = record.first_injection_s
        if start_s is None:
            why = "no fault was injected"
            return finding(self, Verdict.INCONCLUSIVE, why, record.looked("timeline"), code="not_injected")
        if lacks := no_independent_route(record):
            return finding(self, Verdict.INCONCLUSIVE, lacks, record.looked("plan.json"), code="no_independent_route")
        answers_s = (row.at_s for row in record.requests if row.user == LEGITIMATE)
        end_s = max((*answers_s, record.last_fault_end_s or 0.0, record.load_end_s - STOPPING_S))
        spared = spared_rows(record, start_s, end_s)
        slo, count = record.plan.slo, max(1, int((end_s - start_s - WINDOW_S) / STEP_S) + 1)
        windows = [start_s + STEP_S * number for number in range(count)]
        thin: list[tuple[float, int]] = []
        worst = (100.0, windows[0])
        slowest = (0.0, windows[0])
        for at_s in windows:
            traffic = Traffic.of(_between(spared, at_s))
            if traffic.count < REQUESTS_MIN:
                thin.append((at_s, traffic.count))
                continue
            lost_percent = 100.0 * (traffic.failed + traffic.limited) / traffic.count
            worst = min(worst, (100.0 - lost_percent, at_s))
            slowest = max(slowest, (traffic.percentile(99) or 0.0, at_s))
        why = (
            f"the worst {WINDOW_S:g} s had {worst[0]:.1f} % success (from {worst[1]:.1f} s),"
            f" at least {slo.responsive_success_percent_min:g} % asked; the slowest a p99 of {slowest[0]:.0f} ms"
            f" (from {slowest[1]:.1f} s), below {slo.responsive_latency_ms_p99_max:g} ms asked"
        )
        low = worst[0] < slo.responsive_success_percent_min
        slow = slowest[0] >= slo.responsive_latency_ms_p99_max
        if low or slow:
            rows = _between(spared, worst[1] if low else slowest[1])
            lost = ("failed", "limited")
            bad = [row for row in rows if (row.outcome in lost if low else row.latency_ms[-1][0] >= slowest[0])]
            return finding(self, Verdict.FAIL, why, *cite_rows(bad or rows), code="many_failed" if low else "slow")
        if thin:
            at_s, few = thin[0]
            why = f"only {few} legitimate requests ended from {at_s:.1f} s to {at_s + WINDOW_S:.1f} s; otherwise {why}"
            return finding(self, Verdict.INCONCLUSIVE, why, record.looked("requests.csv"), code="too_few_requests")
        rows = _between(spared, worst[1])
        return finding(self, Verdict.PASS, f"{len(windows)} windows: {why}", *cite_rows((rows[0], rows[-1])))


def _between(rows: Sequence[RequestRow], at_s: float) -> list[RequestRow]:
    return [row for row in rows if at_s <= row.at_s <= at_s + WINDOW_S]


CHECK = ApiResponsive
