"""Clients saw work deferred while the safeguard was engaged, never before, and not after its release."""

from __future__ import annotations

from dataclasses import dataclass

from harness.checks import finding
from harness.model import Finding, Verdict
from harness.record import Record, cite_rows
from harness.traffic import BIN_S

SLACK_S = 1.0  # an answer under way when the safeguard was released


@dataclass(frozen=True, kw_only=True)
class LoadShed:
    claim: str
    playbook: str

    def check(self, record: Record) -> Finding:
        steps = [s for s, rows in record.plan.coverage.items() if any(p == self.playbook for _, p in rows)]
        safeguards = {
            name for step in steps for name, playbook in record.plan.coverage[step] if playbook == self.playbook
        }
        spans = [
            (one.engaged.at_s, one.released.at_s if one.released else record.end_s)
            for one in record.engagements
            if one.safeguard in safeguards
        ]
        deferred = [row for row in record.requests if row.outcome == "shed"]
        total = sum(row.count for row in deferred)
        outside = [
            row
            for row in deferred
            if not any(start_s - BIN_S <= row.at_s <= end_s + SLACK_S for start_s, end_s in spans)
        ]
        if outside:
            why = f"{sum(row.count for row in outside)} deferred while no safeguard was engaged"
            return finding(self, Verdict.FAIL, why, *cite_rows(outside))
        if not spans:
            return finding(self, Verdict.FAIL, f"{', '.join(sorted(safeguards))} never engaged, nothing was deferred")
        engaged = (one.engaged for one in record.engagements if one.safeguard in safeguards)
        if not total:
            return finding(self, Verdict.FAIL, "no client saw anything deferred", *engaged)
        why = f"{total} deferred, all while it was engaged"
        return finding(self, Verdict.PASS, why, *engaged, *cite_rows((deferred[0], deferred[-1])))


CHECK = LoadShed
