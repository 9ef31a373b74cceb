"""A scenario says when it stops and which limits it lifts; what it says wrong is told with its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.metrics import UNITS
from harness.model import Plan
from harness.plan import Options, build_plan, describe, plan_from_json, plan_to_json
from harness.scenario import ScenarioError, load_file
from tests.drafts import PaperTarget

TEXT = """scenario_id: X
faults:
  - {type: cpu_spike, params: {cpu_percent: 50, duration_seconds: 60}}
"""


def planned(folder: Path, text: str) -> Plan:
    path = folder / "mine.yaml"
    path.write_text(text)
    return build_plan(load_file(path)[0], PaperTarget(), Options(seed=1), UNITS)[0]


def refused(folder: Path, text: str) -> str:
    with pytest.raises(ScenarioError) as caught:
        planned(folder, text)
    return str(caught.value)


def test_both_stand_in_the_plan_and_are_said_before_it_starts(tmp_path: Path) -> None:
    plan = planned(
        tmp_path, TEXT + "stop_when: [failure_percent > 50 for 5s]\nunsafe: {users_max: 5000}\nusers: 4000\n"
    )
    assert plan.stop_when == ("failure_percent > 50 for 5s",) and plan.unsafe == {"users_max": 5000.0}
    assert plan_from_json(plan_to_json(plan)) == plan
    assert "stops when failure_percent > 50 for 5s" in describe(plan)
    assert "UNSAFE: users_max is lifted to 5000" in describe(plan)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (
            "stop_when: [failure_percnt > 5]",
            "mine.yaml:4: stop_when: no live value is called 'failure_percnt'. Did you",
        ),
        ("stop_when: failure_percent", "a list is expected"),
        ("unsafe: {user_max: 5000}", "Did you mean 'users_max'?"),
        ("unsafe: {users_max: lots}", "a number"),
        ("users: 4000", "4000 users, at most 1000 are allowed; `unsafe:` lifts a limit"),
    ],
)
def test_a_wrong_word_or_too_much(tmp_path: Path, line: str, said: str) -> None:
    found = refused(tmp_path, TEXT + line + "\n")
    assert said in found and "mine.yaml:" in found


def test_a_fault_that_lasts_too_long_is_named(tmp_path: Path) -> None:
    found = refused(tmp_path, TEXT.replace("duration_seconds: 60", "duration_seconds: 6000"))
    assert "mine.yaml:3: faults[0]: 6000 s, at most 900 s" in found
