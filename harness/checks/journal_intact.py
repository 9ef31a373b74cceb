"""The run folder is what was written: the timeline's hash chain is whole, and no row of the other files is torn."""

from __future__ import annotations

from dataclasses import dataclass

from harness.checks import finding
from harness.journal import file_hashes
from harness.model import Finding, Verdict
from harness.record import Record

SHOWN = 3  # of the rows that could not be read


@dataclass(frozen=True, kw_only=True)
class JournalIntact:
    claim: str

    def check(self, record: Record) -> Finding:
        if record.chain_problem:
            return finding(self, Verdict.INCONCLUSIVE, record.chain_problem, "timeline.jsonl:1", code="chain_broken")
        if record.torn:
            file, line = record.torn[0].split(":")[:2]
            more = f"; and {len(record.torn) - SHOWN} more" if len(record.torn) > SHOWN else ""
            why = "; ".join(record.torn[:SHOWN]) + more
            return finding(
                self, Verdict.INCONCLUSIVE, why, f"{file}:{line}" if line.isdigit() else "timeline.jsonl:1", code="torn"
            )
        if record.finished is not None:
            told = record.finished.detail.get("sha256") or {}
            now = file_hashes(record.folder)
            changed = sorted(name for name in {*now, *told} if told.get(name) != now.get(name))
            if changed:
                why = f"not as the run left it: {', '.join(changed)}"
                return finding(self, Verdict.INCONCLUSIVE, why, record.finished, code="changed_after")
        ends = record.events[:1] + record.events[-1:]
        return finding(self, Verdict.PASS, f"{len(record.events)} rows, each with the hash of the one before it", *ends)


CHECK = JournalIntact
