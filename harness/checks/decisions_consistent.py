"""Equal questions to governance got equal answers, also those that were asked at the same time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from harness.checks import finding, unkept
from harness.ledger import FEW, NO_LEDGER, LedgerRow, Wrongs, span
from harness.model import Finding, Verdict
from harness.record import Record


@dataclass(frozen=True, kw_only=True)
class DecisionsConsistent:
    claim: str
    sources: ClassVar[tuple[str, ...]] = ("ledger.jsonl",)

    def check(self, record: Record) -> Finding:
        if record.ledger is None:
            return finding(self, Verdict.INCONCLUSIVE, NO_LEDGER, record.looked("ledger.jsonl"), code="no_ledger")
        decided = [row for row in record.ledger if row.kind == "decision" and row.outcome == "accepted"]
        silent = [(row.id, row) for row in decided if not row.answer]
        by_question: dict[str, list[LedgerRow]] = {}
        for row in decided:
            by_question.setdefault(row.question, []).append(row)
        differ = {question: first for question, rows in by_question.items() if len(first := _answers(rows)) > 1}
        if differ:
            few = [f"{question!r}: {', '.join(sorted(first))}" for question, first in differ.items()][:FEW]
            why = f"{len(differ)} of {len(by_question)} questions got more than one answer: {'; '.join(few)}"
            return finding(self, Verdict.FAIL, why, *_cited(differ), code="answers_differ")
        if silent:
            wrong = Wrongs()
            wrong.add("decisions came without an answer that could be compared", silent, code="no_answer")
            return finding(self, Verdict.INCONCLUSIVE, str(wrong), *wrong.cited, code="no_answer")
        again = {question: rows for question, rows in by_question.items() if len(rows) > 1}
        if not again:
            why = f"no question was asked twice, of {len(by_question)}"
            return finding(self, Verdict.INCONCLUSIVE, why, record.looked("ledger.jsonl"), code="nothing_asked_twice")
        asked = [row for row in record.ledger if row.attack and row.kind == "decision"]
        stormed = {question: rows for question, rows in again.items() if sum(row.attack for row in rows) > 1}
        if asked and not stormed:  # the users' own questions say nothing of those that were asked all at once
            had = sum(row.outcome == "accepted" for row in asked)
            why = "no question of the attacks was answered twice: "
            why += f"{had} of the {len(asked)} that they asked had an answer"
            return finding(self, Verdict.INCONCLUSIVE, why, *span(asked), code="attack_unanswered")
        if lacks := unkept(record):
            return finding(self, Verdict.INCONCLUSIVE, lacks, record.looked("ledger.jsonl"), code="no_attack_rows")
        count = sum(map(len, again.values()))
        most = max(again.values(), key=len)
        why = (
            f"{count} answers to {len(again)} questions that were asked more than once, the same ones {len(most)} times"
        )
        return finding(self, Verdict.PASS, why, *span(most))


def _answers(rows: list[LedgerRow]) -> dict[str, LedgerRow]:
    """Each answer, and the first who got it."""
    found: dict[str, LedgerRow] = {}
    for row in rows:
        if row.answer:
            found.setdefault(row.answer, row)
    return found


def _cited(differ: dict[str, dict[str, LedgerRow]]) -> list[str]:
    return [row.place for first in list(differ.values())[:FEW] for row in first.values()]


CHECK = DecisionsConsistent
