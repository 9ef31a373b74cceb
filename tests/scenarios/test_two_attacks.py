"""Two attacks at a time need addresses of their own: else nobody could tell which of them a limiter means."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.metrics import UNITS
from harness.model import Plan
from harness.plan import Options, build_plan
from harness.scenario import ScenarioError, load_file
from tests.records import paper_target

HEAD = """scenario_id: X
category: multi_fault
execution: {spacing_seconds: SPACING}
faults:
"""
SPAM = "  - {type: api_spam, params: {endpoint: /api/chat, count: 10MORE}}\n"
FLOOD_PARAMS = "endpoint: /api/htm/intents, total_requests: 10, duration_seconds: 30, clients: 2"
FLOOD = f"  - {{type: api_flood, params: {{{FLOOD_PARAMS}MORE}}}}\n"


def planned(folder: Path, spacing_s: int, *faults: str) -> Plan:
    path = folder / "mine.yaml"
    path.write_text(HEAD.replace("SPACING", str(spacing_s)) + "".join(faults) + "verification: [kernels_survive]\n")
    (scenario,) = load_file(path)
    return build_plan(scenario, paper_target(folder), Options(seed=1), UNITS)[0]


def spam(more: str = "") -> str:
    return SPAM.replace("MORE", more)


def flood(more: str = "") -> str:
    return FLOOD.replace("MORE", more)


@pytest.mark.parametrize("second", [spam(), flood()])
def test_two_attacks_at_a_time_from_one_address_are_refused_with_their_lines(tmp_path: Path, second: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        planned(tmp_path, 20, flood(), second)
    (said,) = caught.value.problems
    assert "mine.yaml:6: " in said and "mine.yaml:5" in said, said
    assert "sends from 127.0.0.10 while api_flood" in said and "give one of them another client_block" in said


def test_with_a_block_of_its_own_each_is_told_from_the_other(tmp_path: Path) -> None:
    plan = planned(tmp_path, 20, flood(), spam(", client_block: 1"), flood(", client_block: 2"))
    assert [step.subject for step in plan.steps] == ["127.0.0.10", "127.0.1.10", "127.0.2.10"]


def test_one_after_the_other_may_use_the_same(tmp_path: Path) -> None:
    """A flood of at most 30 s is over when the next begins."""
    plan = planned(tmp_path, 30, flood(), spam())
    assert [step.subject for step in plan.steps] == ["127.0.0.10"] * 2
    with pytest.raises(ScenarioError, match="client_block"):
        planned(tmp_path, 29, flood(), spam())
