"""A control run: an engagement without cause is a FAIL; with one, from before the run, or none: INCONCLUSIVE."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from harness.checks.control_clean import ControlClean
from harness.model import Finding, Kind, Verdict
from tests.checks.test_bystanders import Break, draft, engaged, signal
from tests.drafts import healthy, mf01_plan

FAULTS = (Kind.FAULT_PLANNED, Kind.FAULT_INJECTED, Kind.FAULT_ATTAINED, Kind.FAULT_ENDED, Kind.FAULT_HEALED)


def judged(folder: Path, *changes: Break, alarms: bool = True) -> Finding:
    made = draft()
    plan = mf01_plan(control=True)
    made.plan = replace(plan, alarms=plan.alarms if alarms else {})
    made.events = [one for one in made.events if one.kind in (Kind.RUN_STARTED, Kind.STEADY_STATE_MET)]
    made.silence("cpu_percent")
    signal("cpu_percent", "", 20.0, 0.0, 10.0)(made)
    for change in changes:
        change(made)
    return ControlClean(claim="c").check(made.record(folder))


def test_an_engagement_without_a_fault_fails(tmp_path: Path) -> None:
    found = ControlClean(claim="c").check(healthy().record(tmp_path))
    assert found.verdict is Verdict.FAIL and len(found.evidence) == 3


def test_a_quiet_control_run_never_passes(tmp_path: Path) -> None:
    found = judged(tmp_path)
    assert (found.verdict, found.code) == (Verdict.INCONCLUSIVE, "control_clean.control_run")


@pytest.mark.parametrize("percent", [20.0, 95.0])
def test_an_alarm_is_judged_by_what_our_own_sampler_saw(tmp_path: Path, percent: float) -> None:
    busy = signal("cpu_percent", "", percent, 10.0, 30.0)
    found = judged(tmp_path, busy, engaged("resource_pressure_monitor", "cpu", 14.0, 20.0))
    if percent < 50:
        assert (found.verdict, found.code) == (Verdict.FAIL, "control_clean.engaged")
    else:
        assert (found.verdict, found.code) == (Verdict.INCONCLUSIVE, "control_clean.engaged_with_cause")
        assert "resource_pressure_monitor(cpu): cpu_percent was at most 95" in found.because


def test_what_was_engaged_before_the_run_is_left_open(tmp_path: Path) -> None:
    before = engaged("resource_pressure_monitor", "cpu", 0.5, 3.0, before_run=True)
    found = judged(tmp_path / "before", before)
    assert (found.verdict, found.code) == (Verdict.INCONCLUSIVE, "control_clean.engaged_with_cause")
    again = engaged("resource_pressure_monitor", "cpu", 7.0, 9.0, incident_id="again")
    assert judged(tmp_path / "again", before, again).code == "control_clean.engaged"


def test_a_false_watchdog_that_kills_is_no_cause_of_its_own(tmp_path: Path) -> None:
    changes = (engaged("worker_watchdog", "htm_worker_1", 20.0, 22.0), signal("cpu_percent", "", 20.0, 10.0, 30.0))
    kill = {"what": "process", "old_pid": 1, "pid": 2}
    found = judged(
        tmp_path,
        *changes,
        lambda made: made.add(20.4, Kind.KERNEL_CHANGED, "htm_worker_1", "processes", **kill) and None,
    )
    assert found.code == "control_clean.engaged"


def test_a_plan_of_an_earlier_version_names_no_witnesses(tmp_path: Path) -> None:
    found = judged(tmp_path, engaged("resource_pressure_monitor", "cpu", 14.0, 20.0), alarms=False)
    assert (found.verdict, found.code) == (Verdict.FAIL, "control_clean.engaged")
