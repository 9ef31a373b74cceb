"""Without a fault no safeguard engages without cause; a control run proves nothing more, so it never passes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from harness.alarms import UNKNOWN, WITNESS, alarms
from harness.checks import EVENTS, finding
from harness.model import Finding, Verdict
from harness.record import Record


@dataclass(frozen=True, kw_only=True)
class ControlClean:
    """An engagement that our own witness of that quantity explains, such as a machine that others keep busy, is left
    open, and so is one from before the run.
    """

    observers: ClassVar[tuple[str, ...]] = (EVENTS,)

    claim: str
    sources: ClassVar[tuple[str, ...]] = (
        "requests.csv",
        "signals.csv: cpu_percent, cpu_percent_before, htm_queue_depth, kernel_heartbeat_age_s, memory_percent",
        "signals.csv: route_latency_ms, route_up",
        "timeline: fault_ended, fault_injected, file_changed, kernel_changed, playbook_finished, playbook_started",
        "timeline: safeguard_engaged, safeguard_released, symptom_seen",
    )

    def check(self, record: Record) -> Finding:
        seen = {one.engagement.engaged.seq: one for one in alarms(record)}
        excused = (UNKNOWN, WITNESS) if record.plan.alarms else ()  # an earlier version's plan names no witnesses
        wrong = [one for one in seen.values() if one.cause not in excused]
        if wrong:
            names = ", ".join(sorted({one.engagement.safeguard for one in wrong}))
            evidence = [one.engagement.engaged for one in wrong]
            return finding(self, Verdict.FAIL, f"engaged without a fault: {names}", *evidence, code="engaged")
        if record.engagements:
            told = [(one, seen.get(one.engaged.seq)) for one in record.engagements]
            words = [
                f"{alarm.name}: {alarm.because}" if alarm else f"{one.safeguard}({one.subject}): since before the run"
                for one, alarm in told
            ]
            why = f"control: no fault was injected, and what engaged may have had cause: {'; '.join(words)}"
            evidence = [one.engaged for one in record.engagements]
            return finding(self, Verdict.INCONCLUSIVE, why, *evidence, code="engaged_with_cause")
        why = "control: no fault was injected, and no safeguard engaged"
        return finding(self, Verdict.INCONCLUSIVE, why, record.looked("timeline"), code="control_run")


CHECK = ControlClean
