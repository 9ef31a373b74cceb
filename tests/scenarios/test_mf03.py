"""MF03_randomized_assault as it is shipped: five of eight, by the seed alone, with what is expected of those five."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from harness.metrics import UNITS
from harness.model import Plan
from harness.plan import Options, build_plan, describe, plan_to_json
from harness.scenario import Execution, find, load_file
from tests.records import paper_target

SAFEGUARD = {
    "acl_flood": "acl_violation_monitor",
    "cpu_spike": "resource_pressure_monitor",
    "memory_pressure": "resource_pressure_monitor",
    "disk_io_saturation": "resource_pressure_monitor",
    "network_latency": "dependency_latency_monitor",
    "kernel_pause": "kernel_watchdog",
    "api_spam": "rate_limiter",
    "model_corruption": "model_integrity_check",
}
SEEDS = range(60)


def test_names_alone_in_a_pool_are_the_same_eight(tmp_path: Path) -> None:
    (shipped,) = find("MF03_randomized_assault")
    path = tmp_path / "mine.yaml"
    path.write_text(f"scenario_id: X\nfault_pool: [{', '.join(SAFEGUARD)}]\n")
    bare, whole = load_file(path)[0], replace(shipped, execution=Execution())
    plans = [build_plan(one, paper_target(tmp_path), Options(seed=3), UNITS)[0] for one in (bare, whole)]
    steps = [[replace(step, where="") for step in plan.steps] for plan in plans]
    assert steps[0] == steps[1] and len(steps[0]) == 8


def planned(folder: Path, seed: int, time_scale: float = 1.0) -> Plan:
    (scenario,) = find("MF03_randomized_assault")
    return build_plan(scenario, paper_target(folder), Options(seed=seed, time_scale=time_scale), UNITS)[0]


def types(plan: Plan) -> list[str]:
    return [step.type for step in plan.steps]


def test_the_pool_is_the_eight_of_the_suite() -> None:
    (scenario,) = find("MF03_randomized_assault")
    assert [entry.type for entry in scenario.pool] == list(SAFEGUARD)
    execution = scenario.execution
    assert (execution.random_selection, execution.shuffle_order) == (5, True)
    assert (execution.spacing_seconds, execution.total_duration) == (30, 180)


def test_every_seed_gives_five_that_meet_and_expects_what_covers_them(tmp_path: Path) -> None:
    seen: set[str] = set()
    redrawn = 0
    for seed in SEEDS:
        plan = planned(tmp_path, seed)
        assert len(set(types(plan))) == 5 and [step.at_s for step in plan.steps] == [0, 30, 60, 90, 120]
        assert all(step.duration_s in (0, 45) and step.asked_duration_s == step.duration_s for step in plan.steps)
        assert set(plan.expected_safeguards) == {SAFEGUARD[kind] for kind in types(plan)}
        assert all(rows[0][0] == SAFEGUARD[step] for step, rows in plan.coverage.items())
        assert "drawn from a pool of 8: " + ", ".join(types(plan)) in describe(plan)
        seen |= set(types(plan))
        redrawn += "drawn again" in describe(plan)
    assert seen == set(SAFEGUARD) and len({tuple(types(planned(tmp_path, seed))) for seed in SEEDS}) > 50
    assert redrawn < len(SEEDS) / 4


@pytest.mark.parametrize("seed", SEEDS[:8])
def test_a_seed_is_the_same_plan_byte_for_byte_and_the_same_order_at_any_scale(tmp_path: Path, seed: int) -> None:
    assert plan_to_json(planned(tmp_path, seed)) == plan_to_json(planned(tmp_path, seed))
    short = planned(tmp_path, seed, 0.1)
    assert types(short) == types(planned(tmp_path, seed))
    assert [step.at_s for step in short.steps] == pytest.approx([0, 3, 6, 9, 12])
    assert {step.duration_s for step in short.steps} <= {0.0, 5.0}, "nothing lasts for less than 5 s"
