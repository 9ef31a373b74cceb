"""The timeline is what was written: its hash chain is whole."""

from __future__ import annotations

from dataclasses import dataclass

from harness.checks import finding
from harness.journal import file_hashes
from harness.model import Finding, Verdict
from harness.record import Record


@dataclass(frozen=True, kw_only=True)
class JournalIntact:
    claim: str

    def check(self, record: Record) -> Finding:
        if record.chain_problem:
            return finding(self, Verdict.INCONCLUSIVE, record.chain_problem, "timeline.jsonl:1")
        if record.finished is not None:
            told = record.finished.detail.get("sha256") or {}
            now = file_hashes(record.folder)
            changed = sorted(name for name in now if told.get(name) != now[name])
            if changed:
                why = f"not as the run left it: {', '.join(changed)}"
                return finding(self, Verdict.INCONCLUSIVE, why, record.finished)
        return finding(self, Verdict.PASS, f"{len(record.events)} rows, each with the hash of the one before it")


CHECK = JournalIntact
