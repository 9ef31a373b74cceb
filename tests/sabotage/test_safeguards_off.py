"""With any one safeguard of the twin off, the scenario that expects it fails, in a finding that names it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.processes import ROOT, findings, finish, locust, pids_with, run_folder, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
SAFEGUARDS = ("acl_violation_monitor", "resource_pressure_monitor", "kernel_watchdog")
MF01 = ("--scenario", "MF01_triple_threat", "--time-scale", "0.1")


def named_by_a_failure(out: Path, safeguard: str) -> bool:
    red = [one for one in findings(run_folder(out)) if one["verdict"] == "FAIL"]
    return any(safeguard in one["claim"] + one["because"] for one in red)


def test_mf01_names_each_of_those_that_are_off(tmp_path: Path) -> None:
    code, said = finish(locust(*MF01, "--safeguards-off", ",".join(SAFEGUARDS), out=tmp_path))
    assert code == 1, said[-6000:]
    assert [one for one in SAFEGUARDS if named_by_a_failure(tmp_path, one)] == list(SAFEGUARDS)


@pytest.mark.alone
@pytest.mark.parametrize("safeguard", SAFEGUARDS)
def test_mf01_fails_without(tmp_path: Path, safeguard: str) -> None:
    code, said = finish(locust(*MF01, "--safeguards-off", safeguard, out=tmp_path))
    assert code == 1, said[-6000:]
    assert named_by_a_failure(tmp_path, safeguard)


def twin(folder: Path, action: str, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "harness.cli", "twin", action, "--dir", str(folder), *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize(
    "safeguard", [SAFEGUARDS[0], *(pytest.param(one, marks=pytest.mark.alone) for one in SAFEGUARDS[1:])]
)
def test_mf01_fails_on_a_twin_that_stays_without(tmp_path: Path, safeguard: str) -> None:
    """By `twin up`, `--host --target`, `twin status` and `twin down`; then nothing of it is left."""
    home, out = tmp_path / "home", tmp_path / "out"
    assert twin(home, "status").returncode == 3
    up = twin(home, "up", "--safeguards-off", safeguard)
    assert up.returncode == 0, up.stderr
    url, manifest = up.stdout.split()[0], home / "target.yaml"
    group = yaml.safe_load(manifest.read_text())["paths"].get("memory_cgroup")
    try:
        code, said = finish(locust(*MF01, "--host", url, "--target", str(manifest), out=out))
        assert code == 1, said[-6000:]
        assert named_by_a_failure(out, safeguard)
        status = twin(home, "status")
        assert status.returncode == 0 and url in status.stdout, "it stays: the run has not taken it along"
    finally:
        down = twin(home, "down")
    assert (down.returncode, down.stdout) == (0, "stopped\n"), down.stderr
    assert twin(home, "status").returncode == 3 and twin(home, "down").returncode == 0
    wait_for(lambda: not pids_with(str(home)), 5.0, "an end without orphans")
    wait_for(lambda: not pids_with(str(out)), 5.0, "an end of the guardian and its helpers")
    wait_for(lambda: group is None or not Path(group).exists(), 5.0, "an end of its cgroup")
