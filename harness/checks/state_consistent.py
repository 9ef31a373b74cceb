"""The state is consistent, recomputed from outside: the hash chain of the log, the queues, the snapshot's checksums."""

from __future__ import annotations

from dataclasses import dataclass

from harness.checks import finding
from harness.checks.audit_complete import chain_problem
from harness.checks.queue_drained import QueueDrained
from harness.ledger import AUDIT, not_read, span
from harness.model import Finding, Kind, Verdict
from harness.record import Record


@dataclass(frozen=True, kw_only=True)
class StateConsistent:
    """What was never damaged nor rewritten in this run, so that nobody looked at it again, is not spoken of."""

    claim: str

    def check(self, record: Record) -> Finding:
        held = record.held(AUDIT)
        if held is None:
            return finding(self, Verdict.INCONCLUSIVE, not_read(AUDIT))
        broken = chain_problem(held)
        if broken:
            return finding(self, Verdict.FAIL, f"the log: {broken}", *broken.cited)
        queues = QueueDrained(claim=self.claim).check(record)
        if queues.verdict is not Verdict.PASS:
            return finding(self, queues.verdict, f"the queues: {queues.because}", *queues.evidence)
        sealed = {str(e.detail["path"]): e for e in record.of_kind(Kind.FILE_CHANGED) if e.detail.get("keys")}
        wrong = [e for e in sealed.values() if not all(one["valid"] for one in e.detail["keys"].values())]
        if wrong:
            return finding(self, Verdict.FAIL, "a snapshot's keys do not fit their checksums at the end", *wrong)
        snapshots = f"{len(sealed)} snapshots whose keys fit" if sealed else "no snapshot was written meanwhile"
        why = f"a chain of {len(held)} entries; {queues.because}; {snapshots}"
        return finding(self, Verdict.PASS, why, *span(held), *queues.evidence)


CHECK = StateConsistent
