"""incident.json: the fields that its readers count on, and null for what did not happen."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from harness.judge import judge
from harness.model import Kind
from harness.record import Record
from reports.incident import Incident
from tests.drafts import NAME, healthy

PROMISED = {
    *("incident_id", "scenario_id", "category", "severity", "seed", "verdict", "success", "injected_at"),
    *("detected_at", "recovered_at", "recovery_time_seconds", "faults", "safeguards_triggered", "playbooks_executed"),
    *("verifications", "criteria", "metrics", "environment"),
    *("time_scale", "control", "exit_code", "run_folder", "repeat"),
}
OF_A_FAULT = {"type", "target", "asked", "achieved", "attained_after_s", "detected_after_s", "detected_by", "healed"}
METRICS = {"cpu_peak", "memory_peak", "disk_io_peak", "network_latency_p99_ms", "requests", "failures"}


def incident(record: Record) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(Incident().render(record, judge(record)))
    return data


def test_every_promised_field_is_there(tmp_path: Path) -> None:
    data = incident(healthy().record(tmp_path))
    assert set(data) >= PROMISED
    assert all(set(fault) >= OF_A_FAULT for fault in data["faults"])
    assert set(data["metrics"]) >= METRICS
    assert {"claim", "verdict", "because", "evidence"} <= set(data["verifications"][0]) & set(data["criteria"][0])


def test_a_healthy_run(tmp_path: Path) -> None:
    record = healthy().record(tmp_path)
    data = incident(record)
    assert (data["verdict"], data["success"], data["exit_code"]) == ("PASS", True, 0)
    assert data["incident_id"] == f"chaos_MF01_triple_threat_{NAME}" and data["run_folder"] == NAME
    assert data["injected_at"] == "2026-09-21T14:13:28.100Z" < data["detected_at"] < data["recovered_at"]
    assert data["recovery_time_seconds"] == 14.7
    flood = data["faults"][0]
    assert (flood["type"], flood["detected_by"], flood["healed"]) == ("acl_flood", "acl_violation_monitor", True)
    assert (flood["asked"]["value"], flood["achieved"]["mean"]) == (1000.0, 1000.4)
    assert (flood["attained_after_s"], flood["detected_after_s"]) == (1.1, 0.05)
    assert data["safeguards_triggered"] == ["acl_violation_monitor", "kernel_watchdog", "resource_pressure_monitor"]
    assert data["metrics"]["cpu_peak"] == 91.0
    assert data["metrics"]["requests"] == sum(row.count for row in record.requests)
    rows = [*data["verifications"], *data["criteria"], *data["invariants"]]
    assert len(rows) == len(record.plan.claims)
    assert [one["name"] for one in flood["magnitudes"]] == ["rate", "duration"]
    assert flood["magnitudes"][0]["witnessed"] == 1000.4


def test_what_did_not_happen_is_null_and_never_zero(tmp_path: Path) -> None:
    draft = healthy()
    draft.events = [row for row in draft.events if row.kind in (Kind.RUN_STARTED, Kind.FAULT_PLANNED)]
    draft.signals, draft.requests = [], []
    data = incident(draft.record(tmp_path))
    assert data["verdict"] == "INCONCLUSIVE" and data["success"] is False and data["exit_code"] == 3
    for key in ("injected_at", "detected_at", "recovered_at", "recovery_time_seconds"):
        assert data[key] is None
    for key in ("cpu_peak", "memory_peak", "disk_io_peak", "network_latency_p99_ms"):
        assert data["metrics"][key] is None
    for fault in data["faults"]:
        assert fault["healed"] is False
        assert [fault[key] for key in ("achieved", "attained_after_s", "detected_after_s", "detected_by")] == [None] * 4


def test_a_failed_run_is_no_success(tmp_path: Path) -> None:
    data = incident(healthy().drop(Kind.SAFEGUARD_ENGAGED, "kernel_watchdog").record(tmp_path))
    assert (data["verdict"], data["success"], data["exit_code"]) == ("FAIL", False, 1)
    assert "kernel_watchdog" not in data["safeguards_triggered"]
