"""After the last fault the platform was well again, and stayed so, within the limit."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from harness.alarms import by_others
from harness.bystanders import ill_again
from harness.checks import finding
from harness.ledger import FEW
from harness.model import Event, Finding, Kind, Verdict
from harness.record import Record

EARLY_S = 0.5  # between a fault's end and the row that says so


@dataclass(frozen=True, kw_only=True)
class RecoveryWithinLimit:
    """Of a scenario in a wave: within its own limit, from the end of its own faults.

    A safeguard that engages after the recovery is a relapse, and so are a kernel that changes or is not heard on the
    bus for 5 s, and a route that fails two probes in a row. Where it engages only after the load (the harness reads
    the target back then), or our own witness shows its cause and no fault of the plan is behind it, somebody else may
    have kept the machine busy: that is left open.
    """

    claim: str
    sources: ClassVar[tuple[str, ...]] = (
        "signals.csv: bus_canary, bus_heartbeats, memory_percent, route_latency_ms, route_up",
        "timeline: fault_ended, fault_healed, fault_injected, kernel_changed, recovered, run_aborted",
        "timeline: safeguard_engaged, safeguard_released",
    )

    def check(self, record: Record) -> Finding:
        ended_s, limit_s, well = record.last_fault_end_s, record.plan.recovery_limit_s, record.recovered
        if ended_s is None:
            why = "not every fault has ended"
            return finding(self, Verdict.INCONCLUSIVE, why, record.looked("timeline"), code="fault_not_ended")
        took_s = (record.end_s if well is None else well.at_s) - ended_s
        if well is None and took_s < limit_s:
            why = f"no recovery yet when the run ended, {took_s:.0f} s after the last fault"
            return finding(
                self, Verdict.INCONCLUSIVE, why, record.aborted, record.looked("timeline"), code="run_too_short"
            )
        if took_s < -EARLY_S:
            why = "the recovery was seen before the last fault had ended"
            return finding(self, Verdict.INCONCLUSIVE, why, well, code="seen_before_end")
        signs = record.relapses
        busy = {one.engaged.seq for one in record.engagements if by_others(record, one)} if signs else set()
        relapse = next((event for event in signs if event.seq not in busy), None)
        if relapse is not None:
            why = f"well {took_s:.1f} s after the last fault, and ill again: {relapse.kind} {relapse.subject}"
            return finding(self, Verdict.FAIL, why, well, relapse, code="relapse")
        if again := ill_again(record):
            why = f"well {took_s:.1f} s after the last fault, and ill again: {'; '.join(one.words for one in again)}"
            cited = [place for one in again for place in one.evidence]
            return finding(self, Verdict.FAIL, why, well, *cited, code="relapse")
        if well is None or took_s > limit_s:
            return self._late(record, ended_s, took_s)
        if signs:
            names = ", ".join(sorted({f"{one.subject} ({one.detail.get('subject', '')})" for one in signs}))
            why = f"well {took_s:.1f} s after the last fault; later {names} engaged, by no fault of the plan"
            return finding(self, Verdict.INCONCLUSIVE, why, well, *signs[:FEW], code="relapse_by_others")
        return finding(self, Verdict.PASS, f"recovered {_told(took_s, limit_s)}", well)

    def _late(self, record: Record, ended_s: float, took_s: float) -> Finding:
        """Another scenario's fault may have been what kept the target ill. These two it does not explain:
        a safeguard that is there for an own fault, and a target that is ill so long after everybody's last one.
        """
        limit_s, well = record.plan.recovery_limit_s, record.recovered
        own = _still_engaged(record, ended_s + limit_s)
        if own is not None:
            guard = f"{own.subject} ({own.detail.get('subject', '')})"
            why = f"{guard} was still engaged {limit_s:g} s after the last fault"
            return finding(self, Verdict.FAIL, why, own, well, code="still_engaged")
        undisturbed_s = took_s - max(0.0, _others_end_s(record) - ended_s)
        if undisturbed_s <= limit_s:
            why = f"well {_told(took_s, limit_s)}, of which {undisturbed_s:.1f} s without a fault of another scenario"
            return finding(self, Verdict.INCONCLUSIVE, why, well, record.looked("timeline"), code="others_disturbed")
        if well is None:
            why = f"no recovery in {limit_s:g} s"
            return finding(self, Verdict.FAIL, why, record.finished, record.looked("timeline"), code="no_recovery")
        return finding(self, Verdict.FAIL, f"recovered {_told(took_s, limit_s)}", well, code="too_late")


def _told(took_s: float, limit_s: float) -> str:
    return f"{took_s:.1f} s after the last fault, limit {limit_s:g} s"


def _others_end_s(record: Record) -> float:
    """When the last fault of another scenario of the wave ended."""
    mine = {step.step_id for step in record.plan.steps}
    return max((one.at_s for one in record.of_kind(Kind.FAULT_ENDED) if one.subject not in mine), default=-math.inf)


def _still_engaged(record: Record, at_s: float) -> Event | None:
    """The engagement, at this time, of a safeguard that covers a fault of the plan."""
    plan = record.plan
    own = {
        (name, plan.subject_of(step, name)) for step in plan.steps for name, _ in plan.coverage.get(step.step_id, ())
    }
    for one in record.engagements:
        over_s = math.inf if one.released is None else one.released.at_s
        if (one.safeguard, one.subject) in own and one.engaged.at_s <= at_s < over_s:
            return one.engaged
    return None


CHECK = RecoveryWithinLimit
