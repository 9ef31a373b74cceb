"""With any one safeguard of the twin off, the scenario that expects it fails, in a finding that names it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.processes import findings, finish, locust, run_folder

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.mark.parametrize("safeguard", ["acl_violation_monitor", "resource_pressure_monitor", "kernel_watchdog"])
def test_mf01_fails_without(tmp_path: Path, safeguard: str) -> None:
    words = ("--scenario", "MF01_triple_threat", "--time-scale", "0.1", "--safeguards-off", safeguard)
    code, said = finish(locust(*words, out=tmp_path))
    assert code == 1, said[-6000:]
    red = [one for one in findings(run_folder(tmp_path)) if one["verdict"] == "FAIL"]
    assert any(safeguard in one["claim"] + one["because"] for one in red)
