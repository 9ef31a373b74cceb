"""Under a pressure that lasts, each expected playbook was carried out again and again, and went well each time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from harness.checks import EVENTS, finding, if_looked
from harness.model import Event, Finding, Setup, Verdict
from harness.record import Record


@dataclass(frozen=True, kw_only=True)
class PlaybooksRepeat:
    """Counted while the faults were in force, for whatever subject."""

    observers: ClassVar[tuple[str, ...]] = (EVENTS,)

    claim: str

    times_min: ClassVar[int] = 2
    sources: ClassVar[tuple[str, ...]] = (
        "timeline: fault_ended, fault_injected, playbook_finished, playbook_started, run_started, signal_back",
        "timeline: signal_lost",
    )

    def never(self, setup: Setup) -> str:
        """Return why no run can pass, "" when one can."""
        if any(playbook for _, rows in setup.covered for _, playbook in rows):
            return ""
        return f"no playbook answers a fault of the scenario: {setup.types}"

    def check(self, record: Record) -> Finding:
        start_s, end_s = record.first_injection_s, record.last_fault_end_s
        names = record.plan.expected_playbooks
        if start_s is None or end_s is None or not names:
            lacks = "no playbook is expected" if not names else "a fault was not injected, or has not ended"
            return finding(
                self,
                Verdict.INCONCLUSIVE,
                lacks,
                record.looked("plan.json"),
                record.looked("timeline"),
                code="nothing_expected" if not names else "not_injected",
            )
        runs = [run for run in record.playbook_runs if start_s <= run.started.at_s <= end_s]
        done = {name: [run for run in runs if run.playbook == name and run.succeeded] for name in names}
        failed: list[Event | None] = [
            run.finished or run.started for run in runs if run.playbook in names and run.finished and not run.succeeded
        ]
        told = ", ".join(f"{name} {len(found)}" for name, found in done.items())
        cited = [run.started for found in done.values() for run in (found[:1] + found[1:][-1:])]
        if failed:
            why = f"{len(failed)} runs did not succeed; of the others {told}"
            return finding(self, Verdict.FAIL, why, *failed, code="not_succeeded")
        if any(len(found) < self.times_min for found in done.values()):
            why = f"at least {self.times_min} times each asked: {told}"
            return if_looked(
                record, EVENTS, finding(self, Verdict.FAIL, why, *cited, record.looked("timeline"), code="too_few_runs")
            )
        return finding(self, Verdict.PASS, f"times carried out: {told}", *cited)


CHECK = PlaybooksRepeat
