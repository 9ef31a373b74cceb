"""Each fault was detected by a safeguard that covers it, within the bound."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from harness.checks import EVENTS, finding, if_looked, masked
from harness.model import Finding, Setup, Verdict
from harness.record import Detection, Record


@dataclass(frozen=True, kw_only=True)
class EachFaultDetected:
    observers: ClassVar[tuple[str, ...]] = (EVENTS,)

    claim: str
    sources: ClassVar[tuple[str, ...]] = (
        "timeline: fault_attained, fault_ended, fault_injected, run_started, safeguard_engaged, safeguard_released",
        "timeline: signal_back, signal_lost",
    )

    def never(self, setup: Setup) -> str:
        """Return why no run can pass, "" when one can."""
        names = ", ".join(setup.uncovered())
        return f"no safeguard is known to detect {names}" if names else ""

    def check(self, record: Record) -> Finding:
        limit_s = record.plan.slo.detect_s_max
        uncovered = [f.step.step_id for f in record.faults if not record.plan.coverage.get(f.step.step_id)]
        short = [f.step.step_id for f in record.faults if f.shortfall]
        late, evidence, told = [], [], []
        for fault in record.faults:
            detection = record.detection(fault.step.step_id)
            if detection is None or _after_s(detection) > limit_s:
                late.append(fault.step.step_id)
                evidence.append(fault.injected)
            else:
                told.append(f"{fault.step.step_id} after {detection.after_injected_s:.2f} s")
                evidence.append(detection.event)
        real = [step for step in late if step not in short and step not in uncovered]
        unsure = masked(self, record, real)
        if real and unsure is None:
            real = [step for step in real if record.still_engaged(step) is None]
            why = f"not detected within {limit_s:g} s: {', '.join(real)}"
            return if_looked(
                record,
                EVENTS,
                finding(self, Verdict.FAIL, why, *evidence, record.looked("timeline"), code="not_detected"),
            )
        if unsure is not None:
            return unsure
        if uncovered or short or not record.faults:
            why = f"cannot be judged for {', '.join(uncovered + short) or 'no fault'}"
            return finding(
                self, Verdict.INCONCLUSIVE, why, *evidence, record.looked("plan.json"), code="not_to_be_judged"
            )
        return finding(self, Verdict.PASS, "; ".join(told), *evidence)


def _after_s(detection: Detection) -> float:
    """From attainment: a memory that fills slowly is short only then. From the injection when it was never attained."""
    return detection.after_injected_s if detection.after_attained_s is None else detection.after_attained_s


CHECK = EachFaultDetected
