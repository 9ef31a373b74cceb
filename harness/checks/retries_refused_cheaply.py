"""Clients that retried while a kernel was away were told so at once, and when to come again: nearly all of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from harness.checks import finding
from harness.ledger import LEGITIMATE
from harness.model import Finding, Verdict
from harness.record import Record, cite_rows
from harness.traffic import RequestRow

UNSERVED_MIN = 20  # fewer are no storm
FAILED_PERCENT_MAX = 20.0  # who was asked just before it was known that nobody answers
CHEAP_MS_MAX = 250  # a refusal costs the target next to nothing
SLOW_PERCENT_MAX = 1.0  # of the refusals of a kind; many of one kind say nothing of the other
LONGEST_MS_MAX = 3000  # whatever came of it: who asks while nobody is there must not be left hanging


@dataclass(frozen=True, kw_only=True)
class RetriesRefusedCheaply:
    """Counted by the attack's own clients: `shed` is a 503 with Retry-After, `limited` a 429, the rest has failed.

    A few that hang for long do not show in a share of many, so the longest of all has a bound of its own.
    """

    claim: str
    sources: ClassVar[tuple[str, ...]] = (
        "requests.csv",
        "timeline: fault_injected",
    )

    def check(self, record: Record) -> Finding:
        aimed = [fault for fault in record.faults if {fault.step.subject, *fault.step.kernels} & record.faulted_kernels]
        begun = [fault.injected.at_s for fault in aimed if fault.injected]
        routes = {f"POST {step.params.get('endpoint')}" for step in record.plan.steps if "endpoint" in step.params}
        if not begun or not routes:
            why = "no kernel was struck while clients asked for it"
            return finding(self, Verdict.INCONCLUSIVE, why, record.looked("timeline"), code="not_injected")
        since_s = min(begun)
        rows = [row for row in record.requests if row.user != LEGITIMATE and row.name in routes and row.at_s >= since_s]
        shed, limited, failed = (_of(rows, word) for word in ("shed", "limited", "failed"))
        unserved = _count(shed) + _count(failed)
        if unserved < UNSERVED_MIN:
            why = f"only {unserved} answers were for want of a kernel, at least {UNSERVED_MIN} make a storm"
            return finding(
                self, Verdict.INCONCLUSIVE, why, *cite_rows(rows), record.looked("requests.csv"), code="too_few_retries"
            )
        percent = 100.0 * _count(failed) / unserved
        why = f"{_count(shed)} x 503 with Retry-After, {_count(limited)} x 429, and {_count(failed)} failed"
        why += f", {percent:.1f} % of what was for want of a kernel, at most {FAILED_PERCENT_MAX:g} %"
        if percent > FAILED_PERCENT_MAX:
            return finding(self, Verdict.FAIL, why, *cite_rows(failed), code="many_failed")
        slow, longest_ms = _slow(shed, limited), max(_longest_ms(row) for row in rows)
        why += f"; {slow[0]:.1f} % of the refusals{slow[1]} took more than {CHEAP_MS_MAX} ms, at most"
        why += f" {SLOW_PERCENT_MAX:g} % may; the longest retry took {longest_ms} ms, at most {LONGEST_MS_MAX} ms"
        if slow[0] > SLOW_PERCENT_MAX or longest_ms > LONGEST_MS_MAX:
            worst = sorted(rows, key=_longest_ms, reverse=True)
            return finding(
                self,
                Verdict.FAIL,
                why,
                *cite_rows(worst),
                code="refusals_slow" if slow[0] > SLOW_PERCENT_MAX else "retry_hung",
            )
        return finding(self, Verdict.PASS, why, *cite_rows((shed[0], shed[-1], *limited[:1])))


def _of(rows: list[RequestRow], outcome: str) -> list[RequestRow]:
    return [row for row in rows if row.outcome == outcome]


def _count(rows: list[RequestRow]) -> int:
    return sum(row.count for row in rows)


def _longest_ms(row: RequestRow) -> int:
    return max((latency_ms for latency_ms, _ in row.latency_ms), default=0)


def _slow(shed: list[RequestRow], limited: list[RequestRow]) -> tuple[float, str]:
    """(the greater share of those that were not cheap, in percent, which kind that is)."""
    found = []
    for rows, kind in ((shed, " (503)"), (limited, " (429)")):
        slow = sum(count for row in rows for latency_ms, count in row.latency_ms if latency_ms > CHEAP_MS_MAX)
        found.append((100.0 * slow / max(1, _count(rows)), kind))
    return max(found, key=lambda one: one[0])


CHECK = RetriesRefusedCheaply
