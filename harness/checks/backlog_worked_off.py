"""What waited in the queue when a disk became full was carried out while it was: the queue did not stand still."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from harness.checks import finding
from harness.checks.queue_drained import DEPTH
from harness.model import Finding, Setup, Verdict
from harness.record import FaultRecord, Record

TYPE = "disk_full"
WAITING_MIN = 20  # fewer are done by chance before anything stands still
LEFT_PERCENT_MAX = 50.0  # of them, when there is room again; others may have been taken just before that


@dataclass(frozen=True, kw_only=True)
class BacklogWorkedOff:
    """By the depth that the target tells, from when the disk was full to the end of the fault.

    A queue that was empty then says nothing: the scenario was not what it is called.
    """

    claim: str
    sources: ClassVar[tuple[str, ...]] = (
        "signals.csv: htm_queue_depth",
        "timeline: fault_attained, fault_ended, fault_injected",
    )

    def never(self, setup: Setup) -> str:
        """Return why no run can pass, "" when one can."""
        return setup.without("disk_full")

    def check(self, record: Record) -> Finding:
        faults = [fault for fault in record.faults if fault.step.type == TYPE]
        if not faults:
            why = "no fault of this plan fills a disk"
            return finding(self, Verdict.INCONCLUSIVE, why, record.looked("plan.json"), code="no_such_fault")
        found = [self._one(record, fault) for fault in faults]
        worst = Verdict.worst([one.verdict for one in found])
        told = [one for one in found if one.verdict is worst]
        why = "; ".join(one.because for one in told)
        return finding(self, worst, why, *[row for one in told for row in one.evidence], code=told[0].cause)

    def _one(self, record: Record, fault: FaultRecord) -> Finding:
        name = fault.step.step_id
        if fault.shortfall or fault.attained is None or fault.ended is None:
            why = f"{name}: {fault.shortfall or 'it did not come to its end'}"
            return finding(self, Verdict.INCONCLUSIVE, why, fault.injected, code="fault_not_as_asked")
        start_s, end_s = fault.attained.at_s, fault.ended.at_s
        rows = record.signals(DEPTH).rows
        before, during = [row for row in rows if row[0] <= start_s], [row for row in rows if start_s < row[0] <= end_s]
        if not before or not during:
            why = f"{name}: nobody told how many waited"
            return finding(self, Verdict.INCONCLUSIVE, why, fault.attained, code="depth_unknown")
        (at_s, waiting, first), (_, left, last) = before[-1], during[-1]
        evidence = (fault.attained, f"signals.csv:{first}", f"signals.csv:{last}", fault.ended)
        if waiting < WAITING_MIN:
            why = f"{name}: {waiting:.0f} waited when the disk was full ({at_s:.1f} s), at least {WAITING_MIN} asked"
            return finding(self, Verdict.INCONCLUSIVE, why, *evidence, code="too_few_waited")
        why = f"{name}: of {waiting:.0f} that waited when the disk was full {left:.0f} still did"
        why += f" {end_s - start_s:.0f} s later"
        worked = left <= waiting * LEFT_PERCENT_MAX / 100.0
        return finding(self, Verdict.PASS if worked else Verdict.FAIL, why, *evidence, code="stood_still")


CHECK = BacklogWorkedOff
