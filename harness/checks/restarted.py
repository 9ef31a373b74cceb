"""A kernel got a new process in time each time that it was struck, as /proc shows it, and its route answered again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from harness.checks import LOOKED_S, PROCESSES, early, finding, if_looked
from harness.model import Event, Finding, Kind, Setup, Verdict
from harness.record import Record, Series


@dataclass(frozen=True, kw_only=True)
class Restarted:
    """One new process is an answer to all the strikes before it, and to none after it."""

    observers: ClassVar[tuple[str, ...]] = (PROCESSES,)

    claim: str
    kernel: str
    within_s: float
    sources: ClassVar[tuple[str, ...]] = (
        "signals.csv: route_up",
        "timeline: fault_injected, kernel_changed, run_started, signal_back, signal_lost",
    )

    def never(self, setup: Setup) -> str:
        """Return why no run can pass, "" when one can."""
        if any(self.kernel in (step.subject, *step.kernels) for step in setup.steps):
            return ""
        return f"no fault of the scenario is aimed at {self.kernel}"

    def check(self, record: Record) -> Finding:
        hit = [one for one in record.faults if self.kernel in (one.step.subject, *one.step.kernels)]
        injected = [one.injected for one in hit if one.injected]
        if not injected:
            why = f"no fault was injected into {self.kernel}"
            return finding(self, Verdict.INCONCLUSIVE, why, record.looked("timeline"), code="not_injected")
        found = [self._after(record, strike) for strike in sorted(injected, key=lambda event: event.at_s)]
        worst = Verdict.worst([one.verdict for one in found])
        told = [one for one in found if one.verdict is worst]
        because = "; ".join(one.because for one in told)
        return finding(self, worst, because, *[row for one in told for row in one.evidence], code=told[0].cause)

    def _after(self, record: Record, strike: Event) -> Finding:
        """What became of the kernel after it was struck."""
        changes = [
            event
            for event in record.of_kind(Kind.KERNEL_CHANGED)
            if event.subject == self.kernel
            and event.source == "processes"
            and event.detail.get("what") == "process"
            and event.detail.get("pid")
            and event.at_s >= strike.at_s
        ]
        if not changes:
            why = f"/proc shows no new process for {self.kernel}"
            return if_looked(
                record,
                PROCESSES,
                finding(self, Verdict.FAIL, why, strike, record.looked("timeline"), code="no_new_process"),
            )
        route = record.witness_route(self.kernel)
        series = record.signals("route_up", route)
        if not route or not series.rows:
            why = f"no route shows whether {self.kernel} answers"
            return finding(self, Verdict.INCONCLUSIVE, why, changes[0], code="no_route")
        up = next((row for row in series.rows if row[0] > changes[0].at_s and row[1] > 0), None)
        limit_s = strike.at_s + self.within_s
        if up is None and series.rows[-1][0] < limit_s and (stale := early(record, series, record.load_end_s)):
            return finding(self, Verdict.INCONCLUSIVE, f"{route} {stale}", changes[0], code="told_early")
        if up and up[0] > limit_s and up[0] - _looked_s(series, changes[0].at_s, up[0]) > LOOKED_S:
            why = f"{route} answered at {up[0]:.1f} s, and nobody had asked for so long before that it may have earlier"
            return finding(self, Verdict.INCONCLUSIVE, why, changes[0], f"signals.csv:{up[2]}", code="asked_seldom")
        if up is None:
            return finding(self, Verdict.FAIL, f"{route} did not answer again", changes[0], code="route_not_answering")
        verdict = Verdict.PASS if up[0] <= limit_s else Verdict.FAIL
        why = (
            f"pid {changes[0].detail.get('old_pid')} became {changes[0].detail.get('pid')}"
            f" and {route} answered again {up[0] - strike.at_s:.1f} s after the injection"
        )
        return finding(self, verdict, why, changes[0], f"signals.csv:{up[2]}", code="too_late")


def _looked_s(series: Series, since_s: float, until_s: float) -> float:
    """When the route was asked last before *until_s*; *since_s* when it was not since then."""
    return max((row[0] for row in series.rows if since_s < row[0] < until_s), default=since_s)


CHECK = Restarted
