"""Clients saw work deferred while the safeguard was engaged, never before, and not after its release."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.checks import finding
from harness.model import Finding, Verdict
from harness.record import Engagement, Record, cite_rows
from harness.traffic import BIN_S

SLACK_S = 1.0  # an answer under way when the safeguard was released
ALONE_S = 3.0  # of its own time, before what the clients see in it counts alone


@dataclass(frozen=True, kw_only=True)
class LoadShed:
    claim: str
    playbook: str
    deferring: Sequence[str] = ()  # all the playbooks that defer work, whatever they do it for

    def check(self, record: Record) -> Finding:
        """An answer is deferred for a resource only while its own safeguard is engaged for it; two that are engaged
        together cannot be told apart, so the time of this one alone counts where there is enough of it.
        """
        steps = [s for s, rows in record.plan.coverage.items() if any(p == self.playbook for _, p in rows)]
        rows = [(step, *row) for step in steps for row in record.plan.coverage[step]]
        pairs = [(step, name) for step, name, playbook in rows if playbook == self.playbook]
        subjects = {record.plan.subject_of(record.fault(step).step, name) for step, name in pairs}
        names = {name for _, name in pairs}
        mine = [one for one in record.engagements if one.safeguard in names and one.subject in subjects]
        spans = [_span(one, record) for one in mine]
        theirs = [one for one in record.engagements if one not in mine]
        others = [_span(one, record) for one in theirs if one.safeguard in names or self._defers(record, one)]
        deferred = [row for row in record.requests if row.outcome == "shed"]
        outside = [row for row in deferred if not _within(row.at_s, [*spans, *others])]
        if outside:
            why = f"{sum(row.count for row in outside)} deferred while no safeguard was engaged"
            return finding(self, Verdict.FAIL, why, *cite_rows(outside))
        if not spans:
            why = f"{', '.join(sorted(names))} never engaged for {', '.join(sorted(subjects))}, nothing was deferred"
            return finding(self, Verdict.FAIL, why)
        cited = [one.engaged for one in mine]
        alone = [row for row in deferred if _within(row.at_s, spans) and not _within(row.at_s, others)]
        shared = [row for row in deferred if _within(row.at_s, spans)]
        told = shared if _alone_s(spans, others) < ALONE_S else alone
        if not told:
            return finding(self, Verdict.FAIL, "no client saw anything deferred for it", *cited)
        why = f"{sum(row.count for row in told)} deferred, all while it was engaged"
        return finding(self, Verdict.PASS, why, *cited, *cite_rows((told[0], told[-1])))

    def _defers(self, record: Record, one: Engagement) -> bool:
        """Whether the target began a playbook for this incident that defers work, for another reason than ours."""
        incident = one.engaged.detail.get("incident_id")
        return any(
            run.playbook in self.deferring
            and (run.started.detail.get("incident_id") == incident if incident else run.subject == one.subject)
            for run in record.playbook_runs
        )


Span = tuple[float, float]


def _span(one: Engagement, record: Record) -> Span:
    return one.engaged.at_s - BIN_S, (one.released.at_s if one.released else record.end_s) + SLACK_S


def _within(at_s: float, spans: Sequence[Span]) -> bool:
    return any(start_s <= at_s <= end_s for start_s, end_s in spans)


def _alone_s(spans: Sequence[Span], others: Sequence[Span]) -> float:
    """How long *spans* last without any of *others*, in steps of a bin."""
    total_s = 0.0
    for start_s, end_s in spans:
        bins = int((end_s - start_s) / BIN_S)
        total_s += BIN_S * sum(not _within(start_s + n * BIN_S, others) for n in range(bins))
    return total_s


CHECK = LoadShed
