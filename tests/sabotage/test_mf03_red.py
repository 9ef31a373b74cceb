"""MF03_randomized_assault without the safeguards of what was drawn fails, in findings that name each of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.processes import findings, finish, locust, run_folder

pytestmark = [pytest.mark.slow, pytest.mark.alone, pytest.mark.timeout(300)]
MF03 = ("--scenario", "MF03_randomized_assault", "--time-scale", "0.1", "--seed", "7")
SAFEGUARDS = (
    "acl_violation_monitor",
    "resource_pressure_monitor",
    "dependency_latency_monitor",
    "rate_limiter",
    "model_integrity_check",
)  # all but the watchdog: without that a stopped kernel would hide what else is seen


def test_without_the_safeguards_of_its_faults_it_fails_and_names_each(tmp_path: Path) -> None:
    code, said = finish(locust(*MF03, "--safeguards-off", ",".join(SAFEGUARDS), out=tmp_path), 250)
    assert code == 1, said[-6000:]
    folder = run_folder(tmp_path)
    expected = json.loads((folder / "plan.json").read_text())["expected_safeguards"]
    gone = [name for name in expected if name in SAFEGUARDS]
    assert gone, "the seed draws faults that they are there for"
    red = {one["claim"]: one["because"] for one in findings(folder) if one["verdict"] == "FAIL"}
    for name in gone:
        assert name in red[f"safeguard {name} engages"] and name in red["all_safeguards_triggered"], red
    assert "all_faults_detected" in red and "each fault detected within 30 s" in red
