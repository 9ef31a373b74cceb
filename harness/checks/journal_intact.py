"""The run folder is as the run left it: the timeline's hash chain is whole, no row is torn, no file was altered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from harness.checks import finding
from harness.model import Finding, Verdict
from harness.record import Record

SHOWN = 3  # of the rows that could not be read
NAMED = 8  # of the files that are not as they were


@dataclass(frozen=True, kw_only=True)
class JournalIntact:
    claim: str
    sources: ClassVar[tuple[str, ...]] = (
        "the files of the run folder",
        "timeline.jsonl: hash chain",
        "timeline: every row, run_finished, run_sealed, run_started",
        "unreadable rows",
    )

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
        if record.altered:
            told = ", ".join(f"{name} ({how})" for name, how in list(record.altered.items())[:NAMED])
            more = f", and {len(record.altered) - NAMED} more" if len(record.altered) > NAMED else ""
            places = [record.looked(name) for name in list(record.altered)[:NAMED]]
            why = f"not as the run left it: {told}{more}"
            return finding(self, Verdict.INCONCLUSIVE, why, record.sealed, *places, code="files_altered")
        ends = record.events[:1] + record.events[-1:]
        return finding(self, Verdict.PASS, f"{len(record.events)} rows, each with the hash of the one before it", *ends)


CHECK = JournalIntact
