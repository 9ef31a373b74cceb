"""Clients were answered from what is stored while a dependency was late, never before, and not after its release."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from harness.checks import EVENTS, finding, if_looked
from harness.ledger import LEGITIMATE
from harness.model import Finding, Verdict
from harness.record import Engagement, Record, cite_rows
from harness.traffic import BIN_S, RequestRow, Traffic

SLACK_S = 1.0  # an answer under way when the safeguard was released


@dataclass(frozen=True, kw_only=True)
class AnsweredStale:
    """For each dependency that a fault made late, from the injection on: what is stale before that shows nothing."""

    observers: ClassVar[tuple[str, ...]] = (EVENTS,)

    claim: str
    playbook: str
    sources: ClassVar[tuple[str, ...]] = (
        "requests.csv",
        "timeline: fault_injected, run_started, safeguard_engaged, safeguard_released, signal_back, signal_lost",
    )

    def check(self, record: Record) -> Finding:
        names = {name for rows in record.plan.coverage.values() for name, book in rows if book == self.playbook}
        stale = [row for row in record.requests if row.user == LEGITIMATE and row.outcome == "stale"]
        outside = _outside(record, stale, [one for one in record.engagements if one.safeguard in names])
        if outside:
            why = f"{sum(row.count for row in outside)} stale answers while no dependency was said to be late"
            return if_looked(
                record, EVENTS, finding(self, Verdict.FAIL, why, *cite_rows(outside), code="stale_outside")
            )
        aimed, users = self._aimed(record), [row for row in record.requests if row.user == LEGITIMATE]
        if not aimed:
            why = f"no fault that leads to {self.playbook} was injected"
            return finding(self, Verdict.INCONCLUSIVE, why, record.looked("timeline"), code="not_injected")
        cited = []
        for (name, subject), since_s in aimed.items():
            mine = [
                one
                for one in record.engagements
                if (one.safeguard, one.subject) == (name, subject) and one.engaged.at_s >= since_s
            ]
            if not mine:
                why = f"{name} never engaged for {subject}, nothing was stale"
                red = finding(self, Verdict.FAIL, why, record.looked("timeline"), code="not_engaged")
                return if_looked(record, EVENTS, red)
            cited += [one.engaged for one in mine]
            if len(_outside(record, users, mine)) == len(users):
                why = f"no client had any answer while {subject} was late"
                return finding(self, Verdict.INCONCLUSIVE, why, *cited, code="no_answers")
            if len(_outside(record, stale, mine)) == len(stale):
                why = f"no client was answered from what is stored while {subject} was late"
                return finding(self, Verdict.FAIL, why, *cited, code="never_stale")
        traffic = Traffic.of(stale)
        why = f"{traffic.count} stale answers, p95 {traffic.percentile(95):.0f} ms, all while it was engaged"
        return finding(self, Verdict.PASS, why, *cited, *cite_rows((stale[0], stale[-1])))

    def _aimed(self, record: Record) -> dict[tuple[str, str], float]:
        """(safeguard, what it names) → when the first fault was injected that it is to see so."""
        found: dict[tuple[str, str], float] = {}
        for fault in record.faults:
            for name, playbook in record.plan.coverage.get(fault.step.step_id, ()):
                if playbook == self.playbook and fault.injected:
                    key = name, record.plan.subject_of(fault.step, name)
                    found[key] = min(found.get(key, fault.injected.at_s), fault.injected.at_s)
        return found


def _outside(record: Record, rows: Sequence[RequestRow], engagements: Sequence[Engagement]) -> list[RequestRow]:
    spans = [
        (one.engaged.at_s - BIN_S, (one.released.at_s if one.released else record.end_s) + SLACK_S)
        for one in engagements
    ]
    return [row for row in rows if not any(start_s <= row.at_s <= end_s for start_s, end_s in spans)]


CHECK = AnsweredStale
