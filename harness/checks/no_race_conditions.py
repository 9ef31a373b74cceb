"""No two questions that were asked at the same time got into each other's way: each answer is of its own question."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from typing import ClassVar

from harness.checks import finding, unkept
from harness.ledger import AUDIT, HeldRow, LedgerRow
from harness.model import Finding, Verdict
from harness.record import Record

SHOWN = 3


@dataclass(frozen=True, kw_only=True)
class NoRaceConditions:
    """What a client was told (the answer, and which decision it is) against what the target has on record of it.

    A race shows as one decision told to two clients, as a record of another question, or of another answer. That
    a decision is lost is for audit_complete to say; here it leaves open whose it was.
    """

    claim: str
    sources: ClassVar[tuple[str, ...]] = (
        "ledger.jsonl",
        "target/audit.jsonl",
    )

    def check(self, record: Record) -> Finding:
        asked = [row for row in record.ledger or () if row.kind == "decision" and row.reference]
        audit = record.held(AUDIT)
        if not asked or audit is None:
            lacks = "no decision was asked for" if not asked else "the target's audit trail was not read"
            return finding(
                self,
                Verdict.INCONCLUSIVE,
                lacks,
                record.looked("ledger.jsonl"),
                record.looked("target/audit.jsonl"),
                code="nothing_asked" if not asked else "not_read",
            )
        told = Counter(row.reference for row in asked)
        twice = [row for row in asked if told[row.reference] > 1]
        if twice:
            why = f"{len(twice)} answers share a decision with another question: {_ids(twice)}"
            return finding(self, Verdict.FAIL, why, *(row.place for row in twice[:SHOWN]), code="decision_shared")
        on_record: dict[str, list[HeldRow]] = {}
        for entry in audit:
            on_record.setdefault(entry.text("reference"), []).append(entry)
        mixed = [row for row in asked if any(not _fits(row, held) for held in on_record.get(row.reference, ()))]
        if mixed:
            first = next(held for held in on_record[mixed[0].reference] if not _fits(mixed[0], held))
            told_as, held_as = (mixed[0].question, mixed[0].answer), (_question(first), first.text("result"))
            why = f"{len(mixed)} of {len(asked)} are on record as something else: "
            why += f"{' -> '.join(told_as)} as {' -> '.join(held_as)}"
            return finding(self, Verdict.FAIL, why, mixed[0].place, first.place, code="record_differs")
        seen = [row for row in asked if row.reference in on_record]
        if not seen:
            why = "none of the decisions is on record"
            return finding(self, Verdict.INCONCLUSIVE, why, asked[0].place, code="none_on_record")
        attacks = [row for row in record.ledger or () if row.attack and _decided(row)]
        unseen = [row for row in attacks if row.reference not in on_record]
        if unseen:
            why = f"{len(unseen)} of {len(attacks)} decisions of the attacks are not on record, so whose they are"
            why += f" is not known: {_ids(unseen)}"
            return finding(
                self, Verdict.INCONCLUSIVE, why, *(row.place for row in unseen[:SHOWN]), code="some_not_on_record"
            )
        if lacks := unkept(record):
            return finding(self, Verdict.INCONCLUSIVE, lacks, asked[0].place, code="no_attack_rows")
        why = f"{len(seen)} decisions, each told once and on record as what was asked and answered"
        return finding(self, Verdict.PASS, why, seen[0].place, on_record[seen[0].reference][0].place)


def _decided(row: LedgerRow) -> bool:
    return row.kind == "decision" and (row.outcome == "accepted" or bool(row.reference))


def _question(row: HeldRow) -> str:
    return "|".join(row.text(name) for name in ("actor", "action", "resource"))


def _fits(sent: LedgerRow, held: HeldRow) -> bool:
    return _question(held) == sent.question and held.text("result") == sent.answer


def _ids(rows: list[LedgerRow]) -> str:
    return json.dumps([row.id for row in rows[:SHOWN]])


CHECK = NoRaceConditions
