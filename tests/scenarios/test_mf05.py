"""MF05_full_disk_no_log as it is planned: the disk is full when the queue is; who has no such disk is not judged."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from harness import scenario
from harness.contracts import Link
from harness.metrics import UNITS
from harness.model import Plan
from harness.plan import Options, build_plan, describe
from tests.drafts import CHECK, INTENT, KNOWLEDGE, PaperTarget, route

WAY = "api_server->memory_fusion"


def planned(target: PaperTarget, time_scale: float = 1.0) -> Plan:
    link = Link(name=WAY, address_file=Path("x"), callee="memory_fusion", callers=("api_server",), framing="u32be")
    routes = (
        route(KNOWLEDGE, "memory_fusion"),
        route(CHECK, "immutable_log", "governance"),
        route(INTENT, "scheduler"),
    )
    asked = Options(seed=7, time_scale=time_scale)
    found = scenario.find("MF05_full_disk_no_log")[0]
    return build_plan(found, replace(target, links={WAY: link}, routes=routes), asked, UNITS)[0]


@pytest.fixture
def disk(tmp_path: Path) -> PaperTarget:
    return PaperTarget(paths={"audit_disk": tmp_path})


def test_the_queue_fills_before_the_disk_and_the_link_is_slow_throughout(disk: PaperTarget) -> None:
    for time_scale in (1.0, 0.1):
        slow, flood, full = planned(disk, time_scale).steps
        assert [one.type for one in (slow, flood, full)] == ["network_latency", "api_flood", "disk_full"]
        assert slow.at_s < flood.at_s < full.at_s and full.at_s + full.duration_s < slow.at_s + slow.duration_s
        assert full.duration_s >= 6.0, "long enough for whoever takes 2 s to be sure"


def test_what_is_hurt_by_design_is_named_and_each_safeguard_by_what_it_names(disk: PaperTarget) -> None:
    plan = planned(disk)
    full = plan.steps[-1]
    assert full.kernels == ("immutable_log",) and full.subject == "disk"
    assert plan.subject_of(full, "resource_pressure_monitor") == "disk"
    for safeguard in ("log_write_guard", "error_recognition_system"):
        assert plan.subject_of(full, safeguard) == "immutable_log"
    claims = {one.check: one for one in plan.claims}
    assert claims["refused_unrecorded"].args["playbook"] == "refuse_unrecorded"
    assert claims["refused_unrecorded"].needs == (full.step_id,)
    assert "refuse_unrecorded" in claims["load_shed"].args["deferring"], (
        "who is refused for it is not deferred for none"
    )
    assert "is not for immutable_log alone" not in describe(plan)


def test_who_has_no_disk_for_the_log_is_not_judged() -> None:
    plan = planned(PaperTarget())
    assert any("prerequisite 'audit_disk'" in one for one in plan.not_applicable)
    assert any(one.startswith("disk_full: the manifest's paths name no 'audit_disk'") for one in plan.not_applicable)
