"""MF04_retry_storm as it is shipped: the storm outlasts both faults, at any time scale, and each fault is covered."""

from __future__ import annotations

import pytest

from harness.metrics import UNITS
from harness.model import Plan
from harness.plan import Options, build_plan
from harness.scenario import find
from tests.drafts import PaperTarget
from tests.processes import ROOT
from twin.config import Thresholds
from twin.signatures import DELIVERED, shape_of

LIMITS = Thresholds()
COMPLAINT = "{} does not answer: calls to it are refused until it does"  # of the gateway, by its breaker
OUTAGE_S = 10.0  # of both faults together, with their slow starts: more than was ever seen


def plan_at(time_scale: float) -> Plan:
    (scenario,) = find("MF04_retry_storm")
    return build_plan(scenario, PaperTarget(), Options(seed=7, time_scale=time_scale), UNITS)[0]


@pytest.mark.parametrize("time_scale", [1.0, 0.1])
def test_the_storm_outlasts_the_faults(time_scale: float) -> None:
    plan = plan_at(time_scale)
    storm, kill, pause = plan.steps
    assert (storm.type, kill.type, pause.type) == ("api_flood", "kernel_kill", "kernel_pause")
    assert storm.params["impatient"] and storm.at_s == 0.0 < kill.at_s < pause.at_s
    served = LIMITS.client_burst + LIMITS.client_rate_per_s * (pause.at_s + LIMITS.heartbeat_missed_s)
    assert storm.params["total_requests"] > storm.params["clients"] * served, "a limiter lets no more through till then"
    length_s = storm.params["total_requests"] / (storm.params["clients"] * LIMITS.client_rate_per_s) + OUTAGE_S
    assert length_s < storm.params["duration_seconds"], "each is served before the time is up"


def test_what_recognises_failures_is_asked_for_the_second_kernel_alone() -> None:
    """What it says of the second it can have learned from the first only: no platform is delivered with it."""
    coverage = plan_at(1.0).coverage
    assert [step for step, rows in coverage.items() if "error_recognition_system" in dict(rows)] == ["kernel_pause"]
    assert not any(one.pattern.search(COMPLAINT.format("memory_fusion")) for one in DELIVERED)
    assert shape_of(COMPLAINT.format("memory_fusion")) == shape_of(COMPLAINT.format("governance"))
    assert COMPLAINT.format("%s") in (ROOT / "twin" / "breaking.py").read_text(encoding="utf-8")


def test_each_safeguard_that_is_expected_covers_a_fault_of_it() -> None:
    plan = plan_at(1.0)
    covering = {name for rows in plan.coverage.values() for name, _ in rows}
    assert set(plan.expected_safeguards) == covering
    assert {"no_second_death", "retries_refused_cheaply", "audit_complete"} <= {one.check for one in plan.claims}
