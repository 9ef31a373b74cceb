"""Every retrospective that the target took is in what it holds, once, and completed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from harness.checks import finding, unkept
from harness.ledger import COMPLETED, HELD_IN, NO_LEDGER, HeldRow, Wrongs, not_read, span
from harness.model import Finding, Verdict
from harness.record import Record

KIND = "retrospective"


@dataclass(frozen=True, kw_only=True)
class RetrosCompleted:
    claim: str
    sources: ClassVar[tuple[str, ...]] = (
        "ledger.jsonl",
        "target/retrospectives.jsonl",
    )

    def check(self, record: Record) -> Finding:
        name, field = HELD_IN[KIND]
        held = record.held(name)
        if record.ledger is None:
            return finding(self, Verdict.INCONCLUSIVE, NO_LEDGER, record.looked("ledger.jsonl"), code="no_ledger")
        if held is None:
            why = not_read(name)
            return finding(self, Verdict.INCONCLUSIVE, why, record.looked(f"target/{name}.jsonl"), code="not_read")
        sent = [row for row in record.ledger if row.kind == KIND]
        accepted = [row for row in sent if row.outcome == "accepted"]
        by_id: dict[str, list[HeldRow]] = {}
        for row in held:
            by_id.setdefault(row.text(field), []).append(row)
        wrong = Wrongs()
        wrong.add("accepted ones are lost", [(row.id, row) for row in accepted if row.id not in by_id], code="lost")
        found = [by_id[row.id] for row in accepted if row.id in by_id]
        undone = [
            (f"{rows[0].text(field)}: {rows[0].text('status')}", rows[0])
            for rows in found
            if rows[0].text("status") != COMPLETED
        ]
        wrong.add("accepted ones are not completed", undone, code="not_completed")
        wrong.add(
            "are held twice", [(rows[1].text(field), rows[1]) for rows in found if len(rows) > 1], code="held_twice"
        )
        given_up = [(row.id, row) for row in sent if row.attack and row.outcome in ("refused", "rejected")]
        wrong.add("were never accepted", given_up, code="never_accepted")
        done = {one for one, rows in by_id.items() if rows[0].text("status") == COMPLETED}
        silent = [(row.id, row) for row in sent if row.attack and row.outcome == "unanswered" and row.id not in done]
        wrong.add("were never answered, and are not completed", silent, code="unanswered")
        if wrong:
            return finding(self, Verdict.FAIL, str(wrong), *wrong.cited, code=wrong.codes)
        if not accepted:
            why = "no retrospective was accepted"
            return finding(self, Verdict.INCONCLUSIVE, why, record.looked("ledger.jsonl"), code="nothing_accepted")
        if lacks := unkept(record):
            return finding(self, Verdict.INCONCLUSIVE, lacks, record.looked("ledger.jsonl"), code="no_attack_rows")
        why = f"all {len(accepted)} retrospectives that were accepted are completed"
        return finding(self, Verdict.PASS, why, *span(accepted), *span([rows[0] for rows in found]))


CHECK = RetrosCompleted
