"""Each decision and each rejection stands once in the target's audit log, as the client was told; its chain is whole.

The hashes are computed here anew: the target's own word that its log is whole is not asked for.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from harness.checks import finding, unkept
from harness.ledger import AUDIT, NO_LEDGER, REFERENCE, REJECTIONS, HeldRow, LedgerRow, Wrongs, not_read, span
from harness.ledger_start import last_before
from harness.model import Finding, Verdict
from harness.record import Record

GENESIS = "0" * 64
PARTS = ("actor", "action", "resource", "payload", "result")
REJECTED = "rejected"


@dataclass(frozen=True, kw_only=True)
class AuditComplete:
    claim: str
    sources: ClassVar[tuple[str, ...]] = (
        "ledger.jsonl",
        "target/audit.jsonl",
        "timeline: every row",
    )

    def check(self, record: Record) -> Finding:
        held = record.held(AUDIT)
        if record.ledger is None:
            return finding(self, Verdict.INCONCLUSIVE, NO_LEDGER, record.looked("ledger.jsonl"), code="no_ledger")
        if held is None:
            why = not_read(AUDIT)
            return finding(self, Verdict.INCONCLUSIVE, why, record.looked("target/audit.jsonl"), code="not_read")
        decided = [row for row in record.ledger if row.kind == "decision" and row.outcome == "accepted"]
        rejected = [
            row
            for row in record.ledger
            if row.kind == "intent" and row.outcome == "rejected" and row.status in REJECTIONS
        ]
        wrong = chain_problem(held, last_before(record.events, AUDIT))
        _entries(decided, rejected, held, wrong)
        if wrong:
            return finding(self, Verdict.FAIL, str(wrong), *wrong.cited, code=wrong.codes)
        if not decided and not rejected:
            why = "nothing was decided or rejected that had to be recorded"
            return finding(self, Verdict.INCONCLUSIVE, why, record.looked("ledger.jsonl"), code="nothing_to_record")
        if lacks := unkept(record):
            return finding(self, Verdict.INCONCLUSIVE, lacks, record.looked("ledger.jsonl"), code="no_attack_rows")
        why = f"{len(decided)} decisions and {len(rejected)} rejections, each once in a chain of {len(held)} entries"
        return finding(self, Verdict.PASS, why, *span([*decided, *rejected]), *span(held))


def entry_hash(row: HeldRow, previous: str) -> str:
    text = ":".join((row.text("sequence"), *(row.text(part) for part in PARTS), previous))
    return hashlib.sha256(text.encode()).hexdigest()


def chain_problem(held: Sequence[HeldRow], before: Mapping[str, Any] | None = None) -> Wrongs:
    """The first row that does not follow from the one before it; those behind it prove nothing more.

    *before* is the last entry that was there when the run began; without it the chain begins with the first of all.
    """
    wrong = Wrongs()
    known, previous = (int(before["sequence"]), str(before["entry_hash"])) if before else (0, GENESIS)
    for number, row in enumerate(held, known + 1):
        sequence = row.fields.get("sequence")
        here = [(str(sequence), row)]
        if sequence != number:
            wrong.add(f"entry has another number than {number}, which is missing", here, code="entry_missing")
        elif row.text("previous_hash") != previous:
            wrong.add("entry does not carry the hash of the one before it", here, code="chain_broken")
        elif row.text("entry_hash") != entry_hash(row, previous):
            wrong.add("entry is not what its hash was made of", here, code="entry_changed")
        if wrong:
            break
        previous = row.text("entry_hash")
    return wrong


def _entries(
    decided: Sequence[LedgerRow], rejected: Sequence[LedgerRow], held: Sequence[HeldRow], wrong: Wrongs
) -> None:
    entries: dict[str, list[HeldRow]] = {}
    for entry in held:
        entries.setdefault(entry.text(REFERENCE), []).append(entry)
    for what, rows in (("decisions", decided), ("rejections", rejected)):
        nameless = [(row.id, row) for row in rows if not row.reference]
        wrong.add(f"{what} came without the reference of an entry", nameless, code="no_reference")
        named = [row for row in rows if row.reference]
        missing = [(row.id, row) for row in named if row.reference not in entries]
        wrong.add(f"{what} have no entry", missing, code="no_entry")
        twice = [(row.id, entries[row.reference][1]) for row in named if len(entries.get(row.reference, ())) > 1]
        wrong.add(f"{what} have more than one entry", twice, code="entered_twice")
        shared = [row for row in named if row.reference in entries]
        others = [(_difference(row, entries[row.reference][0]), row) for row in shared]
        wrong.add(f"{what} stand there otherwise", [(told, row) for told, row in others if told], code="entry_differs")
    owners: dict[str, list[LedgerRow]] = {}
    for row in (*decided, *rejected):
        owners.setdefault(row.reference, []).append(row)
    same = [(rows[1].id, rows[1]) for reference, rows in owners.items() if reference and len(rows) > 1]
    wrong.add("answers have the reference of another one", same, code="reference_shared")


def _difference(row: LedgerRow, entry: HeldRow) -> str:
    """What an entry says other than the client was told; "" when it is the same."""
    if row.kind != "decision":
        result = entry.text("result")
        return "" if result == REJECTED else f"{row.id}: {REJECTED}, there {result}"
    question = "|".join(entry.text(part) for part in ("actor", "action", "resource"))
    if question != row.question:
        return f"{row.id}: {row.question}, there {question}"
    return "" if entry.text("result") == row.answer else f"{row.id}: {row.answer}, there {entry.text('result')}"


CHECK = AuditComplete
