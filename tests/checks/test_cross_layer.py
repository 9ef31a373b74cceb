"""The criteria of layer 2, layer 3 and external scenarios: claimed where they can be red, each word answered."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.metrics import UNITS
from harness.model import Claim, Plan
from harness.plan import Options, build_plan
from harness.scenario import load_file
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


def test_a_word_of_the_scenario_says_it_instead_of_the_criterion(tmp_path: Path) -> None:
    plan = planned(tmp_path, verification="every_invalid_intent_rejected")
    assert [(claim.claim, claim.check) for claim in written(plan)] == [
        ("every_invalid_intent_rejected", "invalid_rejected")
    ]
    assert [claim.check for claim in plan.claims].count("invalid_rejected") == 1


def test_two_words_for_the_same_check_are_both_answered(tmp_path: Path) -> None:
    plan = planned(tmp_path, verification="decisions_consistent, no_race_conditions, decisions_consistent")
    assert [claim.claim for claim in written(plan)] == ["decisions_consistent", "no_race_conditions"]
