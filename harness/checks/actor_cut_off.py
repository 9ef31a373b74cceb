"""After the playbook the harness's own subscriber hears nothing more of the actor, on an open topic.

It must hear its own messages on that topic all the while: a bus that delivers to nobody has cut off nobody.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

from harness.checks import EVENTS, finding, if_looked, masked
from harness.model import Finding, Verdict
from harness.record import Record

SLACK_S = 1.0  # what was under way when the actor was cut off
SILENT_S = 2.0  # a silence that is shorter shows nothing
DEAF_S = 3.0  # so long the subscriber may be without its own messages: a busy bus is late


@dataclass(frozen=True, kw_only=True)
class ActorCutOff:
    observers: ClassVar[tuple[str, ...]] = (EVENTS, "bus_listener")

    claim: str
    playbook: str
    step_id: str
    sources: ClassVar[tuple[str, ...]] = (
        "signals.csv: bus_canary, bus_delivered",
        "timeline: fault_ended, fault_injected, playbook_finished, playbook_started, run_started, safeguard_engaged",
        "timeline: safeguard_released, signal_back, signal_lost",
    )

    def check(self, record: Record) -> Finding:
        fault = record.fault(self.step_id)
        actor = fault.step.subject
        since_s = fault.injected.at_s if fault.injected else float("inf")
        runs = [one for one in record.playbook_runs if one.playbook == self.playbook and one.subject == actor]
        run = next((one for one in runs if one.succeeded and one.started.at_s >= since_s), None)
        rows = record.signals("bus_delivered", actor).rows
        if not rows:
            why = f"the subscriber never heard {actor}, so its silence says nothing"
            return finding(self, Verdict.INCONCLUSIVE, why, record.looked("signals.csv"), code="never_heard")
        if run is None and (unsure := masked(self, record, [self.step_id])) is not None:
            return unsure
        if run is None or run.finished is None:
            why = f"the playbook did not run; {rows[-1][1]:.0f} messages of {actor} were delivered"
            red = finding(
                self,
                Verdict.FAIL,
                why,
                fault.injected,
                f"signals.csv:{rows[-1][2]}",
                record.looked("timeline"),
                code="playbook_not_run",
            )
            return if_looked(record, EVENTS, red)
        cut_s = run.finished.at_s + SLACK_S
        end_s = fault.ended.at_s if fault.ended else record.end_s
        before = [row for row in rows if row[0] <= cut_s]
        after = [row for row in rows if cut_s < row[0] <= end_s]
        if not before or before[-1][1] < 1:
            why = f"{actor} was first heard after it was cut off"
            return finding(self, Verdict.INCONCLUSIVE, why, run.finished, code="heard_late")
        more = after[-1][1] - before[-1][1] if after else 0.0
        if not after or (more <= 0 and after[-1][0] - cut_s < SILENT_S):
            why = "the fault ended before its silence could show"
            return finding(self, Verdict.INCONCLUSIVE, why, run.finished, code="too_short")
        evidence = (run.finished, f"signals.csv:{before[-1][2]}", f"signals.csv:{after[-1][2]}")
        if more > 0:
            why = f"{more:.0f} messages of {actor} came after it was cut off"
            return finding(self, Verdict.FAIL, why, *evidence, code="still_heard")
        if deaf := self._deaf(record, cut_s, end_s):
            return finding(self, Verdict.INCONCLUSIVE, deaf, *evidence, code="subscriber_deaf")
        why = f"{before[-1][1]:.0f} messages before, none in the {end_s - cut_s:.0f} s after; its own came throughout"
        return finding(self, Verdict.PASS, why, *evidence)

    @staticmethod
    def _deaf(record: Record, since_s: float, until_s: float) -> str:
        """Why the subscriber's silence is not the actor's; "" when its own messages came all the while."""
        rows = record.signals("bus_canary").between(since_s, until_s).rows
        heard = [now[0] for last, now in pairwise(rows) if now[1] > last[1]]
        if not heard:
            return f"the subscriber did not hear its own messages either, in the {until_s - since_s:.0f} s after"
        gap_s = max(end - start for start, end in pairwise([since_s, *heard, until_s]))
        return f"the subscriber did not hear its own messages either, for {gap_s:.0f} s" if gap_s > DEAF_S else ""


CHECK = ActorCutOff
