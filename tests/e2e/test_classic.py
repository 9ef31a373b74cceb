"""The original suite end to end, as it is shipped: all fifteen scenarios in waves on one Grace, and each by itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from harness.classic import CLASSIC
from harness.model import Kind
from harness.record import Record
from harness.scenario import find, shipped_classic
from harness.wave_shares import shares
from tests.processes import ROOT, findings, finish, locust, pids_with, run_folder

pytestmark = [pytest.mark.slow, pytest.mark.timeout(420)]
SHIPPED = tuple(shipped_classic())
TWO_CORES = os.cpu_count() == 2  # what S03_cpu_spike is for; on any other machine it is NOT_APPLICABLE
S03, BURST = "S03_cpu_spike", "cpu_saturation_burst"
LEFT_OUT = () if TWO_CORES else (S03,)
AT_ONCE = ("pause_coding_agent_kernel", "acl_violation_spam", "memory_leak_simulation", "config_drift_injection")
WAVES = [
    (1, {"S01_heartbeat_pause"}),
    (2, {"S02_acl_spam"}),
    (2, {"task_topic_flood"}),
    (3, {S03 if TWO_CORES else BURST, *AT_ONCE, "heartbeat_stall_30s"}),
    *([(3, {BURST})] if TWO_CORES else []),
    (4, {"S04_kernel_crash"}),
    (5, {"kill_librarian_process", "corrupt_model_snapshot", "full_stack_breaker", "immutable_log_corruption"}),
]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    """(the report of `grace-chaos waves` over both files, where all of it lies)."""
    out = tmp_path_factory.mktemp("classic")
    command = [sys.executable, "-m", "harness.cli", "waves", *CLASSIC, "--time-scale", "0.1", "--seed", "5"]
    done = subprocess.run(
        [*command, "--out", str(out)], cwd=ROOT, capture_output=True, text=True, timeout=400, check=False
    )
    assert done.returncode == (4 if LEFT_OUT else 0), done.stdout[-6000:] + done.stderr[-2000:]
    assert not pids_with(str(out)), "nothing of it is left"
    (path,) = out.glob("chaos_report_*.json")
    return json.loads(path.read_text()), out


def test_all_of_them_pass_in_waves_of_rising_severity(run: tuple[dict[str, Any], Path]) -> None:
    report, _ = run
    verdicts = {row["scenario_id"]: row["verdict"] for row in report["scenarios"]}
    assert len(SHIPPED) == 15
    assert verdicts == {name: "NOT_APPLICABLE" if name in LEFT_OUT else "PASS" for name in SHIPPED}
    assert [(one["severity"], set(one["scenarios"])) for one in report["waves"]] == WAVES
    assert not report["escalations"] and not any(one["steady_before"] for one in report["waves"])


@pytest.mark.parametrize("name", SHIPPED)
def test_in_a_wave_each_is_shown_in_its_own_words(run: tuple[dict[str, Any], Path], name: str) -> None:
    report, out = run
    incidents = {one["scenario_id"]: out / one["incident_id"] for one in report["incidents"]}
    if name in LEFT_OUT:
        row = next(row for row in report["scenarios"] if row["scenario_id"] == name)
        assert "prerequisite '2_cores'" in row["because"]
    else:
        assert_shown(incidents[name], name)


def assert_shown(folder: Path, name: str) -> None:
    """Each line of its verification, each safeguard and playbook is a finding, and each finding is a PASS."""
    (scenario,) = find(name)
    told = {one["claim"]: one["verdict"] for one in findings(folder)}
    assert set(told.values()) == {"PASS"}, told
    wanted = [text for text, _ in scenario.verification]
    wanted += [f"safeguard {one} engages" for one in scenario.expected_safeguards]
    wanted += [f"playbook {one} runs and succeeds" for one in scenario.expected_playbooks]
    assert wanted and not set(wanted) - set(told)
    assert sum(one["check"] == "fault_attained" for one in findings(folder)) == len(scenario.faults)


def test_the_scenarios_of_each_wave_were_in_force_at_the_same_time(run: tuple[dict[str, Any], Path]) -> None:
    report, out = run
    for wave in report["waves"]:
        record = Record.load(out / wave["run_folder"])
        injected = [event.at_s for event in record.of_kind(Kind.FAULT_INJECTED)]
        assert len(injected) == sum(len(find(name)[0].faults) for name in wave["scenarios"])
        assert max(injected) - min(injected) < 1.0
        for share in shares(record.folder):
            (scenario,) = find(share.scenario_id)
            faults = share.incident["faults"]
            assert [one["type"] for one in faults] == [one.type for one in scenario.faults], "its own and no other's"
            seen = [one for one in faults if one["detected_after_s"] is not None]
            assert len(seen) >= len(scenario.expected_safeguards)


def test_each_incident_leaves_a_dump(run: tuple[dict[str, Any], Path]) -> None:
    report, out = run
    incidents = [one for one in report["incidents"] if one["scenario_id"] not in LEFT_OUT]
    for incident in incidents:
        name, place = incident["scenario_id"], out / incident["incident_id"]
        assert json.loads((place / "incident.json").read_text())["scenario_id"] == name
        assert (place / "scenario.yaml").read_text() == shipped_classic()[name].read_text()
        assert (place / "logs" / "api_server.log").exists()
        for when in ("control_plane_before", "control_plane_after"):
            names = {path.name for path in (place / when).iterdir()}
            assert {"kernels.json", "safeguards.json", "events.json", "playbooks.json", "metrics.txt"} <= names
    paused = next(one for one in incidents if one["scenario_id"] == "pause_coding_agent_kernel")
    stack = (out / paused["incident_id"] / "stacks" / "coding_agent.txt").read_text()
    assert "State:\tT (stopped)" in stack and ("run_kernel (" in stack or "no stack: py-spy says" in stack)


def test_what_was_done_stands_in_the_target_s_own_log_after_each_wave(run: tuple[dict[str, Any], Path]) -> None:
    report, out = run
    records = [Record.load(out / wave["run_folder"]) for wave in report["waves"]]
    for record in records:
        mine = [row for row in record.held("audit_after") or () if row.text("actor") == "external_auditor"]
        faults = len(record.plan.steps)
        assert sorted(row.text("action") for row in mine) == ["end_fault"] * faults + ["inject_fault"] * faults + [
            "run"
        ]
    first = {row.text("reference") for row in records[0].held("audit_after") or ()}
    mine = {one for one in first if one.startswith("external_auditor/")}
    before = {row.text("reference") for row in records[1].held("audit") or ()}
    assert mine and mine <= before, "one Grace for all waves, whose log goes on"


@pytest.mark.alone
@pytest.mark.parametrize("name", SHIPPED)
def test_each_passes_by_itself(tmp_path: Path, name: str) -> None:
    code, said = finish(locust("--scenario", name, "--time-scale", "0.1", "--seed", "5", out=tmp_path), 240)
    if name in LEFT_OUT:
        assert code == 4 and "2_cores" in said, said[-4000:]
        return
    assert code == 0, said[-6000:]
    assert_shown(run_folder(tmp_path), name)
