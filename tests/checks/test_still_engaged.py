"""A second fault that begins while its safeguard is engaged for the first: nobody can tell, and nobody is accused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from harness import catalog
from harness.model import Kind, Verdict
from tests.drafts import CPU_END, RECOVERED, SHED_END, Draft, healthy

PASS, FAIL, UNSURE = Verdict.PASS, Verdict.FAIL, Verdict.INCONCLUSIVE
MONITOR, PLAYBOOK, SECOND = "resource_pressure_monitor", "resource_pressure_cpu", "cpu_spike#2"
CUT_OFF = "message_bus_acl_violation_fix"
ASKED = [
    ("each_fault_detected", {}, "not_detected"),
    ("safeguard_engaged", {"safeguard": MONITOR}, "not_engaged"),
    ("playbook_ran", {"playbook": PLAYBOOK}, "not_started"),
    ("alerts_raised", {}, "no_alert"),
]


def again(draft: Draft, first: str, at_s: float, end_s: float) -> Draft:
    """The fault *first* once more, from *at_s* to *end_s*."""
    second, old = f"{first}#2", next(one for one in draft.plan.steps if one.step_id == first)
    coverage = {**draft.plan.coverage, second: draft.plan.coverage[first]}
    subjects = {**draft.plan.subjects, second: draft.plan.subjects.get(first, {})}
    steps = (*draft.plan.steps, replace(old, step_id=second, duration_s=end_s - at_s))
    draft.plan = replace(draft.plan, steps=steps, coverage=coverage, subjects=subjects)
    value = old.asked.value
    achieved = {"mean": value, "sd": 0.0, "p5": value, "p95": value, "max": value, "n": 20.0}
    draft.add(at_s - 0.1, Kind.FAULT_PLANNED, second, "conductor")
    draft.add(at_s, Kind.FAULT_INJECTED, second, "conductor", mechanism="on paper")
    draft.add(at_s, Kind.FAULT_ATTAINED, second, "conductor", achieved=value)
    draft.add(end_s, Kind.FAULT_ENDED, second, "conductor", ended_by="plan", because="", achieved=achieved)
    draft.add(end_s + 0.1, Kind.FAULT_HEALED, second, "conductor", verified=True)
    for step in draft.plan.steps:  # an alert with each engagement
        for name, _ in draft.plan.coverage[step.step_id] if step.step_id != second else ():
            for event in [one for one in draft.events if (one.kind, one.subject) == (Kind.SAFEGUARD_ENGAGED, name)]:
                draft.add(event.at_s, Kind.ALERT_RAISED, name, "control_plane", subject=event.detail["subject"])
    return draft


@pytest.mark.parametrize(("check", "args", "code"), ASKED)
@pytest.mark.parametrize(
    ("at_s", "end_s", "expected"),
    [
        (12.0, 18.0, UNSURE),  # all of it while it was engaged
        (12.0, 24.0, UNSURE),  # it let go while this one had little time left
        (12.0, SHED_END + 11, FAIL),  # long enough to be seen anew
        (SHED_END + 1, SHED_END + 7, FAIL),  # it had let go before
    ],
)
def test_the_second_of_two(
    tmp_path: Path, check: str, args: dict[str, str], code: str, at_s: float, end_s: float, expected: Verdict
) -> None:
    record = again(healthy(), "cpu_spike", at_s, end_s).record(tmp_path)
    found = catalog.build_check(check, "x", args).check(record)
    code = "still_engaged" if expected is UNSURE else code
    assert (found.verdict, found.code) == (expected, f"{check}.{code}"), found
    assert expected is UNSURE or SECOND in found.because or check == "playbook_ran"


@pytest.mark.parametrize(("check", "args", "code"), ASKED)
def test_one_that_was_seen_anew_is_seen(tmp_path: Path, check: str, args: dict[str, str], code: str) -> None:
    draft = again(healthy(), "cpu_spike", 12.0, 24.0)
    told = {"subject": "cpu", "incident_id": "again"}
    for at_s, kind, name in (
        (20.0, Kind.SAFEGUARD_ENGAGED, MONITOR),
        (20.0, Kind.ALERT_RAISED, MONITOR),
        (20.1, Kind.PLAYBOOK_STARTED, PLAYBOOK),
        (26.0, Kind.SAFEGUARD_RELEASED, MONITOR),
    ):
        draft.add(at_s, kind, name, "control_plane", **told)
    draft.add(20.2, Kind.PLAYBOOK_FINISHED, PLAYBOOK, "control_plane", **told, outcome="succeeded")
    assert catalog.build_check(check, "x", args).check(draft.record(tmp_path)).verdict is PASS


@pytest.mark.parametrize(("check", "args", "code"), ASKED[:2])
def test_another_one_that_nobody_saw_is_named_alone(
    tmp_path: Path, check: str, args: dict[str, str], code: str
) -> None:
    draft = again(again(healthy(), "cpu_spike", 12.0, 18.0), "cpu_spike#2", SHED_END + 2, SHED_END + 9)
    found = catalog.build_check(check, "x", args).check(draft.record(tmp_path))
    assert (found.verdict, found.code) == (FAIL, f"{check}.{code}")
    assert "cpu_spike#2#2" in found.because and "cpu_spike#2," not in found.because


def test_an_actor_that_is_cut_off_already_is_not_cut_off_again(tmp_path: Path) -> None:
    for at_s, expected in ((CPU_END + 3, UNSURE), (RECOVERED + 1, FAIL)):
        draft = again(healthy(), "acl_flood", at_s, at_s + 3)
        check = catalog.build_check("actor_cut_off", "x", {"playbook": CUT_OFF, "step_id": "acl_flood#2"})
        assert check.check(draft.record(tmp_path / str(at_s))).verdict is expected
