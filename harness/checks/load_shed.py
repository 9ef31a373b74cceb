"""Clients saw work deferred while the safeguard was engaged, never before, and not after its release."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from harness.checks import EVENTS, finding, if_looked
from harness.ledger import LEGITIMATE, LedgerRow, span
from harness.model import Event, Finding, Verdict
from harness.record import Engagement, Record, cite_rows
from harness.traffic import BIN_S

Span = tuple[float, float]
SLACK_S = 1.0  # an answer under way when the safeguard was released
ALONE_S = 3.0  # of its own time, before what the clients see in it counts alone


@dataclass(frozen=True, kw_only=True)
class LoadShed:
    observers: ClassVar[tuple[str, ...]] = (EVENTS,)

    claim: str
    playbook: str
    deferring: Sequence[str] = ()  # all the playbooks that defer work, whatever they do it for
    sources: ClassVar[tuple[str, ...]] = (
        "ledger.jsonl",
        "requests.csv",
        "timeline: fault_injected, playbook_finished, playbook_started, run_started, safeguard_engaged",
        "timeline: safeguard_released, signal_back, signal_lost",
    )

    def check(self, record: Record) -> Finding:
        """An answer is deferred for a resource only while its own safeguard is engaged for it; two that are engaged
        together are told apart by what the target gives its clients as the reason, or by the time of this one alone.
        """
        steps = [s for s, rows in record.plan.coverage.items() if any(p == self.playbook for _, p in rows)]
        rows = [(step, *row) for step in steps for row in record.plan.coverage[step]]
        pairs = [(step, name) for step, name, playbook in rows if playbook == self.playbook]
        subjects = {record.plan.subject_of(record.fault(step).step, name) for step, name in pairs}
        names = {name for _, name in pairs}
        begun = [fault.injected.at_s for fault in map(record.fault, steps) if fault.injected]
        since_s = min(begun, default=float("inf"))  # one that was engaged before its fault is not for it
        engaged = [one for one in record.engagements if one.safeguard in names and one.engaged.at_s >= since_s]
        mine = [one for one in engaged if one.subject in subjects]
        spans = [_span(one, record) for one in mine]
        theirs = [one for one in record.engagements if one not in mine]
        others = [_span(one, record) for one in theirs if one.safeguard in names or record.defers(one, self.deferring)]
        deferred = [row for row in record.requests if row.outcome == "shed" and row.user == LEGITIMATE]
        outside = [row for row in deferred if not _within(row.at_s, [*spans, *others])]
        if outside:
            why = f"{sum(row.count for row in outside)} deferred while no safeguard was engaged"
            return if_looked(
                record, EVENTS, finding(self, Verdict.FAIL, why, *cite_rows(outside), code="deferred_outside")
            )
        if not spans:
            why = f"{', '.join(sorted(names))} never engaged for {', '.join(sorted(subjects))}, nothing was deferred"
            return if_looked(
                record, EVENTS, finding(self, Verdict.FAIL, why, record.looked("timeline"), code="not_engaged")
            )
        cited = [one.engaged for one in mine]
        told = _reasons(record)
        if told:
            early = [_span(one, record) for one in theirs if one.safeguard in names and one.subject in subjects]
            return self._by_reason(told, subjects, spans, early, cited)
        alone = [row for row in deferred if _within(row.at_s, spans) and not _within(row.at_s, others)]
        if alone:
            why = f"{sum(row.count for row in alone)} deferred, all while it was engaged"
            return finding(self, Verdict.PASS, why, *cited, *cite_rows((alone[0], alone[-1])))
        if not any(row.user == LEGITIMATE and _within(row.at_s, spans) for row in record.requests):
            why = "no client had any answer while it was engaged"
            return finding(self, Verdict.INCONCLUSIVE, why, *cited, code="no_answers")
        shared = [row for row in deferred if _within(row.at_s, spans)]
        if not shared or (alone_s := _alone_s(spans, others)) >= ALONE_S:
            why = "no client saw anything deferred for it"
            return finding(self, Verdict.FAIL, why, *cited, code="nothing_deferred")
        why = f"what was deferred may be for another reason: it was engaged alone for {alone_s:.1f} s"
        why = f"{why}, at least {ALONE_S:g} s"
        return finding(self, Verdict.INCONCLUSIVE, why, *cited, *cite_rows(shared), code="reason_unclear")

    def _by_reason(
        self,
        told: Sequence[LedgerRow],
        subjects: set[str],
        spans: Sequence[Span],
        early: Sequence[Span],
        cited: Sequence[Event],
    ) -> Finding:
        """By what the target itself gave its clients as the reason: the best witness beside other pressures.

        What was deferred while it was engaged *early*, before its fault, shows nothing of that, and is no failing.
        """
        told = [row for row in told if _within(row.at_s, spans) or not _within(row.at_s, early)]
        mine = [row for row in told if subjects & set(row.deferred_for.split(","))]
        outside = [row for row in mine if not _within(row.at_s, spans)]
        if outside:
            why = f"{len(outside)} deferred for it while it was not engaged"
            return finding(self, Verdict.FAIL, why, *span(outside), code="deferred_outside")
        if not mine:
            why = f"no client saw anything deferred for it: {len(told)} were told of other reasons"
            return finding(self, Verdict.FAIL, why, *cited, *span(told), code="nothing_deferred")
        why = f"{len(mine)} deferred for it by the target's own word, all while it was engaged"
        return finding(self, Verdict.PASS, why, *cited, *span(mine))


def _reasons(record: Record) -> list[LedgerRow]:
    """What legitimate users were told of reasons; [] of a target whose reasons are no subjects of its safeguards."""
    rows = [row for row in record.ledger or () if row.deferred_for and not row.attack]
    known = {one.subject for one in record.engagements}
    return rows if all(set(row.deferred_for.split(",")) <= known for row in rows) else []


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
