"""The target's knowledge is whole: each piece there once, none gone from between, and trusted as its parts allow.

How far a piece can be trusted is computed here anew, but for what only the target knows: its source's reliability and
how fresh it was when it was read.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from math import isnan
from typing import Any, ClassVar

from harness.checks import finding
from harness.ledger import HeldRow, Wrongs, not_read, span
from harness.model import Finding, Verdict
from harness.record import Record

KNOWLEDGE = "knowledge"
PARTS = ("category", "content", "source", "tags")
COMPLETENESS, SOURCE, USAGE, FRESHNESS, CONSISTENCY = 0.30, 0.25, 0.20, 0.15, 0.10
USED_ENOUGH = 10
ROUNDED = 0.001


@dataclass(frozen=True, kw_only=True)
class KnowledgeWhole:
    """`number` counts what was ever added; `trust` may be absent, while nobody can say it."""

    claim: str
    sources: ClassVar[tuple[str, ...]] = ("target/knowledge.jsonl",)

    def check(self, record: Record) -> Finding:
        held = record.held(KNOWLEDGE)
        if held is None:
            why = not_read(KNOWLEDGE)
            return finding(self, Verdict.INCONCLUSIVE, why, record.looked("target/knowledge.jsonl"), code="not_read")
        if not held:
            why = "the target knows nothing, so nothing of it can be wrong"
            return finding(
                self, Verdict.INCONCLUSIVE, why, record.looked("target/knowledge.jsonl"), code="nothing_known"
            )
        unnumbered = [row.place for row in held if isnan(_number(row, "number"))]
        if unnumbered:
            why = "not each piece has a number, so none is missed"
            return finding(self, Verdict.INCONCLUSIVE, why, *unnumbered[:1], code="not_numbered")
        wrong = Wrongs()
        firsts: dict[str, HeldRow] = {}
        for row in held:
            firsts.setdefault(row.text("id"), row)
        twice = [(row.text("id"), row) for row in held if firsts[row.text("id")] is not row]
        wrong.add("pieces are there twice", twice, code="held_twice")
        bare = [(row.text("id"), row) for row in held if not row.text("id") or not row.text("content")]
        wrong.add("pieces have no id or no content", bare, code="incomplete")
        gaps = [
            (f"between {before.text('number')} and {row.text('number')}", row)
            for before, row in pairwise(held)
            if _number(row, "number") != _number(before, "number") + 1
        ]
        wrong.add("times a piece is gone", gaps, code="gap")
        odd = [(f"{row.text('id')}: {why}", row) for row in held if (why := _mistrusted(row))]
        wrong.add("pieces are trusted as their parts do not allow", odd, code="trust_wrong")
        if wrong:
            return finding(self, Verdict.FAIL, str(wrong), *wrong.cited, code=wrong.codes)
        scored = sum(row.fields.get("trust") is not None for row in held)
        why = (
            f"{len(held)} pieces of knowledge, each once, none gone from between, {scored} trusted as their parts allow"
        )
        return finding(self, Verdict.PASS, why, *span(held))


def _number(row: HeldRow, name: str) -> float:
    value: Any = row.fields.get(name)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else float("nan")


def _mistrusted(row: HeldRow) -> str:
    """Why a piece's trust cannot be; "" when it can."""
    if row.fields.get("trust") is None:
        return ""
    trust, used, confidence = (_number(row, name) for name in ("trust", "used", "confidence"))
    complete = sum(bool(row.fields.get(name)) for name in PARTS) / len(PARTS)
    least, most = 0.0, 1.0
    if not isnan(used + confidence):
        least = COMPLETENESS * complete + USAGE * min(1.0, used / USED_ENOUGH) + CONSISTENCY * confidence
        most = least + SOURCE + FRESHNESS
    return "" if least - ROUNDED <= trust <= most + ROUNDED else f"{trust:g}, from {least:.2f} to {most:.2f} it may be"


CHECK = KnowledgeWhole
