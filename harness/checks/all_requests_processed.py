"""Every request of the attacks got its final answer, and every one that was planned was sent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from harness.checks import finding, put_off
from harness.checks.invalid_rejected import DUPLICATE
from harness.ledger import NO_LEDGER, Wrongs, span
from harness.model import Finding, Setup, Verdict
from harness.record import Record

NO_ROWS = "what it sends changes nothing that a ledger holds, so it cannot be judged here"


@dataclass(frozen=True, kw_only=True)
class AllRequestsProcessed:
    """Refused to the end, or never answered, is not processed; rejected is."""

    claim: str
    deferring: Sequence[str] = ()  # the playbooks that defer work
    sources: ClassVar[tuple[str, ...]] = (
        "ledger.jsonl",
        "timeline: playbook_finished, playbook_started, safeguard_engaged, safeguard_released",
    )

    def never(self, setup: Setup) -> str:
        """Return why no run can pass, "" when one can."""
        if any(step.asked.unit == "requests" for step in setup.steps):
            return ""
        return f"no fault sends requests: {setup.types}"

    def check(self, record: Record) -> Finding:
        if record.ledger is None:
            return finding(self, Verdict.INCONCLUSIVE, NO_LEDGER, record.looked("ledger.jsonl"), code="no_ledger")
        sent = [row for row in record.ledger if row.attack]
        wrong = Wrongs()
        excused = record.deferred_by_others(sent, self.deferring)
        lines = {row.line for row, _ in excused}
        refused = [
            (f"{row.id}: {row.status or 'not sent'}", row)
            for row in sent
            if row.outcome == "refused" and row.line not in lines
        ]
        wrong.add("requests were refused to the end", refused, code="refused")
        silent = [(row.id, row) for row in sent if row.outcome == "unanswered"]
        wrong.add("requests were never answered", silent, code="unanswered")
        if wrong:
            return finding(self, Verdict.FAIL, str(wrong), *wrong.cited, code=wrong.codes)
        if excused:
            return put_off(self, excused)
        steps = [step for step in record.plan.steps if step.asked.unit == "requests"]
        planned = round(sum(step.asked.value for step in steps))
        if not planned or len(sent) != planned:
            why = f"the ledger has {len(sent)} requests of the attacks, and {planned} were planned"
            unheard = [one.step_id for one in steps if not any(f"{one.step_id}-" in row.id for row in sent)]
            if sent and unheard:
                why += f"; none of them is of {', '.join(unheard)}: {NO_ROWS}"
            return finding(
                self, Verdict.INCONCLUSIVE, why, *span(sent), record.looked("ledger.jsonl"), code="count_differs"
            )
        once = [row.id for row in sent if row.flaw != DUPLICATE]
        if len(set(once)) < len(once):
            why = f"the ledger has {len(once) - len(set(once))} requests more than once, so others may be missing"
            return finding(self, Verdict.INCONCLUSIVE, why, *span(sent), code="sent_twice")
        most = max(sent, key=lambda row: row.attempts)
        attempts = sum(row.attempts for row in sent)
        why = f"all {planned} requests have their final answer, after {attempts} attempts, {most.attempts} at most"
        return finding(self, Verdict.PASS, why, *span(sent), most.place)


CHECK = AllRequestsProcessed
