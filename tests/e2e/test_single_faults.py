"""Each of the eight faults of MF03_randomized_assault alone: seen and answered; red without its safeguard."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.processes import ROOT, findings, finish, locust, run_folder

pytestmark = [pytest.mark.slow, pytest.mark.timeout(200)]

ANSWERS = {  # fault → (its safeguard, its playbook)
    "acl_flood": ("acl_violation_monitor", "message_bus_acl_violation_fix"),
    "cpu_spike": ("resource_pressure_monitor", "resource_pressure_cpu"),
    "memory_pressure": ("resource_pressure_monitor", "resource_pressure_memory"),
    "disk_io_saturation": ("resource_pressure_monitor", "resource_pressure_disk"),
    "network_latency": ("dependency_latency_monitor", "dependency_bypass"),
    "kernel_pause": ("kernel_watchdog", "kernel_restart"),
    "api_spam": ("rate_limiter", ""),
    "model_corruption": ("model_integrity_check", "model_restore"),
}
UNSEEN_ELSEWHERE = ("network_latency",)  # no other scenario of `make test` goes without its safeguard
ALONE = pytest.mark.alone
MENDED_ALL_THE_SAME = ("model_corruption",)  # error_recognition_system reads of it in the logs, and starts the playbook


def entries() -> dict[str, dict[str, Any]]:
    """The faults of the pool as they are shipped, by type."""
    text = (ROOT / "scenarios" / "enhanced" / "MF03_randomized_assault.yaml").read_text(encoding="utf-8")
    return {entry["type"]: entry for entry in yaml.safe_load(text)["fault_pool"]}


def run(folder: Path, fault: str, *words: str) -> tuple[int, list[dict[str, Any]], str]:
    """One fault alone at a tenth of its length: (exit code, findings, what was printed)."""
    safeguard, playbook = ANSWERS[fault]
    scenario = {
        "scenario_id": f"single_{fault}",
        "category": "multi_fault",
        "faults": [entries()[fault]],
        "expected_safeguards": [safeguard],
        "expected_playbooks": [playbook] if playbook else [],
        "max_recovery_time": 60,
    }
    path = folder / f"{fault}.yaml"
    path.write_text(yaml.safe_dump(scenario), encoding="utf-8")
    process = locust("--scenario", str(path), "--time-scale", "0.1", "--seed", "1", *words, out=folder / "out")
    code, said = finish(process, 150)
    return code, findings(run_folder(folder / "out")), said


@pytest.mark.beside
def test_these_are_the_eight() -> None:
    assert set(entries()) == set(ANSWERS)


@pytest.mark.alone
@pytest.mark.parametrize("fault", ANSWERS)
def test_alone_it_is_seen_and_answered(tmp_path: Path, fault: str) -> None:
    code, found, said = run(tmp_path, fault)
    assert code == 0, said[-6000:]
    assert {one["verdict"] for one in found} == {"PASS"}
    safeguard, playbook = ANSWERS[fault]
    claims = {one["claim"] for one in found}
    assert f"safeguard {safeguard} engages" in claims
    assert not playbook or f"playbook {playbook} runs and succeeds" in claims


@pytest.mark.parametrize(
    "fault", [one if one in UNSEEN_ELSEWHERE else pytest.param(one, marks=ALONE) for one in ANSWERS]
)
def test_without_its_safeguard_it_fails_and_names_it(tmp_path: Path, fault: str) -> None:
    safeguard, playbook = ANSWERS[fault]
    code, found, said = run(tmp_path, fault, "--safeguards-off", safeguard)
    assert code == 1, said[-6000:]
    red = {one["claim"]: one["because"] for one in found if one["verdict"] == "FAIL"}
    assert safeguard in red[f"safeguard {safeguard} engages"]
    if playbook and fault not in MENDED_ALL_THE_SAME:
        assert "was never started" in red[f"playbook {playbook} runs and succeeds"]
