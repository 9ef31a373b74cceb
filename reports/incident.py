"""incident.json: the run in one object, for machines."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, ClassVar

from harness.metrics import METRICS
from harness.model import INVARIANT, Finding, Kind, Verdict, invariants_judged, overall
from harness.record import FaultRecord, Record


class Incident:
    """Times are seconds since the run started, but for the ISO times of the incident itself."""

    filename: ClassVar[str] = "incident.json"

    def render(self, record: Record, findings: Sequence[Finding]) -> str:
        return json.dumps(incident_of(record, findings), indent=1, ensure_ascii=False) + "\n"


def incident_of(record: Record, findings: Sequence[Finding]) -> dict[str, Any]:
    """The fields that users of the incident files know; null for what did not happen, never 0."""
    plan, answer = record.plan, overall(findings)
    started = record.first(Kind.RUN_STARTED)
    facts = dict(started.detail) if started else {}
    detections = [record.detection(step.step_id) for step in plan.steps]
    injected = [fault.injected for fault in record.faults if fault.injected]
    seen = [one.event for one in detections if one]
    traffic = record.traffic(0.0, record.end_s)
    return {
        "incident_id": f"chaos_{plan.scenario_id}_{record.folder.name}",
        "scenario_id": plan.scenario_id,
        "category": plan.category,
        "severity": plan.severity,
        "seed": plan.seed,
        "time_scale": plan.time_scale,
        "control": plan.control,
        "verdict": answer.value,
        "exit_code": answer.exit_code,
        "success": answer is Verdict.PASS,
        "injected_at": min((event.wall_time for event in injected), default=None),
        "detected_at": min((event.wall_time for event in seen), default=None),
        "recovered_at": record.recovered.wall_time if record.recovered else None,
        "recovery_time_seconds": _round(record.recovery_s),
        "faults": [_fault(record, fault) for fault in record.faults],
        "safeguards_triggered": sorted({one.safeguard for one in record.engagements}),
        "playbooks_executed": sorted({one.playbook for one in record.playbook_runs}),
        "invariants_judged": invariants_judged(findings),
        "not_judged": [{"invariant": one.check, "missing": list(one.missing)} for one in findings if not one.judged],
        "invariants": [_row(one) for one in findings if one.group == INVARIANT],
        "verifications": [_row(one) for one in findings if one.group not in ("criterion", INVARIANT)],
        "criteria": [_row(one) for one in findings if one.group == "criterion"],
        "metrics": {
            "cpu_peak": _metric(record, "cpu_usage_peak"),
            "memory_peak": _metric(record, "memory_usage_peak"),
            "disk_io_peak": _metric(record, "disk_io_peak"),
            "network_latency_p99_ms": _metric(record, "latency_p99"),
            "requests": traffic.count,
            "failures": traffic.failed,
            "shed": traffic.shed,
        },
        "environment": {key: facts.get(key) for key in ("target", "base_url", "harness_version")},
        "run_folder": record.folder.name,
        "repeat": facts.get("repeat"),
    }


def _fault(record: Record, fault: FaultRecord) -> dict[str, Any]:
    detection = record.detection(fault.step.step_id)
    attained_after = fault.attained.at_s - fault.injected.at_s if fault.attained and fault.injected else None
    lag = record.loop_lag_of(fault)
    return {
        "id": fault.step.step_id,
        "type": fault.step.type,
        "target": fault.step.target,
        "asked": {"name": fault.step.asked.name, "value": fault.step.asked.value, "unit": fault.step.asked.unit},
        "achieved": fault.achieved,
        "magnitudes": [asdict(one) for one in fault.table()],
        "witness": dict(fault.witness) or None,
        "attained_after_s": _round(attained_after),
        "detected_after_s": _round(detection.after_injected_s if detection else None),
        "detected_by": detection.safeguard if detection else None,
        "ended_by": fault.ended_by or None,
        "loop_lag_ms_p99": _round(lag[0] if lag else None),
        "healed": bool(fault.healed and fault.healed.detail.get("verified")),
    }


def _row(finding: Finding) -> dict[str, Any]:
    return {
        "code": finding.code,
        "claim": finding.claim,
        "group": finding.group,
        "verdict": finding.verdict.value,
        "because": finding.because,
        "evidence": list(finding.evidence),
        **({"missing": list(finding.missing)} if finding.missing else {}),
        **({"also": list(finding.also)} if finding.also else {}),
    }


def _metric(record: Record, name: str) -> float | None:
    found = METRICS[name](record)
    return None if found is None else round(found[0], 3)


def _round(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


REPORTER = Incident
