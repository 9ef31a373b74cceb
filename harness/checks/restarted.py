"""A kernel got a new process in time, as /proc shows it, and its route answered again."""

from __future__ import annotations

from dataclasses import dataclass

from harness.checks import finding
from harness.model import Finding, Kind, Verdict
from harness.record import Record


@dataclass(frozen=True, kw_only=True)
class Restarted:
    claim: str
    kernel: str
    within_s: float

    def check(self, record: Record) -> Finding:
        injected = [f.injected for f in record.faults if f.step.subject == self.kernel and f.injected]
        if not injected:
            return finding(self, Verdict.INCONCLUSIVE, f"no fault was injected into {self.kernel}")
        start_s = injected[0].at_s
        limit_s = start_s + self.within_s
        changes = [
            event
            for event in record.of_kind(Kind.KERNEL_CHANGED)
            if event.subject == self.kernel
            and event.source == "processes"
            and event.detail.get("what") == "process"
            and event.detail.get("pid")
            and event.at_s >= start_s
        ]
        if not changes:
            why = f"/proc shows no new process for {self.kernel}"
            return finding(self, Verdict.FAIL, why, *injected)
        route = record.witness_route(self.kernel)
        up = [row for row in record.signals("route_up", route).rows if row[0] > changes[0].at_s and row[1] > 0]
        if not route or not record.signals("route_up", route).rows:
            return finding(self, Verdict.INCONCLUSIVE, f"no route shows whether {self.kernel} answers", changes[0])
        if not up:
            return finding(self, Verdict.FAIL, f"{route} did not answer again", changes[0])
        back_s = up[0][0] - start_s
        verdict = Verdict.PASS if up[0][0] <= limit_s else Verdict.FAIL
        why = (
            f"pid {changes[0].detail.get('old_pid')} became {changes[0].detail.get('pid')}"
            f" and {route} answered again {back_s:.1f} s after the injection"
        )
        return finding(self, verdict, why, changes[0], f"signals.csv:{up[0][2]}")


CHECK = Restarted
