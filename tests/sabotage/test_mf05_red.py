"""MF05_full_disk_no_log: it passes as shipped, and without a safeguard fails in a finding that names it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.mounts import may_mount
from tests.processes import findings, finish, locust, run_folder

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
MF05 = ("--scenario", "MF05_full_disk_no_log", "--time-scale", "0.1")
NOT_APPLICABLE = 4
# safeguard → a claim that is red without it, besides that it engages, and what that says
RED = {
    "dependency_latency_monitor": ("clients are answered from what is stored", "never engaged"),
    "queue_pressure_monitor": ("playbook queue_backpressure runs", "was never started"),
    "resource_pressure_monitor": ("playbook resource_pressure_disk runs", "was never started"),
    "log_write_guard": ("audit_trail_complete", "decisions have no entry"),
    "error_recognition_system": ("all_safeguards_triggered", "error_recognition_system did not engage"),
}


def run(out: Path, *words: str) -> tuple[int, list[dict[str, Any]], str]:
    code, said = finish(locust(*MF05, *words, out=out))
    return code, findings(run_folder(out)), said


def without_a_disk(code: int, found: list[dict[str, Any]], said: str) -> bool:
    """For a user who may not mount, it is said why the scenario says nothing; whether that is so."""
    if may_mount():
        return False
    assert code == NOT_APPLICABLE and "this user may not mount one" in said, said[-6000:]
    assert {one["verdict"] for one in found if "audit_disk" in one["because"]} == {"NOT_APPLICABLE"}
    return True


def red_for(found: list[dict[str, Any]], safeguard: str) -> None:
    red = {one["claim"]: one["because"] for one in found if one["verdict"] == "FAIL"}
    assert f"safeguard {safeguard} engages" in red and safeguard in red["all_safeguards_triggered"]
    begin, words = RED[safeguard]
    assert any(claim.startswith(begin) and words in because for claim, because in red.items()), red


@pytest.mark.alone
@pytest.mark.parametrize("safeguard", RED)
def test_without_a_safeguard_it_fails_and_names_it(tmp_path: Path, safeguard: str) -> None:
    code, found, said = run(tmp_path, "--safeguards-off", safeguard)
    if without_a_disk(code, found, said):
        return
    assert code == 1, said[-6000:]
    red_for(found, safeguard)
    red = {one["claim"] for one in found if one["verdict"] == "FAIL"}
    assert not {f"safeguard {name} engages" for name in RED if name != safeguard} & red, red


def test_without_any_of_them_each_is_named_and_it_is_done_without_a_record(tmp_path: Path) -> None:
    code, found, said = run(tmp_path, "--safeguards-off", ",".join(RED))
    if without_a_disk(code, found, said):
        return
    assert code == 1, said[-6000:]
    for safeguard in RED:
        red_for(found, safeguard)
