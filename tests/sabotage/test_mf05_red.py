"""MF05_full_disk_no_log: it passes as shipped, and without a safeguard fails in a finding that names it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.disks import looked
from tests.processes import findings, finish, locust, run_folder

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
MF05 = ("--scenario", "MF05_full_disk_no_log", "--time-scale", "0.1")
# safeguard → a claim that is red without it, besides that it engages, and what that says
RED = {
    "dependency_latency_monitor": ("clients are answered from what is stored", "never engaged"),
    "queue_pressure_monitor": ("playbook queue_backpressure runs", "was never started"),
    "resource_pressure_monitor": ("playbook resource_pressure_disk runs", "was never started"),
    "log_write_guard": ("audit_trail_complete", "decisions have no entry"),
    "error_recognition_system": ("all_safeguards_triggered", "error_recognition_system did not engage"),
}


def red(out: Path, *words: str) -> list[dict[str, Any]]:
    """The findings of a run that failed; none for a user who may not mount, whose run says that it says nothing."""
    code, said = finish(locust(*MF05, *words, out=out))
    if not looked(code, said, run_folder(out)):
        return []
    assert code == 1, said[-6000:]
    return findings(run_folder(out))


def red_for(found: list[dict[str, Any]], safeguard: str) -> None:
    told = {one["claim"]: one["because"] for one in found if one["verdict"] == "FAIL"}
    assert f"safeguard {safeguard} engages" in told and safeguard in told["all_safeguards_triggered"]
    begin, words = RED[safeguard]
    assert any(claim.startswith(begin) and words in because for claim, because in told.items()), told


@pytest.mark.alone
@pytest.mark.parametrize("safeguard", RED)
def test_without_a_safeguard_it_fails_and_names_it(tmp_path: Path, safeguard: str) -> None:
    found = red(tmp_path, "--safeguards-off", safeguard)
    if not found:
        return
    red_for(found, safeguard)
    claims = {one["claim"] for one in found if one["verdict"] == "FAIL"}
    assert not {f"safeguard {name} engages" for name in RED if name != safeguard} & claims, claims


def test_without_any_of_them_each_is_named_and_it_is_done_without_a_record(tmp_path: Path) -> None:
    found = red(tmp_path, "--safeguards-off", ",".join(RED))
    for safeguard in RED if found else ():
        red_for(found, safeguard)
