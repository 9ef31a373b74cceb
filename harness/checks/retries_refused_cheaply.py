"""Clients that retried while a kernel was away were told so at once, and when to come again: nearly all of them."""

from __future__ import annotations

from dataclasses import dataclass

from harness.checks import finding
from harness.ledger import LEGITIMATE
from harness.model import Finding, Verdict
from harness.record import Record, cite_rows
from harness.traffic import RequestRow

UNSERVED_MIN = 20  # fewer are no storm
FAILED_PERCENT_MAX = 20.0  # who was asked just before it was known that nobody answers
LATENCY_MS_P95_MAX = 250.0  # of a refusal: it costs the target next to nothing


@dataclass(frozen=True, kw_only=True)
class RetriesRefusedCheaply:
    """Counted by the attack's own clients: `shed` is a 503 with Retry-After, `limited` a 429, the rest has failed."""

    claim: str

    def check(self, record: Record) -> Finding:
        aimed = [fault for fault in record.faults if {fault.step.subject, *fault.step.kernels} & record.faulted_kernels]
        begun = [fault.injected.at_s for fault in aimed if fault.injected]
        routes = {f"POST {step.params.get('endpoint')}" for step in record.plan.steps if "endpoint" in step.params}
        if not begun or not routes:
            return finding(self, Verdict.INCONCLUSIVE, "no kernel was struck while clients asked for it")
        since_s = min(begun)
        rows = [row for row in record.requests if row.user != LEGITIMATE and row.name in routes and row.at_s >= since_s]
        shed, limited, failed = (_of(rows, word) for word in ("shed", "limited", "failed"))
        unserved = _count(shed) + _count(failed)
        if unserved < UNSERVED_MIN:
            why = f"only {unserved} answers were for want of a kernel, at least {UNSERVED_MIN} make a storm"
            return finding(self, Verdict.INCONCLUSIVE, why, *cite_rows(rows))
        percent = 100.0 * _count(failed) / unserved
        why = f"{_count(shed)} x 503 with Retry-After, {_count(limited)} x 429, and {_count(failed)} failed"
        why += f", {percent:.1f} % of what was for want of a kernel, at most {FAILED_PERCENT_MAX:g} %"
        if percent > FAILED_PERCENT_MAX:
            return finding(self, Verdict.FAIL, why, *cite_rows(failed))
        p95_ms = _percentile([*shed, *limited], 95.0)
        why += f"; a refusal took {p95_ms:.0f} ms (p95), at most {LATENCY_MS_P95_MAX:g}"
        verdict = Verdict.FAIL if p95_ms > LATENCY_MS_P95_MAX else Verdict.PASS
        return finding(self, verdict, why, *cite_rows((shed[0], shed[-1], *limited[:1])))


def _of(rows: list[RequestRow], outcome: str) -> list[RequestRow]:
    return [row for row in rows if row.outcome == outcome]


def _count(rows: list[RequestRow]) -> int:
    return sum(row.count for row in rows)


def _percentile(rows: list[RequestRow], percent: float) -> float:
    """The latency in ms below which *percent* of *rows* stayed."""
    spread: dict[int, int] = {}
    for row in rows:
        for latency_ms, count in row.latency_ms:
            spread[latency_ms] = spread.get(latency_ms, 0) + count
    left = percent / 100.0 * sum(spread.values())
    for latency_ms in sorted(spread):
        left -= spread[latency_ms]
        if left <= 1e-9:
            return float(latency_ms)
    return 0.0


CHECK = RetriesRefusedCheaply
