"""A playbook was started for a fault of the plan, ended, and says that it succeeded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from harness.checks import EVENTS, finding, if_looked, masked
from harness.model import Event, Finding, Setup, Verdict
from harness.record import DETECTION_GRACE_S, Record


@dataclass(frozen=True, kw_only=True)
class PlaybookRan:
    """For each fault that leads to it: what is started later than a detection counts is not for that fault."""

    observers: ClassVar[tuple[str, ...]] = (EVENTS,)

    claim: str
    playbook: str
    sources: ClassVar[tuple[str, ...]] = (
        "timeline: fault_ended, fault_injected, playbook_finished, playbook_started, run_started, safeguard_engaged",
        "timeline: safeguard_released, signal_back, signal_lost",
    )

    def never(self, setup: Setup) -> str:
        """Return why no run can pass, "" when one can."""
        if any(self.playbook == playbook for _, rows in setup.covered for _, playbook in rows):
            return ""
        return f"no fault of the scenario is one that {self.playbook} answers: {setup.types}"

    def check(self, record: Record) -> Finding:
        steps = [step for step, rows in record.plan.coverage.items() if any(p == self.playbook for _, p in rows)]
        if not steps:
            why = f"no fault of this plan leads to {self.playbook}"
            return finding(self, Verdict.INCONCLUSIVE, why, record.looked("plan.json"), code="no_such_fault")
        evidence: list[Event | None] = []
        unsure: Finding | None = None
        for step_id in steps:
            fault = record.fault(step_id)
            after_s = fault.injected.at_s if fault.injected else float("inf")
            until_s = (fault.ended.at_s if fault.ended else record.end_s) + DETECTION_GRACE_S
            safeguards = [name for name, playbook in record.plan.coverage[step_id] if playbook == self.playbook]
            subject = record.plan.subject_of(fault.step, safeguards[0])
            runs = [
                run
                for run in record.playbook_runs
                if run.playbook == self.playbook and run.subject == subject and after_s <= run.started.at_s <= until_s
            ]
            if not runs and (found := masked(self, record, [step_id], safeguards[0])) is not None:
                unsure = unsure or found
                continue
            if not runs:
                why = f"{self.playbook} was never started for {subject}"
                return if_looked(
                    record,
                    EVENTS,
                    finding(self, Verdict.FAIL, why, fault.injected, record.looked("timeline"), code="not_started"),
                )
            good = next((run for run in runs if run.succeeded), None)
            if good is None:
                told = runs[-1].finished
                why = f"{self.playbook} for {subject} did not succeed"
                return if_looked(
                    record, EVENTS, finding(self, Verdict.FAIL, why, runs[-1].started, told, code="not_succeeded")
                )
            evidence += [good.started, good.finished]
        if unsure is not None:
            return unsure
        return finding(self, Verdict.PASS, f"{self.playbook} ran and succeeded", *evidence)


CHECK = PlaybookRan
