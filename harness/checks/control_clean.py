"""Without a fault no safeguard engages; a control run proves nothing more, so it never passes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from harness.checks import EVENTS, finding
from harness.model import Finding, Verdict
from harness.record import Record


@dataclass(frozen=True, kw_only=True)
class ControlClean:
    observers: ClassVar[tuple[str, ...]] = (EVENTS,)

    claim: str
    sources: ClassVar[tuple[str, ...]] = ("timeline: safeguard_engaged, safeguard_released",)

    def check(self, record: Record) -> Finding:
        if record.engagements:
            names = ", ".join(sorted({one.safeguard for one in record.engagements}))
            evidence = [one.engaged for one in record.engagements]
            return finding(self, Verdict.FAIL, f"engaged without a fault: {names}", *evidence, code="engaged")
        why = "control: no fault was injected, and no safeguard engaged"
        return finding(self, Verdict.INCONCLUSIVE, why, record.looked("timeline"), code="control_run")


CHECK = ControlClean
