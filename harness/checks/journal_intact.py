"""The timeline is what was written: its hash chain is whole."""

from __future__ import annotations

from dataclasses import dataclass

from harness.checks import finding
from harness.model import Finding, Verdict
from harness.record import Record


@dataclass(frozen=True, kw_only=True)
class JournalIntact:
    claim: str

    def check(self, record: Record) -> Finding:
        if record.chain_problem:
            return finding(self, Verdict.INCONCLUSIVE, record.chain_problem, "timeline.jsonl:1")
        return finding(self, Verdict.PASS, f"{len(record.events)} rows, each with the hash of the one before it")


CHECK = JournalIntact
