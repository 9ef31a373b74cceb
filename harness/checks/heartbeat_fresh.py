"""A kernel's heart is heard to beat when the run ends."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from harness.checks import early, finding
from harness.model import Finding, Kind, Verdict
from harness.observers.control_plane import UNLISTED
from harness.record import Record

FRESH_S = 2.0


@dataclass(frozen=True, kw_only=True)
class HeartbeatFresh:
    """Throughout the last seconds: of a heart that is heard once in a while most looks would say that it is late.

    A target that tells of others' hearts at the end and not of this one does not hear it.
    """

    observers: ClassVar[tuple[str, ...]] = ("control_plane",)

    claim: str
    kernel: str
    sources: ClassVar[tuple[str, ...]] = (
        "signals.csv: kernel_heartbeat_age_s",
        "timeline: fault_ended, kernel_changed",
    )

    def check(self, record: Record) -> Finding:
        since_s = record.last_fault_end_s
        series = record.signals("kernel_heartbeat_age_s", self.kernel)
        told = [e for e in record.of_kind(Kind.KERNEL_CHANGED) if e.source == "control_plane"]
        states = [event for event in told if event.subject == self.kernel]
        if states and states[-1].detail.get("to") == UNLISTED:
            why = f"the target tells of its kernels' hearts at the end, and not of that of {self.kernel}"
            return finding(self, Verdict.FAIL, why, states[-1], code="unlisted")
        after = [] if since_s is None else [row for row in series.rows if row[0] > since_s]
        if not after:
            why = f"nobody told of the heartbeat of {self.kernel} after the faults had ended"
            return finding(self, Verdict.INCONCLUSIVE, why, record.looked("signals.csv"), code="not_told")
        if stale := early(record, series):
            why = f"the heartbeat of {self.kernel} {stale}"
            return finding(self, Verdict.INCONCLUSIVE, why, f"signals.csv:{after[-1][2]}", code="told_early")
        at_s, age_s, line = max((row for row in after if row[0] >= after[-1][0] - FRESH_S), key=lambda row: row[1])
        verdict = Verdict.PASS if age_s <= FRESH_S else Verdict.FAIL
        why = f"the heartbeat of {self.kernel} is at most {age_s:.1f} s old at the end, as told at {at_s:.1f} s"
        return finding(self, verdict, why, f"signals.csv:{line}", code="stale")


CHECK = HeartbeatFresh
