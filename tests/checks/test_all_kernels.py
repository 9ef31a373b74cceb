"""A fault of several kernels: each of them is faulted, in the plan, in plan.json and for no_cascading_failure."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from harness.checks.api_responsive import ApiResponsive
from harness.checks.no_cascading_failure import NoCascadingFailure
from harness.checks.restarted import Restarted
from harness.claims import parse
from harness.metrics import UNITS
from harness.model import Finding, Kind, Verdict
from harness.plan import Options, build_plan, plan_from_json, plan_to_json
from harness.scenario import load_file
from tests.drafts import CHECK, INJECTED, KNOWLEDGE, healthy
from tests.records import paper_target

TWO = ("memory_fusion", "governance")
OUTAGE = """scenario_id: MINE
category: deep_complexity
severity: 5
faults:
  - {type: kernel_kill, params: {targets: [governance, librarian]}}
  - {type: kernel_pause, target: scheduler, params: {pause_seconds: 20}}
"""


def look(folder: Path, kernels: tuple[str, ...]) -> Finding:
    """MF01, whose pause is aimed at *kernels*, and whose governance gets a new process and fails requests."""
    draft = healthy()
    steps = (replace(one, kernels=kernels) if one.step_id == "kernel_pause" else one for one in draft.plan.steps)
    draft.plan = replace(draft.plan, steps=tuple(steps))
    draft.add(INJECTED + 1.0, Kind.KERNEL_CHANGED, "governance", "processes", what="process", old_pid=8, pid=9)
    draft.requests = [
        replace(one, outcome="failed", status=502) if one.name == CHECK and INJECTED < one.at_s < INJECTED + 3 else one
        for one in draft.requests
    ]
    return NoCascadingFailure(claim="no cascading failure").check(draft.record(folder))


def test_a_kernel_that_a_fault_names_beside_its_subject_is_faulted(tmp_path: Path) -> None:
    assert look(tmp_path, TWO).verdict is Verdict.PASS


@pytest.mark.parametrize("kernels", [(), ("memory_fusion",), ("memory_fusion", "librarian")])
def test_any_other_is_dragged_along(tmp_path: Path, kernels: tuple[str, ...]) -> None:
    found = look(tmp_path, kernels)
    assert found.verdict is Verdict.FAIL and "kernels without a fault changed: governance" in found.because


def test_the_plan_names_them_and_keeps_them(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(OUTAGE)
    (scenario,) = load_file(tmp_path / "mine.yaml")
    plan, _ = build_plan(scenario, paper_target(tmp_path), Options(seed=1), UNITS)
    kill, pause = plan.steps
    assert (kill.kernels, kill.subject) == (("governance", "librarian"), "governance")
    assert (pause.kernels, pause.subject) == (("scheduler",), "scheduler")
    assert plan_from_json(plan_to_json(plan)) == plan


def test_the_restart_of_each_is_claimed_and_needs_the_fault(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(OUTAGE + "expected_playbooks: [kernel_restart]\n")
    (scenario,) = load_file(tmp_path / "mine.yaml")
    plan, _ = build_plan(scenario, paper_target(tmp_path), Options(seed=1), UNITS)
    claimed = {one.args["kernel"]: one.needs for one in plan.claims if one.check == "restarted"}
    kill, pause = (step.step_id for step in plan.steps)
    assert claimed == {"governance": (kill,), "librarian": (kill,), "scheduler": (pause,)}


@pytest.mark.parametrize(("at_s", "expected"), [(INJECTED + 1.0, Verdict.PASS), (INJECTED - 1.0, Verdict.FAIL)])
def test_one_that_a_fault_names_beside_its_subject_is_restarted_too(
    tmp_path: Path, at_s: float, expected: Verdict
) -> None:
    draft = healthy()
    steps = (replace(one, kernels=TWO) if one.step_id == "kernel_pause" else one for one in draft.plan.steps)
    draft.plan = replace(draft.plan, steps=tuple(steps))
    draft.add(at_s, Kind.KERNEL_CHANGED, "governance", "processes", what="process", old_pid=8, pid=9)
    draft.signals += [(half / 2, "route_up", CHECK, 1.0) for half in range(60)]
    check = Restarted(claim="governance restarted", kernel="governance", within_s=30.0)
    assert check.check(draft.record(tmp_path)).verdict is expected


def test_a_run_folder_from_before_is_still_read() -> None:
    plan = healthy().plan
    data = json.loads(plan_to_json(plan))
    for one in data["steps"]:
        del one["kernels"]
    unnamed = replace(plan, steps=tuple(replace(one, kernels=()) for one in plan.steps))
    assert plan_from_json(json.dumps(data)) == unnamed


@pytest.mark.parametrize(("hurt", "expected"), [(KNOWLEDGE, Verdict.PASS), (CHECK, Verdict.FAIL)])
def test_responsive_is_what_needs_no_faulted_kernel(tmp_path: Path, hurt: str, expected: Verdict) -> None:
    """memory_fusion is paused: its own route may be away all the while, no other."""
    draft = healthy()
    draft.requests = [
        replace(one, outcome="failed", status=504) if one.name == hurt and INJECTED < one.at_s < INJECTED + 6 else one
        for one in draft.requests
    ]
    assert ApiResponsive(claim="system_operational").check(draft.record(tmp_path)).verdict is expected


def test_operational_is_the_same_word_as_responsive() -> None:
    assert parse("system_operational", ["api_responsive"], {}, []).check == "api_responsive"
