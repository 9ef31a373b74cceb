"""The criteria of layer 2, layer 3 and external scenarios: claimed where they can be red, each word answered."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.metrics import UNITS
from harness.model import Claim, Plan
from harness.plan import Options, build_plan
from harness.scenario import find, load_file, shipped
from tests.drafts import PaperTarget

FLOOD = """scenario_id: MINE
category: %s
injection: {type: api_flood, endpoint: /api/htm/intents, total_requests: 100%s}
verification: [%s]
"""
CRITERIA = {
    "api_responsive": "API stays responsive",
    "invalid_rejected": "invalid requests rejected",
    "valid_processed": "valid ones processed",
    "audit_complete": "audit trail complete",
}

DEEP = {
    "api_responsive": "operational throughout",
    "graceful_degradation": "only graceful degradation",
    "kernels_survive": "all kernels survive",
    "state_consistent": "state consistent",
}
MULTI = {"each_fault_detected": "each fault detected within 30 s"}
ALWAYS = {  # of multi_fault by the mission; here of all
    "all_faults_injected": "all faults injected",
    "recovery_within_limit": "recovered within ",
    "no_cascading_failure": "no cascading failure",
}


def planned(folder: Path, category: str = "layer2", more: str = ", invalid_ratio: 0.5", verification: str = "") -> Plan:
    path = folder / "mine.yaml"
    path.write_text(FLOOD % (category, more, verification))
    return build_plan(load_file(path)[0], PaperTarget(), Options(seed=1), UNITS)[0]


def criteria(plan: Plan) -> dict[str, str]:
    return {claim.check: claim.claim for claim in plan.claims if claim.group == "criterion" and claim.check in CRITERIA}


def written(plan: Plan) -> list[Claim]:
    return [claim for claim in plan.claims if claim.where]


@pytest.mark.parametrize("category", ["layer2", "layer3", "external"])
def test_a_scenario_across_layers_claims_the_four(tmp_path: Path, category: str) -> None:
    assert criteria(planned(tmp_path, category)) == CRITERIA


def test_no_other_does(tmp_path: Path) -> None:
    assert criteria(planned(tmp_path, "multi_fault")) == {}


def test_deep_complexity_has_four_of_its_own(tmp_path: Path) -> None:
    claims = {claim.check: claim.claim for claim in planned(tmp_path, "deep_complexity").claims}
    assert {name: claims.get(name) for name in DEEP} == DEEP and "valid_processed" not in claims


def test_what_sends_nothing_invalid_claims_no_rejection(tmp_path: Path) -> None:
    assert criteria(planned(tmp_path, more="")).keys() == CRITERIA.keys() - {"invalid_rejected"}


def test_a_word_of_the_scenario_does_not_take_the_place_of_the_criterion(tmp_path: Path) -> None:
    plan = planned(tmp_path, verification="every_invalid_intent_rejected")
    assert [(claim.claim, claim.check) for claim in written(plan)] == [
        ("every_invalid_intent_rejected", "invalid_rejected")
    ]
    assert criteria(plan) == CRITERIA
    assert [claim.check for claim in plan.claims].count("invalid_rejected") == 2


@pytest.mark.parametrize("name", sorted(shipped()))
def test_each_shipped_scenario_has_a_row_for_each_criterion_of_its_category(name: str) -> None:
    (scenario,) = find(name)
    plan = build_plan(scenario, PaperTarget(), Options(seed=1), UNITS)[0]
    found = [claim.claim for claim in plan.claims if claim.group == "criterion"]
    assert len(found) == len(set(found)), "each once"
    wanted = {"multi_fault": MULTI, "deep_complexity": DEEP}.get(scenario.category, CRITERIA)
    invalid = any(step.params.get("invalid_ratio") for step in plan.steps)
    expected = {**ALWAYS, **{key: text for key, text in wanted.items() if key != "invalid_rejected" or invalid}}
    rows = {claim.check: claim.claim for claim in plan.claims if claim.group == "criterion"}
    assert {key: rows.get(key, "")[: len(text)] for key, text in expected.items()} == expected


def test_two_words_for_the_same_check_are_both_answered(tmp_path: Path) -> None:
    plan = planned(tmp_path, verification="decisions_consistent, no_race_conditions, decisions_consistent")
    assert [claim.claim for claim in written(plan)] == ["decisions_consistent", "no_race_conditions"]
