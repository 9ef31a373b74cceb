"""What this user or this target cannot have is told before anything starts, and stands in the plan."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.metrics import UNITS
from harness.model import Plan
from harness.plan import Options, build_plan, describe
from harness.scenario import load_file
from tests.drafts import PaperTarget

HEAD = "scenario_id: X\nfaults:\n  - {type: "


def planned(folder: Path, fault: str) -> Plan:
    (folder / "mine.yaml").write_text(f"{HEAD}{fault}}}\n")
    scenario = load_file(folder / "mine.yaml")[0]
    return build_plan(scenario, PaperTarget(paths={"root": folder, "empty": folder / "empty"}), Options(seed=1), UNITS)[
        0
    ]


@pytest.mark.parametrize("may", [True, False])
def test_a_mount_that_this_user_may_not_make_does_not_apply(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, may: bool
) -> None:
    """Not minutes later, after a baseline: then it would be a fault that was lost."""
    (tmp_path / "empty").mkdir()
    monkeypatch.setattr("faults.disk_full.may_mount", lambda: may)
    plan = planned(tmp_path, "disk_full, params: {path: empty, mount_mib: 4, duration_seconds: 9}")
    said = f"disk_full: this user may not mount a file system on {tmp_path / 'empty'}"
    assert plan.not_applicable == (() if may else (said,))


def test_a_disk_that_is_not_the_target_s_own_is_told(tmp_path: Path) -> None:
    """A target may yet mount it: the run shows."""
    plan = planned(tmp_path, "disk_full, params: {path: root, duration_seconds: 9}")
    said = describe(plan)
    assert plan.not_applicable == () and "disk_full cannot be done as things are: " in said
    assert "on the root file system, which is never filled" in said or "shares the file system of" in said


@pytest.mark.parametrize(("scope", "told"), [("target", True), ("machine", False)])
def test_a_target_without_a_group_of_its_own_is_told_that_the_machine_gets_short(
    tmp_path: Path, scope: str, told: bool
) -> None:
    params = f"params: {{memory_percent: 80, duration_seconds: 9, scope: {scope}}}"
    said = "memory_pressure makes the whole machine short of memory, not the target alone: the manifest names no"
    assert (said in describe(planned(tmp_path, f"memory_pressure, {params}"))) is told
