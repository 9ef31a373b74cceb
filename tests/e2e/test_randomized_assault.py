"""MF03_randomized_assault at a tenth of its length: it passes, and its seed repeats the plan and the order."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from harness.plan import plan_from_json
from tests.processes import findings, finish, locust, run_folder, wait_for_event

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
MF03 = ("--scenario", "MF03_randomized_assault", "--time-scale", "0.1", "--seed", "7")


def injected(folder: Path) -> list[str]:
    rows = [json.loads(line) for line in (folder / "timeline.jsonl").read_text().splitlines()]
    return [row["subject"] for row in rows if row["kind"] == "fault_injected"]


def test_it_passes_and_the_same_seed_is_the_same_assault(tmp_path: Path) -> None:
    code, said = finish(locust(*MF03, out=tmp_path / "a"), 200)
    assert code == 0, said[-6000:]
    first = run_folder(tmp_path / "a")
    plan = plan_from_json((first / "plan.json").read_text())
    order = [step.step_id for step in plan.steps]
    assert len(order) == 5 and injected(first) == order
    for name in order:
        assert f"  {name} on " in said, "the plan is printed"
    green = {one["claim"]: one["because"] for one in findings(first)}
    assert "were in force together" in green["playbooks_ran_concurrently"]
    assert all(f"{name} after " in green["all_faults_detected"] for name in order)

    again = locust(*MF03, out=tmp_path / "b")
    second = wait_for_event(tmp_path / "b", "fault_injected", order[-1], 90)
    again.send_signal(signal.SIGINT)  # what comes after the last injection is not the seed's
    code, said = finish(again, 60)
    assert code == 3, said[-3000:]
    assert (second / "plan.json").read_bytes() == (first / "plan.json").read_bytes()
    assert injected(second) == injected(first)
