"""The original suite end to end: two of its scenarios as they are shipped, and both red without their safeguards."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.processes import findings, finish, locust

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
SCENARIOS = ("S01_heartbeat_pause", "immutable_log_corruption")
GUARDS = {"S01_heartbeat_pause": "kernel_watchdog", "immutable_log_corruption": "log_integrity_monitor"}
RED = {
    "S01_heartbeat_pause": ("check_restarted: librarian within 30s", "no new process for librarian"),
    "immutable_log_corruption": ("check_log_integrity: valid", "not made what they were by the target"),
}


def run(out: Path, *words: str) -> tuple[int, dict[str, list[dict[str, Any]]], str]:
    """(exit code, findings by scenario, what was printed)."""
    asked = ("--scenario", ",".join(SCENARIOS), "--time-scale", "0.1", "--seed", "5", "--only-summary")
    code, said = finish(locust(*asked, *words, out=out), 240)
    (path,) = out.glob("chaos_report_*.json")
    rows = json.loads(path.read_text())["scenarios"]
    assert [row["scenario_id"] for row in rows] == list(SCENARIOS), said[-4000:]
    return code, {row["scenario_id"]: findings(out / row["run_folder"]) for row in rows}, said


def test_as_shipped_they_pass_in_their_own_words(tmp_path: Path) -> None:
    code, found, said = run(tmp_path)
    assert code == 0, said[-6000:]
    for name, told in found.items():
        assert {one["verdict"] for one in told} == {"PASS"}
        assert RED[name][0] in {one["claim"] for one in told}


def test_without_their_safeguards_they_fail_and_name_them(tmp_path: Path) -> None:
    code, found, said = run(tmp_path, "--safeguards-off", ",".join(GUARDS.values()))
    assert code == 1, said[-6000:]
    for name, guard in GUARDS.items():
        red = {one["claim"]: one["because"] for one in found[name] if one["verdict"] == "FAIL"}
        assert guard in red[f"safeguard {guard} engages"]
        claim, words = RED[name]
        assert words in red[claim], red
