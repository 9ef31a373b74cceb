"""Clients were answered from what is stored while a dependency was late, never before, and not after its release."""

from __future__ import annotations

from dataclasses import dataclass

from harness.checks import finding
from harness.ledger import LEGITIMATE
from harness.model import Finding, Verdict
from harness.record import Record, cite_rows
from harness.traffic import BIN_S, Traffic

SLACK_S = 1.0  # an answer under way when the safeguard was released


@dataclass(frozen=True, kw_only=True)
class AnsweredStale:
    claim: str
    playbook: str

    def check(self, record: Record) -> Finding:
        names = {name for rows in record.plan.coverage.values() for name, book in rows if book == self.playbook}
        mine = [one for one in record.engagements if one.safeguard in names]
        spans = [
            (one.engaged.at_s - BIN_S, (one.released.at_s if one.released else record.end_s) + SLACK_S) for one in mine
        ]
        stale = [row for row in record.requests if row.user == LEGITIMATE and row.outcome == "stale"]
        outside = [row for row in stale if not any(start_s <= row.at_s <= end_s for start_s, end_s in spans)]
        if outside:
            why = f"{sum(row.count for row in outside)} stale answers while no dependency was said to be late"
            return finding(self, Verdict.FAIL, why, *cite_rows(outside))
        if not mine:
            return finding(self, Verdict.FAIL, f"{', '.join(sorted(names))} never engaged, nothing was stale")
        cited = [one.engaged for one in mine]
        if not stale:
            return finding(self, Verdict.FAIL, "no client was answered from what is stored", *cited)
        traffic = Traffic.of(stale)
        why = f"{traffic.count} stale answers, p95 {traffic.percentile(95):.0f} ms, all while it was engaged"
        return finding(self, Verdict.PASS, why, *cited, *cite_rows((stale[0], stale[-1])))


CHECK = AnsweredStale
