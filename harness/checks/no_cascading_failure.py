"""No kernel or worker without a fault left running or restarted, and routes that need no faulted kernel went on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from harness.checks import finding, no_independent_route
from harness.effect_spans import within
from harness.model import WELL, Event, Finding, Kind, Setup, Verdict
from harness.record import Record, cite_rows
from harness.strikes import crew, spans, spared_rows
from harness.traffic import Traffic

LOOKED_ON_S = 10.0
REQUESTS_MIN = 20
FAILURES_MIN = 2
SILENT_S = 5.0  # at the end of what is looked at: who was not answered any more was not well either
SILENT_MIN = 10  # of so many that the baseline lets expect, none at all is no chance


@dataclass(frozen=True, kw_only=True)
class NoCascadingFailure:
    claim: str
    sources: ClassVar[tuple[str, ...]] = (
        "requests.csv",
        "signals.csv: route_up, worker_pid",
        "timeline: fault_ended, fault_healed, fault_injected, kernel_changed, recovered, steady_state_met",
    )

    def never(self, setup: Setup) -> str:
        """Return why no run can pass, "" when one can."""
        return setup.no_route_left()

    def check(self, record: Record) -> Finding:
        start_s, end_s = record.first_injection_s, self._end_s(record)
        if start_s is None:
            why = "no fault was injected"
            return finding(self, Verdict.INCONCLUSIVE, why, record.looked("timeline"), code="not_injected")
        dragged = _dragged(record, start_s, end_s)
        if dragged:
            names = ", ".join(sorted({event.subject for event in dragged}))
            who = "kernels" if {event.subject for event in dragged} <= {*record.plan.kernels} else "workers"
            why = f"{who} without a fault changed: {names}"
            return finding(self, Verdict.FAIL, why, *dragged, code="bystander_changed")
        others = record.bystander_routes
        traffic = record.traffic(start_s, end_s, names=others)
        if lacks := no_independent_route(record):
            return finding(self, Verdict.INCONCLUSIVE, lacks, record.looked("plan.json"), code="no_independent_route")
        if traffic.count < REQUESTS_MIN:
            why = f"only {traffic.count} requests went to routes without a faulted kernel, from {start_s:.1f} s to"
            why += f" {end_s:.1f} s, at least {REQUESTS_MIN} are needed"
            return finding(self, Verdict.INCONCLUSIVE, why, record.looked("requests.csv"), code="too_few_requests")
        bound = record.plan.slo.bystander_success_percent_min
        success = _success_percent(traffic)
        worst = {name: _success_percent(record.traffic(start_s, end_s, names=frozenset({name}))) for name in others}
        worst |= _afterwards(record, start_s, end_s)
        low = sorted(name for name, percent in worst.items() if percent < bound)
        why = f"{success:.2f} % of {traffic.count} requests to other routes succeeded, at least {bound:g} % asked"
        if low:
            why += "; below that: " + ", ".join(f"{name} {worst[name]:.1f} %" for name in low)
        rows = [row for row in spared_rows(record, start_s, end_s) if row.name in worst]
        if low or success < bound:
            refused = (row for row in rows if row.outcome in ("failed", "limited") and (not low or row.name in low))
            return finding(self, Verdict.FAIL, why, *cite_rows(refused), code="bystander_routes_failed")
        rows = [row for row in rows if row.name in others]
        silent = sorted(name for name in others if _silent(record, name, start_s, end_s))
        if silent:
            why = f"nobody has had any answer of {', '.join(silent)} since the first fault; otherwise {why}"
            return finding(self, Verdict.INCONCLUSIVE, why, *cite_rows(rows[:1]), code="route_silent")
        last = max(rows, key=lambda row: row.at_s)
        if (silent_s := min(end_s, record.load_end_s) - last.at_s) > SILENT_S:
            why = f"nobody has had any answer in the last {silent_s:.1f} s; otherwise {why}"
            return finding(self, Verdict.INCONCLUSIVE, why, *cite_rows((last,)), code="silent_at_end")
        return finding(self, Verdict.PASS, why, *cite_rows((rows[0], rows[-1])))

    @staticmethod
    def _end_s(record: Record) -> float:
        """Until the recovery; after a fault that lasts for a moment, for as long as its consequences may show."""
        if record.recovered is None or record.last_fault_end_s is None:
            return record.end_s
        return min(record.end_s, max(record.recovered.at_s, record.last_fault_end_s + LOOKED_ON_S))


def _dragged(record: Record, start_s: float, end_s: float) -> list[Event]:
    """Changes of kernels and workers that no fault struck, or no longer: see harness/strikes.py."""
    spared = {kernel: spans(record, (kernel,), process=True) for kernel in record.plan.kernels}
    hit = {worker for fault in record.faults if fault.injected for worker in fault.injected.detail.get("workers", ())}
    of_crew = spans(record, crew(record), process=True)
    spared |= {worker: of_crew for worker in record.subjects("worker_pid") if worker not in hit}
    return [
        event
        for event in record.of_kind(Kind.KERNEL_CHANGED)
        if event.subject in spared
        and start_s <= event.at_s <= end_s
        and not within(event.at_s, spared[event.subject])
        and (event.detail.get("what") == "process" or event.detail.get("to") not in WELL)
    ]


def _afterwards(record: Record, start_s: float, end_s: float) -> dict[str, float]:
    """Of routes that need a faulted kernel, what succeeded once that was well again, where there was enough of it."""
    found = {}
    rows = spared_rows(record, start_s, end_s)
    for name in {row.name for row in rows} - record.bystander_routes:
        traffic = Traffic.of([row for row in rows if row.name == name])
        if traffic.count >= REQUESTS_MIN and traffic.failed + traffic.limited >= FAILURES_MIN:
            found[name] = _success_percent(traffic)
    return found


def _silent(record: Record, name: str, start_s: float, end_s: float) -> bool:
    """Whether a route that was asked in the baseline has not one answer more, good or bad: a share of none is none."""
    baseline, names = record.baseline, frozenset({name})
    if baseline is None or record.traffic(start_s, end_s, names=names).count:
        return False
    before_s = record.plan.slo.baseline_s
    before = record.traffic(baseline.at_s - before_s, baseline.at_s, names=names).count
    return before / before_s * (end_s - start_s) >= SILENT_MIN


def _success_percent(traffic: Traffic) -> float:
    """Served or deferred on purpose; a legitimate client that is limited or refused is no success."""
    lost = traffic.failed + traffic.limited
    return 100.0 - 100.0 * lost / traffic.count if traffic.count else 100.0


CHECK = NoCascadingFailure
