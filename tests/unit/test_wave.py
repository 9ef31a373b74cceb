"""A wave as one plan: each scenario's steps and claims stay its own, the rest is claimed once for all."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from harness.metrics import UNITS
from harness.model import Plan
from harness.plan import Options, plan_from_json, plan_to_json
from harness.scenario import Scenario, ScenarioError, find
from harness.wave import ID_LENGTH_MAX, Wave, find_together, lint_together, plan_together, side_by_side, wave_id
from tests.drafts import PaperTarget

PAUSE = """- scenario_id: {name}
  category: multi_fault
  severity: {severity}
  faults: [{{type: kernel_pause, target: {kernel}, params: {{pause_seconds: 45}}}}]
  expected_safeguards: [kernel_watchdog]
  expected_playbooks: [kernel_restart]
  verification: [{kernel} restarted within {within}s, kernels_survive]
  max_recovery_time: {within}
  users: {users}
"""
ASKED = Options(seed=5, time_scale=0.1)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "mine.yaml"
    texts = (
        PAUSE.format(name="one", severity=2, kernel="librarian", within=60, users=5),
        PAUSE.format(name="two", severity=3, kernel="sandbox", within=90, users=7),
    )
    path.write_text("".join(texts))
    return path


def test_two_of_which_one_could_be_taken_for_the_other_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "same.yaml"
    both = (PAUSE.format(name=name, severity=2, kernel="librarian", within=60, users=5) for name in ("one", "two"))
    path.write_text("".join(both))
    with pytest.raises(ScenarioError, match=r"^one\+two: two cannot run at the same time: one is aimed at"):
        plan_together(wave(path), PaperTarget(), ASKED, UNITS)


def wave(file: Path) -> Scenario:
    (found,) = find_together(f"{file}#one+two")
    return found


def planned(file: Path) -> Plan:
    plan, faults = plan_together(wave(file), PaperTarget(), ASKED, UNITS)
    assert list(faults) == [step.step_id for step in plan.steps]
    return plan


def test_it_is_named_by_its_scenarios(file: Path) -> None:
    found = wave(file)
    assert isinstance(found, Wave) and [one.scenario_id for one in found.parts] == ["one", "two"]
    assert (found.scenario_id, found.severity, found.users, found.max_recovery_time) == ("one+two", 3, 7, 90)
    assert find_together(f"{file}#one+{file}#two")[0].scenario_id == "one+two"
    assert find_together("S01_heartbeat_pause+S02_acl_spam")[0].scenario_id == "S01_heartbeat_pause+S02_acl_spam"
    assert find_together("MF01_triple_threat") == find("MF01_triple_threat")
    assert len(find_together(str(file))) == 2
    lint_together(found, UNITS)


def test_a_file_may_have_the_sign_in_its_name(file: Path) -> None:
    other = file.with_name("a+b.yaml")
    other.write_text(file.read_text())
    assert [one.scenario_id for one in find_together(str(other))] == ["one", "two"]
    assert find_together(f"{other}#one+two")[0].scenario_id == "one+two"


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("one+one", "a scenario stands here twice"),
        ("one+none", "no scenario in it is called 'none'"),
        ("one+", "one scenario is expected on each side of a +"),
    ],
)
def test_what_cannot_be_a_wave_is_said(file: Path, word: str, said: str) -> None:
    with pytest.raises(ScenarioError, match=said.replace("+", r"\+")):
        find_together(f"{file}#{word}")


def test_a_long_one_has_a_short_name() -> None:
    ids = [f"scenario_number_{n}" for n in range(20)]
    assert wave_id(ids[:2]) == "scenario_number_0+scenario_number_1"
    assert wave_id(ids) == "scenario_number_0+19_more" and len(wave_id(ids)) <= ID_LENGTH_MAX


def test_steps_and_claims_stay_whose_they_are(file: Path) -> None:
    plan = planned(file)
    assert plan.parts == {"one": ("one.kernel_pause",), "two": ("two.kernel_pause",)}
    assert [step.subject for step in plan.steps] == ["librarian", "sandbox"]
    assert set(plan.coverage) == {"one.kernel_pause", "two.kernel_pause"}
    own = {part: [c.claim for c in plan.claims if c.of == part] for part in ("one", "two", "")}
    assert "one: safeguard kernel_watchdog engages" in own["one"]
    assert "one: librarian restarted within 60s" in own["one"] and "one: kernels_survive" in own["one"]
    assert "two: sandbox restarted within 90s" in own["two"]
    assert not any("sandbox" in text for text in own["one"] + own[""])
    for claim in plan.claims:
        steps = {*claim.needs, *([claim.args["step_id"]] if "step_id" in claim.args else [])}
        assert all(step.startswith(f"{claim.of}.") for step in steps), claim
    shared = [claim.check for claim in plan.claims if not claim.of]
    assert len(shared) == len(set(shared)) and {"no_cascading_failure", "run_complete", "journal_intact"} <= set(shared)
    assert "one: recovered within 60 s, and stayed so" in own["one"] and plan.recovery_limit_s == 90
    assert "two: recovered within 90 s, and stayed so" in own["two"] and not any("recovered" in x for x in own[""])
    assert plan.recovery_limits_s == {"one": 60.0, "two": 90.0}
    assert "recovery, each from the end of its own faults: one 60 s, two 90 s" in plan.notes


def test_the_bounds_are_those_of_the_strictest(file: Path) -> None:
    plan = planned(file)
    strict = replace(plan.slo, hold_s=9.0, failure_percent_max=0.2, goodput_percent_min=80.0)
    both = side_by_side("x", "x", [plan, replace(plan, slo=strict, scenario_id="y")])
    assert both.slo == strict


def test_it_is_read_back_as_it_was_written(file: Path) -> None:
    plan = planned(file)
    again = plan_from_json(plan_to_json(plan))
    assert {part: tuple(steps) for part, steps in again.parts.items()} == plan.parts
    assert again.recovery_limits_s == plan.recovery_limits_s
    assert again.claims == plan.claims and again.steps == plan.steps


def test_more_than_may_be_at_once_is_refused(tmp_path: Path) -> None:
    kernels = PaperTarget().kernels[1:11]
    path = tmp_path / "many.yaml"
    texts = [PAUSE.format(name=f"p{n}", severity=2, kernel=one, within=60, users=5) for n, one in enumerate(kernels)]
    path.write_text("".join(texts))
    (found,) = find_together(f"{path}#" + "+".join(f"p{n}" for n in range(len(kernels))))
    with pytest.raises(ScenarioError, match="10 faults at once, at most 8"):
        plan_together(found, PaperTarget(), ASKED, UNITS)
