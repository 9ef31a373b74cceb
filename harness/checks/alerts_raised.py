"""Each fault was told to people: an alert of a safeguard that covers it, for its subject, soon after it began."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from harness.checks import EVENTS, finding, if_looked, masked
from harness.model import Event, Finding, Kind, Setup, Verdict
from harness.record import DETECTION_GRACE_S, FaultRecord, Record


@dataclass(frozen=True, kw_only=True)
class AlertsRaised:
    observers: ClassVar[tuple[str, ...]] = (EVENTS,)

    claim: str
    sources: ClassVar[tuple[str, ...]] = (
        "timeline: alert_raised, fault_ended, fault_injected, run_started, safeguard_engaged, safeguard_released",
        "timeline: signal_back, signal_lost",
    )

    def never(self, setup: Setup) -> str:
        """Return why no run can pass, "" when one can."""
        names = ", ".join(setup.uncovered())
        return f"no safeguard is known to detect {names}" if names else ""

    def check(self, record: Record) -> Finding:
        if not record.faults or any(fault.injected is None for fault in record.faults):
            why = "not every fault was injected: there was nothing to tell of"
            return finding(self, Verdict.INCONCLUSIVE, why, record.looked("timeline"), code="not_injected")
        uncovered = [one.step.step_id for one in record.faults if not record.plan.coverage.get(one.step.step_id)]
        if uncovered:
            why = f"nobody knows whose alert {', '.join(uncovered)} would be"
            return finding(self, Verdict.INCONCLUSIVE, why, record.looked("plan.json"), code="no_coverage")
        found = {fault.step.step_id: self._alert(record, fault) for fault in record.faults}
        silent = [step_id for step_id, alert in found.items() if alert is None]
        if silent:
            if (unsure := masked(self, record, silent)) is not None:
                return unsure
            silent = [step_id for step_id in silent if record.still_engaged(step_id) is None]
            injected = [record.fault(step_id).injected for step_id in silent]
            why = f"no alert was raised for {', '.join(silent)}"
            red = finding(self, Verdict.FAIL, why, *injected, record.looked("timeline"), code="no_alert")
            return if_looked(record, EVENTS, red)
        told = [
            f"{alert.subject} for {step_id} after {alert.at_s - fault.injected.at_s:.1f} s"
            for (step_id, alert), fault in zip(found.items(), record.faults, strict=True)
            if alert is not None and fault.injected is not None
        ]
        return finding(self, Verdict.PASS, f"alerts of {'; '.join(told)}", *found.values())

    def _alert(self, record: Record, fault: FaultRecord) -> Event | None:
        assert fault.injected is not None
        until_s = (fault.ended.at_s if fault.ended else record.end_s) + DETECTION_GRACE_S
        covering = {name for name, _ in record.plan.coverage[fault.step.step_id]}
        return next(
            (
                alert
                for alert in record.of_kind(Kind.ALERT_RAISED)
                if alert.subject in covering
                and alert.detail.get("subject") == record.plan.subject_of(fault.step, alert.subject)
                and fault.injected.at_s <= alert.at_s <= until_s
            ),
            None,
        )


CHECK = AlertsRaised
