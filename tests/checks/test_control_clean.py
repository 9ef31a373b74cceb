"""A control run: an engagement without cause is a FAIL; with one, from before the run, or none: INCONCLUSIVE."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from harness.checks.control_clean import ControlClean
from harness.model import Finding, Kind, Verdict
from tests.checks.test_bystanders import Break, answered, draft, engaged, signal
from tests.drafts import CHECK, Draft, healthy, mf01_plan

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


@pytest.mark.parametrize(
    ("safeguard", "subject", "witness"),
    [
        ("resource_pressure_monitor", "memory", ("memory_percent", "target", 91.0)),
        ("queue_pressure_monitor", "htm_queue", ("htm_queue_depth", "", 260.0)),
        ("kernel_watchdog", "sandbox", ("kernel_heartbeat_age_s", "sandbox", 2.6)),
        ("dependency_latency_monitor", "governance", ("route_latency_ms", CHECK, 180.0)),
        ("dependency_breaker", "governance", ("route_up", CHECK, 0.0)),
        ("error_recognition_system", "governance", ("route_latency_ms", CHECK, 900.0)),
        ("rate_limiter", "127.0.0.2", None),
    ],
)
def test_each_alarm_has_a_witness_of_its_own(
    tmp_path: Path, safeguard: str, subject: str, witness: tuple[str, str, float] | None
) -> None:
    alarm = engaged(safeguard, subject, 20.0, 22.0)
    calm = signal("kernel_heartbeat_age_s", "sandbox", 0.2, 0.0, 36.0)
    assert judged(tmp_path / "calm", calm, alarm).code == "control_clean.engaged"
    cause = signal(*witness, 17.0, 21.0) if witness else answered(20.0, CHECK, "ok", 200, 400)
    assert judged(tmp_path / "cause", alarm, cause).code == "control_clean.engaged_with_cause"


@pytest.mark.parametrize(
    ("safeguard", "subject", "kind", "source"),
    [
        ("model_integrity_check", "trust_scorer.pkl", Kind.FILE_CHANGED, "file_hashes"),
        ("error_recognition_system", "trust_scorer.pkl", Kind.SYMPTOM_SEEN, "model_answers"),
        ("kernel_watchdog", "sandbox", Kind.KERNEL_CHANGED, "processes"),
    ],
)
def test_what_was_seen_before_an_alarm_is_its_cause(
    tmp_path: Path, safeguard: str, subject: str, kind: Kind, source: str
) -> None:
    alarm = engaged(safeguard, subject, 20.0, 22.0)
    found = judged(
        tmp_path, alarm, lambda made: made.add(19.0, kind, subject, source, what="state", to="gone") and None
    )
    assert found.code == "control_clean.engaged_with_cause"


def test_a_playbook_after_an_alarm_makes_no_cause(tmp_path: Path) -> None:
    about = {"subject": "sandbox", "incident_id": "kernel_watchdog-sandbox"}

    def restarts(made: Draft) -> None:
        made.add(20.01, Kind.PLAYBOOK_STARTED, "kernel_restart", "control_plane", **about)
        made.add(20.4, Kind.PLAYBOOK_FINISHED, "kernel_restart", "control_plane", **about, outcome="succeeded")
        made.add(20.2, Kind.KERNEL_CHANGED, "sandbox", "processes", what="process", old_pid=1, pid=2)

    calm = signal("kernel_heartbeat_age_s", "sandbox", 0.2, 0.0, 36.0)
    again = engaged("kernel_watchdog", "sandbox", 25.0, 27.0, incident_id="again")
    found = judged(tmp_path, calm, engaged("kernel_watchdog", "sandbox", 20.0, 22.0), restarts, again)
    assert found.code == "control_clean.engaged" and len(found.evidence) == 2


def test_a_plan_of_an_earlier_version_names_no_witnesses(tmp_path: Path) -> None:
    found = judged(tmp_path, engaged("resource_pressure_monitor", "cpu", 14.0, 20.0), alarms=False)
    assert (found.verdict, found.code) == (Verdict.FAIL, "control_clean.engaged")
