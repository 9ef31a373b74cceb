"""Every invalid request was told that it is invalid, and nothing of it was done."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from harness.checks import finding, put_off
from harness.ledger import HELD_IN, NO_LEDGER, REJECTIONS, LedgerRow, Wrongs, not_read, span
from harness.model import Finding, Setup, Verdict
from harness.record import Record

DUPLICATE = "duplicate_id"  # its id is rightly held: by the request that had it first


@dataclass(frozen=True, kw_only=True)
class InvalidRejected:
    claim: str
    deferring: Sequence[str] = ()  # the playbooks that defer work
    sources: ClassVar[tuple[str, ...]] = (
        "ledger.jsonl",
        "target/intents.jsonl",
        "target/knowledge.jsonl",
        "target/retrospectives.jsonl",
        "timeline: playbook_finished, playbook_started, safeguard_engaged, safeguard_released",
    )

    def never(self, setup: Setup) -> str:
        """Return why no run can pass, "" when one can."""
        if any(step.params.get("invalid_ratio") or step.params.get("malformations") for step in setup.steps):
            return ""
        return "no fault sends anything invalid: an invalid_ratio above 0 is needed"

    def check(self, record: Record) -> Finding:
        if record.ledger is None:
            return finding(self, Verdict.INCONCLUSIVE, NO_LEDGER, record.looked("ledger.jsonl"), code="no_ledger")
        invalid = [row for row in record.ledger if not row.valid]
        sent = [row for row in invalid if row.attempts]
        wrong, unread = Wrongs(), ""
        excused = record.deferred_by_others(sent, self.deferring)
        lines = {row.line for row, _ in excused}
        _answers([row for row in sent if row.line not in lines], wrong)
        for kind, (name, field) in HELD_IN.items():
            own = {row.id for row in invalid if row.kind == kind and row.flaw != DUPLICATE}
            held = record.held(name)
            if held is not None:
                kept = [(row.text(field), row) for row in held if row.text(field) in own]
                wrong.add(f"invalid ones are among the target's {name}", kept, code="invalid_held")
            elif any(row.kind == kind for row in invalid):
                unread = not_read(name)
        if wrong:
            return finding(self, Verdict.FAIL, str(wrong), *wrong.cited, code=wrong.codes)
        if excused:
            return put_off(self, excused)
        if not sent:
            why = "no invalid request was sent"
            return finding(self, Verdict.INCONCLUSIVE, why, record.looked("ledger.jsonl"), code="nothing_sent")
        if unread:
            return finding(self, Verdict.INCONCLUSIVE, unread, record.looked("ledger.jsonl"), code="not_read")
        unsent = [row for row in invalid if not row.attempts]
        if unsent:
            why = f"{len(unsent)} of {len(invalid)} invalid requests were never sent"
            return finding(self, Verdict.INCONCLUSIVE, why, *span(unsent), code="not_sent")
        flaws = Counter(row.flaw for row in sent)
        told = ", ".join(f"{flaw} {count}" for flaw, count in sorted(flaws.items()))
        return finding(self, Verdict.PASS, f"all {len(sent)} invalid requests were rejected: {told}", *span(sent))


def _answers(sent: Sequence[LedgerRow], wrong: Wrongs) -> None:
    accepted = [(f"{row.id}: {row.flaw}", row) for row in sent if row.outcome == "accepted"]
    flaws = sorted({row.flaw for row in sent if row.outcome == "accepted"})
    wrong.add(f"invalid requests were accepted, with {', '.join(flaws)}", accepted, code="invalid_accepted")
    others = [
        (f"{row.id}: {row.status}", row) for row in sent if row.outcome == "rejected" and row.status not in REJECTIONS
    ]
    wrong.add("invalid requests were not told that they are", others, code="not_told_invalid")
    open_ones = [
        (f"{row.id}: {row.outcome}, {row.status}", row) for row in sent if row.outcome in ("refused", "unanswered")
    ]
    wrong.add("invalid requests never got a final answer", open_ones, code="no_final_answer")


CHECK = InvalidRejected
