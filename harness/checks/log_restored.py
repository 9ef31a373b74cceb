"""Each entry of the log that was changed is what it was, by the target's doing, and the log's chain is whole.

Both are seen from outside: the fault looks at the stored entries themselves, and the hashes of what the target finally
holds are computed here anew.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import ClassVar

from harness.checks import finding
from harness.checks.audit_complete import chain_problem
from harness.ledger import AUDIT, not_read, span
from harness.model import Finding, Setup, Verdict
from harness.record import FaultRecord, Record

TYPE = "log_corruption"


@dataclass(frozen=True, kw_only=True)
class LogRestored:
    claim: str
    sources: ClassVar[tuple[str, ...]] = (
        "target/audit.jsonl",
        "timeline: fault_ended, fault_injected, fault_planned",
    )

    def never(self, setup: Setup) -> str:
        """Return why no run can pass, "" when one can."""
        return setup.without("log_corruption")

    def check(self, record: Record) -> Finding:
        faults = [one for one in record.faults if one.step.type == TYPE]
        if not faults:
            why = "no fault of this plan changes the log"
            return finding(self, Verdict.INCONCLUSIVE, why, record.looked("plan.json"), code="no_such_fault")
        unseen = next((one for one in faults if one.injected is None or one.ended is None), None)
        if unseen is not None:
            why = f"{unseen.step.step_id} did not come to its end"
            return finding(self, Verdict.INCONCLUSIVE, why, unseen.planned, code="fault_not_ended")
        for fault in faults:
            if fault.ended_by == "target":
                continue
            if fault.ended_by != "plan":
                why = f"nobody can say whether the target would have restored the entries: {_ending(fault)}"
                return finding(self, Verdict.INCONCLUSIVE, why, fault.injected, fault.ended, code="fault_ended_early")
            why = f"{_left(fault)} changed entries were not made what they were by the target in its time"
            return finding(self, Verdict.FAIL, why, fault.injected, fault.ended, code="not_restored")
        held = record.held(AUDIT)
        if held is None:
            why = not_read(AUDIT)
            return finding(self, Verdict.INCONCLUSIVE, why, record.looked("target/audit.jsonl"), code="not_read")
        if wrong := chain_problem(held):
            return finding(self, Verdict.FAIL, f"the log: {wrong}", *wrong.cited, code=wrong.codes)
        rows = {row.fields.get("sequence"): row for row in held}
        for fault in faults:
            for entry, column in _entries(fault):
                row = rows.get(entry["key"])
                if row is None:
                    why = f"entry {entry['key']} is gone from the log"
                    return finding(self, Verdict.FAIL, why, fault.injected, code="entry_gone")
                if hashlib.sha256(row.text(column).encode()).hexdigest() != entry["sha256"]:
                    why = f"entry {entry['key']} does not say what it said before it was changed"
                    return finding(self, Verdict.FAIL, why, fault.injected, row.place, code="entry_differs")
        count = sum(len(_entries(fault)) for fault in faults)
        why = f"{count} changed entries say again what they said, in a chain of {len(held)} that is whole"
        return finding(self, Verdict.PASS, why, *(fault.ended for fault in faults), *span(held))


def _entries(fault: FaultRecord) -> list[tuple[dict[str, str], str]]:
    assert fault.injected is not None
    return [(entry, fault.injected.detail["column"]) for entry in fault.injected.detail["entries"]]


def _ending(fault: FaultRecord) -> str:
    assert fault.ended is not None
    return f"the fault ended by {fault.ended_by}: {fault.ended.detail.get('because', '')}"


def _left(fault: FaultRecord) -> str:
    """How many of how many were still wrong when the fault was last looked at; a fault that told nothing: all."""
    assert fault.ended is not None
    count = len(_entries(fault))
    left = fault.ended.detail.get("told", {}).get("still_damaged")
    return f"{count if left is None else len(left)} of {count}"


CHECK = LogRestored
