"""A test run in waves from plain asyncio: of two at a time one fails and is escalated, and one is not run for it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.processes import ROOT, pids_with

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]
MINE = """
scenarios:
  - id: killed
    severity: 1
    injection: {method: kill_process, params: {kernel: sandbox}}
    expected_recovery: {watchdog: kernel_watchdog, playbook: kernel_restart, max_seconds: 60}
    verification: [{check_restarted: sandbox within 30s}]
  - id: unseen
    severity: 1
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
    assert verdicts == {"killed": "PASS", "unseen": "FAIL", "worse": "INCONCLUSIVE"}, told(report)
    waves = [(one["scenarios"], one["state"]) for one in report["waves"]]
    assert waves == [(["killed", "unseen"], "ended"), (["worse"], "not run")]
    assert (report["passed"], report["total_scenarios"], report["exit_code"]) == (1, 3, 1)
    (one,) = report["escalations"]
    assert (one["wave"], one["scenario_id"], one["stopped"]) == (1, "unseen", ["worse"])
    assert "acl_violation_monitor" in one["claim"] and one["evidence"]


def test_what_was_escalated_is_told_beside_the_dump(run: tuple[dict[str, Any], Path]) -> None:
    report, out = run
    (one,) = report["escalations"]
    assert json.loads((out / one["incident_id"] / "escalation.json").read_text()) == one
    assert (out / one["incident_id"] / "scenario.yaml").read_text() == MINE
