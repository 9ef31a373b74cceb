"""Completed work was executed: its result can only be computed from the request, over a nonce that the client chose."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from harness.checks import finding
from harness.ledger import COMPLETED, HELD_IN, NO_LEDGER, HeldRow, LedgerRow, Wrongs, not_read, span
from harness.model import Finding, Invariant, Verdict
from harness.record import Record

PROVEN = ("intent", "retrospective")
KEYS = {kind: f"ledgers.{HELD_IN[kind][0]}.proof" for kind in PROVEN}
Pair = tuple[LedgerRow, HeldRow]


@dataclass(frozen=True, kw_only=True)
class ExecutionProven:
    claim: str

    invariant: ClassVar[Invariant] = Invariant(
        order=2,
        claim="completed work was executed: its result proves it",
        sources=tuple(KEYS.values()),
    )
    sources: ClassVar[tuple[str, ...]] = (
        "ledger.jsonl",
        "target/intents.jsonl",
        "target/retrospectives.jsonl",
    )

    def check(self, record: Record) -> Finding:
        if record.ledger is None:
            return finding(self, Verdict.INCONCLUSIVE, NO_LEDGER, "plan.json:1", code="no_ledger")
        kinds = [kind for kind in PROVEN if KEYS[kind] in record.plan.offers]
        lacking = tuple(KEYS[kind] for kind in PROVEN if kind not in kinds)
        accepted = {kind: _accepted(record, kind) for kind in kinds}
        pairs = {kind: _completed(record, kind, accepted[kind]) for kind in kinds}
        wrong = Wrongs()
        for kind in kinds:
            _judge(kind, pairs[kind], wrong)
        if wrong:
            return finding(self, Verdict.FAIL, str(wrong), *wrong.cited, code=wrong.codes, missing=lacking)
        cited = span([row for rows in accepted.values() for row in rows]) or ("ledger.jsonl:1",)
        code, why = self._open(record, accepted, pairs)
        if code:
            return self._left_open(code, why, *cited, lacking=lacking)
        counts = ", ".join(f"{len(found)} {HELD_IN[kind][0]}" for kind, found in pairs.items() if found)
        held = [place for found in pairs.values() for place in span([row for _, row in found])]
        why = f"each result is the one that only an execution gives: {counts}"
        return finding(self, Verdict.PASS, why, *cited, *held, missing=lacking)

    def _left_open(self, code: str, why: str, *evidence: Any, lacking: tuple[str, ...]) -> Finding:
        return finding(self, Verdict.INCONCLUSIVE, why, *evidence, code=code, missing=lacking)

    @staticmethod
    def _open(record: Record, accepted: dict[str, list[LedgerRow]], pairs: dict[str, list[Pair]]) -> tuple[str, str]:
        """(code, reason) of what keeps this from being judged; ("", "") for nothing."""
        for kind in accepted:
            if record.held(HELD_IN[kind][0]) is None:
                return "not_read", not_read(HELD_IN[kind][0])
        if not any(accepted.values()):
            return "no_work", "no work was accepted whose result could prove its execution"
        for kind, found in pairs.items():
            name = HELD_IN[kind][0]
            if accepted[kind] and not found:
                return "no_work", f"none of {len(accepted[kind])} accepted {name} was completed"
            if 2 * len(found) < len(accepted[kind]):
                return "few_completed", f"only {len(found)} of {len(accepted[kind])} accepted {name} were completed"
            if any(not row.proof for row, _ in found):
                return "not_told", f"the clients' ledger lacks the results that prove their {name}"
        return "", ""


def _accepted(record: Record, kind: str) -> list[LedgerRow]:
    return [row for row in record.ledger or () if row.kind == kind and row.valid and row.outcome == "accepted"]


def _completed(record: Record, kind: str, accepted: list[LedgerRow]) -> list[Pair]:
    name, field = HELD_IN[kind]
    by_id = {row.text(field): row for row in record.held(name) or () if row.text("status") == COMPLETED}
    return [(row, by_id[row.id]) for row in accepted if row.id in by_id]


def _judge(kind: str, pairs: list[Pair], wrong: Wrongs) -> None:
    name = HELD_IN[kind][0]
    proven = [(row, held, held.text("result")) for row, held in pairs if row.proof]
    none = [(row, held) for row, held, result in proven if not result]
    words = f"{name} are called completed and have no result"
    wrong.note("no_result", words, [(row.id, row) for row, _ in none], [held for _, held in none])
    other = [(row, held) for row, held, result in proven if result and result != row.proof]
    words = f"{name} have a result that an execution does not give"
    wrong.note("wrong_result", words, [(row.id, row) for row, _ in other], [held for _, held in other])


CHECK = ExecutionProven
