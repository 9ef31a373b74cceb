"""What could not be put on record was refused, with a time to come again: while the log took nothing, and only then."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from harness.checks import EVENTS, finding, if_looked
from harness.ledger import NO_LEDGER, LedgerRow, Wrongs, span
from harness.model import Finding, Verdict
from harness.record import Engagement, Record

BEFORE_S = 1.0  # who finds no room himself is refused before the safeguard has looked
CLIENT_WAITS_S = 5.0  # at the most; whose time is up sooner had asked before the playbook took hold
SLACK_S = 1.0  # an answer under way when the playbook took hold, or was undone
Span = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class RefusedUnrecorded:
    """By what the clients were told. A decision is what must be on record; an intent leads to some.

    That what was answered is on record, each once, is audit_complete's to say.
    """

    observers: ClassVar[tuple[str, ...]] = (EVENTS,)

    claim: str
    playbook: str
    sources: ClassVar[tuple[str, ...]] = (
        "ledger.jsonl",
        "timeline: fault_injected, playbook_finished, playbook_started, run_started, safeguard_engaged",
        "timeline: safeguard_released, signal_back, signal_lost",
    )

    def check(self, record: Record) -> Finding:
        if record.ledger is None:
            return finding(self, Verdict.INCONCLUSIVE, NO_LEDGER, record.looked("ledger.jsonl"), code="no_ledger")
        start_s, end_s = record.first_injection_s, record.end_s
        if start_s is None:
            why = "no fault was injected"
            return finding(self, Verdict.INCONCLUSIVE, why, record.looked("timeline"), code="not_injected")
        names = {name for rows in record.plan.coverage.values() for name, playbook in rows if playbook == self.playbook}
        mine = [one for one in record.engagements if one.safeguard in names]
        cited = [one.engaged for one in mine if one.engaged.at_s >= start_s]
        if not cited:
            why = f"{', '.join(sorted(names))} never engaged, nothing was refused"
            return if_looked(
                record, EVENTS, finding(self, Verdict.FAIL, why, record.looked("timeline"), code="not_engaged")
            )
        decisions = [row for row in record.ledger if row.kind == "decision"]
        refused = [row for row in decisions if row.outcome == "refused" and row.status == 503]
        spans = [
            (one.engaged.at_s - BEFORE_S, (one.released.at_s if one.released else end_s) + SLACK_S) for one in mine
        ]
        wrong = Wrongs()
        outside = [row for row in refused if not _within(row, spans)]
        wrong.add("decisions were refused while the log could be written", _named(outside), code="refused_outside")
        curt = [row for row in decisions if row.outcome == "unanswered" and row.status >= 500 and row.at_s >= start_s]
        wrong.add(
            "decisions ended in an error that does not say when to come again", _named(curt), code="error_without_time"
        )
        held = [self._held(one, record) for one in mine]
        later = [(start_s + CLIENT_WAITS_S, end_s) for start_s, end_s in held]
        mute = [row for row in decisions if row.outcome == "unanswered" and not row.status and _within(row, later)]
        wrong.add("decisions got no answer at all while nothing could be recorded", _named(mute), code="no_answer")
        kinds = ("decision", "intent")
        done = [r for r in record.ledger if r.kind in kinds and r.outcome == "accepted" and _within(r, held)]
        wrong.add("requests were taken although nothing could be recorded", _named(done), code="taken_unrecorded")
        if wrong:
            return if_looked(
                record, EVENTS, finding(self, Verdict.FAIL, str(wrong), *cited, *wrong.cited, code=wrong.codes)
            )
        if not any(_within(row, spans) for row in decisions):
            why = "nobody asked for a decision while it was engaged"
            return finding(self, Verdict.INCONCLUSIVE, why, *cited, code="nothing_asked")
        inside = [row for row in refused if _within(row, spans) and row.at_s >= start_s]
        if not inside:
            why = "no client was refused while it was engaged"
            return finding(self, Verdict.FAIL, why, *cited, code="nothing_refused")
        why = f"{len(inside)} of {len(decisions)} decisions were refused with a time to come again, all while the log"
        return finding(self, Verdict.PASS, f"{why} could not be written", *cited, *span(inside))

    def _held(self, one: Engagement, record: Record) -> Span:
        """From when on nothing may be taken any more until it is released; an empty span when that never was."""
        runs = [run for run in record.playbook_runs if run.playbook == self.playbook and run.succeeded]
        ends = [run.finished.at_s for run in runs if run.finished and record.engagement_of(run) is one]
        until_s = one.released.at_s if one.released else record.end_s
        return (min(ends) + SLACK_S, until_s - SLACK_S) if ends else (until_s, 0.0)


def _within(row: LedgerRow, spans: Sequence[Span]) -> bool:
    return any(start_s <= row.at_s <= end_s for start_s, end_s in spans)


def _named(rows: Sequence[LedgerRow]) -> list[tuple[str, LedgerRow]]:
    return [(f"{row.id}: {row.status}", row) for row in rows]


CHECK = RefusedUnrecorded
