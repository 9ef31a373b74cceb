"""The state is consistent, recomputed from outside: the log's hash chain, the queues, the knowledge, the snapshots."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from harness.checks import finding
from harness.checks.audit_complete import chain_problem
from harness.checks.knowledge_whole import KNOWLEDGE, KnowledgeWhole
from harness.checks.queue_drained import QueueDrained
from harness.ledger import AUDIT, not_read, span
from harness.ledger_start import last_before
from harness.model import Finding, Kind, Verdict
from harness.record import Record


@dataclass(frozen=True, kw_only=True)
class StateConsistent:
    """What was never damaged nor rewritten in this run, so that nobody looked at it again, is not spoken of."""

    claim: str
    sources: ClassVar[tuple[str, ...]] = (
        "ledger.jsonl",
        "signals.csv: htm_queue_depth",
        "target/audit.jsonl",
        "target/intents.jsonl",
        "target/knowledge.jsonl",
        "target/retrospectives.jsonl",
        "timeline: every row, file_changed, read_back",
    )

    def check(self, record: Record) -> Finding:
        held = record.held(AUDIT)
        if held is None:
            why = not_read(AUDIT)
            return finding(self, Verdict.INCONCLUSIVE, why, record.looked("target/audit.jsonl"), code="not_read")
        broken = chain_problem(held, last_before(record.events, AUDIT))
        if broken:
            return finding(self, Verdict.FAIL, f"the log: {broken}", *broken.cited, code=broken.codes)
        if not held:
            why = "the target's log has no entry, so its chain says nothing"
            return finding(self, Verdict.INCONCLUSIVE, why, record.looked("target/audit.jsonl"), code="log_empty")
        queues = QueueDrained(claim=self.claim).check(record)
        if queues.verdict is not Verdict.PASS:
            return finding(self, queues.verdict, f"the queues: {queues.because}", *queues.evidence, code="queues")
        sealed = {str(e.detail["path"]): e for e in record.of_kind(Kind.FILE_CHANGED) if e.detail.get("keys")}
        wrong = [e for e in sealed.values() if not all(one["valid"] for one in e.detail["keys"].values())]
        if wrong:
            why = "a snapshot's keys do not fit their checksums at the end"
            return finding(self, Verdict.FAIL, why, *wrong, code="snapshot_checksum")
        knowledge = KnowledgeWhole(claim=self.claim).check(record) if _is_told(record) else None
        if knowledge is not None and knowledge.verdict is not Verdict.PASS:
            why = f"the knowledge: {knowledge.because}"
            return finding(self, knowledge.verdict, why, *knowledge.evidence, code="knowledge")
        snapshots = f"{len(sealed)} snapshots whose keys fit" if sealed else "no snapshot was written meanwhile"
        known = knowledge.because if knowledge else "the target does not tell what it knows"
        why = f"a chain of {len(held)} entries; {queues.because}; {known}; {snapshots}"
        return finding(
            self, Verdict.PASS, why, *span(held), *queues.evidence, *(knowledge.evidence if knowledge else ())
        )


def _is_told(record: Record) -> bool:
    """Whether the target tells its knowledge, also when it could not be read this time."""
    problems = (str(one) for event in record.of_kind(Kind.READ_BACK) for one in event.detail.get("problems", ()))
    return record.held(KNOWLEDGE) is not None or any(f"ledger {KNOWLEDGE} " in one for one in problems)


CHECK = StateConsistent
