"""Every source of signals was heard, but for short gaps."""

from __future__ import annotations

from dataclasses import dataclass

from harness.checks import finding
from harness.model import Finding, Kind, Verdict
from harness.record import Record

GAP_S = 5.0
NEEDED = ("cpu_percent", "memory_percent", "loop_lag_ms")


@dataclass(frozen=True, kw_only=True)
class SignalsComplete:
    claim: str

    def check(self, record: Record) -> Finding:
        problems, evidence = [], []
        for event in record.of_kind(Kind.SIGNAL_LOST):
            back = [e for e in record.of_kind(Kind.SIGNAL_BACK) if e.subject == event.subject and e.at_s >= event.at_s]
            until_s = back[0].at_s if back else record.end_s
            if until_s - event.at_s > GAP_S or not back:
                problems.append(f"{event.subject} was silent for {until_s - event.at_s:.1f} s")
                evidence.append(event)
        for name in NEEDED:
            if not record.signals(name).rows:
                problems.append(f"{name} was never measured")
        if problems:
            return finding(self, Verdict.INCONCLUSIVE, "; ".join(problems), *evidence)
        return finding(self, Verdict.PASS, f"no gap above {GAP_S:g} s")


CHECK = SignalsComplete
