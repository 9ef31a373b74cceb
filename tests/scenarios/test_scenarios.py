"""Every shipped scenario is planned; every bad one is refused in words, with its line and the nearest known word."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.metrics import UNITS
from harness.plan import Options, build_plan, describe, plan_from_json, plan_to_json
from harness.scenario import ScenarioError, find, load_file, shipped
from tests.records import paper_plan, paper_target

GOOD = """scenario_id: X
category: multi_fault
faults:
  - type: cpu_spike
    params: {cpu_percent: 50, duration_seconds: 60}
verification: [cpu_usage_peak >= 40]
"""
BAD = [
    ("scenario_id: X\n", "verificatoin: [a]\n", "no key is called 'verificatoin'. Did you mean 'verification'?"),
    ("type: cpu_spike", "type: cpu_spke", "no fault is called 'cpu_spke'. Did you mean 'cpu_spike'?"),
    ("cpu_percent: 50", "cpu_percentage: 50", "no parameter 'cpu_percentage'. Did you mean 'cpu_percent'?"),
    ("cpu_percent: 50", "cpu_percent: 140", "above 0 and at most 100 is expected, not 140"),
    ("cpu_percent: 50", "cpu_percent: much", "a number is expected, not 'much'"),
    (", duration_seconds: 60", "", "cpu_spike needs duration_seconds"),
    ("cpu_usage_peak >=", "cpu_usage_pek >=", "no metric is called 'cpu_usage_pek'. Did you mean 'cpu_usage_peak'?"),
    ("cpu_usage_peak >= 40", "all_safeguard_triggered", "Did you mean 'all_safeguards_triggered'?"),
    ("cpu_usage_peak >= 40", "librarien restarted within 5s", "Did you mean 'librarian'?"),
    ("cpu_usage_peak >= 40", "it went well", "has none of the three forms"),
    ("category: multi_fault", "category: multi_falt", "Did you mean 'multi_fault'?"),
    ("scenario_id: X", "scenario_id: X\nscenario_id: Y", "'scenario_id' stands here twice"),
    ("verification:", "expected_safeguards: [kernel_watchdg]\nverification:", "Did you mean 'kernel_watchdog'?"),
    ("verification:", "slo: {failure_percent_max: 5}\nverification:", "it may only be tightened"),
]


def plan_of(folder: Path, text: str) -> object:
    path = folder / "mine.yaml"
    path.write_text(text)
    return build_plan(load_file(path)[0], paper_target(folder), Options(seed=1), UNITS)


@pytest.mark.parametrize("name", sorted(shipped()))
def test_every_shipped_scenario_is_planned(tmp_path: Path, name: str) -> None:
    scenario = find(name)[0]
    assert scenario.scenario_id == name
    plan, _ = build_plan(scenario, paper_target(tmp_path), Options(seed=1), UNITS)
    assert plan_from_json(plan_to_json(plan)) == plan
    assert str(plan.seed) in describe(plan)


@pytest.mark.parametrize(("old", "new", "message"), BAD)
def test_bad_scenarios(tmp_path: Path, old: str, new: str, message: str) -> None:
    plan_of(tmp_path, GOOD)
    text = GOOD.replace(old, old + new if old == "scenario_id: X\n" else new)
    with pytest.raises(ScenarioError) as caught:
        plan_of(tmp_path, text)
    assert message in str(caught.value)
    assert "mine.yaml:" in str(caught.value), "the line is named"


def test_all_problems_are_said_at_once(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError) as caught:
        plan_of(tmp_path, GOOD.replace("cpu_percent: 50", "cpu_percent: 500").replace("peak >=", "pek >="))
    assert len(caught.value.problems) == 2


def test_what_is_not_yaml_names_the_line(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match=r"mine\.yaml:2: this is not YAML"):
        plan_of(tmp_path, "a: [1\nb: 2\n")


def test_durations_scale_and_nothing_else(tmp_path: Path) -> None:
    plan = paper_plan(tmp_path)
    flood, spike, pause = plan.steps
    assert (flood.duration_s, flood.asked_duration_s, flood.asked.value) == (6.0, 60.0, 1000.0)
    assert (spike.duration_s, spike.asked.value) == (6.0, 90.0)
    assert (pause.duration_s, pause.asked_duration_s) == (5.0, 45.0), "nothing goes below 5 s"
    assert plan.recovery_limit_s == 180.0


def test_a_control_plan_has_no_fault_and_cannot_pass(tmp_path: Path) -> None:
    plan = paper_plan(tmp_path, control=True)
    assert plan.steps == ()
    assert "control_clean" in {claim.check for claim in plan.claims}
