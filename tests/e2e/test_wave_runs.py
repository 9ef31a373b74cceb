"""A test run in waves from plain asyncio: two scenarios at a time, one escalated, one that is not run for it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from harness.model import Kind
from harness.record import Record
from harness.wave_shares import shares
from tests.processes import ROOT, pids_with

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]
MINE = """
scenarios:
  - id: paused
    severity: 1
    injection: {method: pause_kernel, params: {kernel: librarian, seconds: 30}}
    expected_recovery: {watchdog: kernel_watchdog, playbook: kernel_restart, max_seconds: 60}
    verification: [{check_restarted: librarian within 30s}]
  - id: killed
    severity: 1
    injection: {method: kill_process, params: {kernel: sandbox}}
    expected_recovery: {watchdog: kernel_watchdog, playbook: kernel_restart, max_seconds: 60}
    verification: [{check_restarted: sandbox within 30s}]
  - id: unseen
    severity: 2
    injection: {method: acl_spam, params: {topic: system.control, messages: 60}}
    expected_recovery: {watchdog: acl_violation_monitor, max_seconds: 60}
    verification: [{check_acl_violations: ">= 60"}]
  - id: worse
    severity: 4
    injection: {method: kill_process, params: {kernel: coding_agent}}
    expected_recovery: {watchdog: kernel_watchdog, max_seconds: 60}
    verification: [{check_kernel_state: coding_agent == running}]
"""
PLAIN = """
import asyncio, json, sys
from harness.waves import concurrent_chaos_runner

report = asyncio.run(concurrent_chaos_runner.start_test_run(
    [sys.argv[1]], time_scale=0.1, seed=5, out=sys.argv[2], safeguards_off=["acl_violation_monitor"]))
import gevent.monkey, socket
assert not gevent.monkey.saved and socket.socket.__module__ == "socket" and "locust" not in sys.modules
print(json.dumps(report))
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    """(the report, where all of it lies)."""
    folder = tmp_path_factory.mktemp("waves")
    (folder / "mine.yaml").write_text(MINE)
    command = [sys.executable, "-c", PLAIN, str(folder / "mine.yaml"), str(folder / "out")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=360, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert not pids_with(str(folder)), "nothing of it is left"
    return json.loads(done.stdout), folder / "out"


def told(report: dict[str, Any]) -> str:
    return json.dumps(report["scenarios"], indent=1)


def test_one_scenario_fails_alone_and_the_more_severe_is_not_run(run: tuple[dict[str, Any], Path]) -> None:
    report, _ = run
    verdicts = {row["scenario_id"]: row["verdict"] for row in report["scenarios"]}
    assert verdicts == {"paused": "PASS", "killed": "PASS", "unseen": "FAIL", "worse": "INCONCLUSIVE"}, told(report)
    assert [(one["scenarios"], one["state"]) for one in report["waves"]] == [
        *((["paused", "killed"], "ended"), (["unseen"], "ended"), (["worse"], "not run")),
    ]
    assert (report["passed"], report["total_scenarios"], report["exit_code"]) == (2, 4, 1)
    (one,) = report["escalations"]
    assert (one["wave"], one["scenario_id"], one["stopped"]) == (2, "unseen", ["worse"])
    assert "acl_violation_monitor" in one["claim"] and one["evidence"]


def test_the_scenarios_of_a_wave_were_in_force_at_the_same_time(run: tuple[dict[str, Any], Path]) -> None:
    report, out = run
    record = Record.load(out / report["scenarios"][0]["run_folder"])
    assert record.plan.scenario_id == "paused+killed" and set(record.plan.parts) == {"paused", "killed"}
    injected = [event.at_s for event in record.of_kind(Kind.FAULT_INJECTED)]
    assert len(injected) == 2 and max(injected) - min(injected) < 1.0
    each = {one.scenario_id: one.incident["faults"] for one in shares(record.folder)}
    assert {name: [one["type"] for one in faults] for name, faults in each.items()} == {
        "paused": ["kernel_pause"],
        "killed": ["kernel_kill"],
    }
    assert all(one["detected_after_s"] is not None for faults in each.values() for one in faults)


def test_each_incident_leaves_a_dump(run: tuple[dict[str, Any], Path]) -> None:
    report, out = run
    for incident in report["incidents"][:3]:
        place = out / incident["incident_id"]
        assert json.loads((place / "incident.json").read_text())["scenario_id"] == incident["scenario_id"]
        assert (place / "scenario.yaml").read_text() == MINE and (place / "logs" / "api_server.log").exists()
        for when in ("control_plane_before", "control_plane_after"):
            names = {path.name for path in (place / when).iterdir()}
            assert {"kernels.json", "safeguards.json", "events.json", "playbooks.json", "metrics.txt"} <= names
    stack = (out / report["incidents"][0]["incident_id"] / "stacks" / "librarian.txt").read_text()
    assert "State:\tT (stopped)" in stack and ("run_kernel (" in stack or "no stack: py-spy says" in stack)
    assert (out / report["escalations"][0]["incident_id"] / "escalation.json").exists()


def test_what_was_done_stands_in_the_target_s_own_log_after_each_wave(run: tuple[dict[str, Any], Path]) -> None:
    report, out = run
    first, second = (Record.load(out / report["waves"][n]["run_folder"]) for n in (0, 1))
    mine = [row for row in first.held("audit_after") or () if row.text("actor") == "external_auditor"]
    assert sorted(row.text("action") for row in mine) == ["end_fault"] * 2 + ["inject_fault"] * 2 + ["run"]
    assert not [row for row in first.held("audit") or () if row.text("actor") == "external_auditor"]
    before = {row.text("reference") for row in second.held("audit") or ()}
    assert {row.text("reference") for row in mine} <= before, "one Grace for all waves, whose log goes on"
