"""DC01_sustained_pressure without its safeguard fails, in findings that name it; the platform bears it all the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.processes import findings, finish, locust, run_folder

pytestmark = [pytest.mark.slow, pytest.mark.alone, pytest.mark.timeout(300)]
DC01 = ("--scenario", "DC01_sustained_pressure", "--time-scale", "0.1", "--seed", "7")
MONITOR = "resource_pressure_monitor"
RED = {  # claim → the words that say why
    f"safeguard {MONITOR} engages": f"{MONITOR} did not engage for cpu_pressure, memory_pressure",
    "playbook resource_pressure_cpu runs and succeeds": "was never started for cpu",
    "playbook resource_pressure_memory runs and succeeds": "was never started for memory",
    "clients see work deferred, while the pressure lasts and only then": f"{MONITOR} never engaged",
    "playbooks_repeat": "resource_pressure_cpu 0, resource_pressure_memory 0",
}
CRITERIA = ("operational throughout", "only graceful degradation", "all kernels survive", "state consistent")


def test_without_its_safeguard_it_fails_and_names_it(tmp_path: Path) -> None:
    code, said = finish(locust(*DC01, "--safeguards-off", MONITOR, out=tmp_path), 250)
    assert code == 1, said[-6000:]
    found = findings(run_folder(tmp_path))
    red = {one["claim"]: one["because"] for one in found if one["verdict"] == "FAIL"}
    assert set(red) >= set(RED) and all(words in red[claim] for claim, words in RED.items()), red
    rows = {one["claim"]: one["verdict"] for one in found if one["group"] == "criterion"}
    assert all(rows.get(claim) == "PASS" for claim in CRITERIA), rows
