"""Layers 2 and 3: without a safeguard, or with a defect planted, they fail and say why; together and one at a time.

The flood is a fifth as long here, the stall half: rates, bursts and all that is claimed of them are the shipped ones.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.processes import ROOT, findings, finish, locust, run_folder

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
FLOOD, STALL = "L2_HTM_queue_flood", "L2_worker_stall"
STORM, CASCADE = "L3_governance_intent_storm", "L3_retro_cascade_failure"
SAFEGUARDS = {
    FLOOD: ("rate_limiter", "intent_validator", "queue_pressure_monitor"),
    STALL: ("worker_watchdog", "thread_timeout"),
}
DEFECTS = {  # scenario → defect → (the claim that it turns red, words of the reason)
    FLOOD: {
        "intent_lost": ("every_accepted_intent_processed_exactly_once", "lost"),
        "intent_doubled": ("every_accepted_intent_processed_exactly_once", "executions 2"),
        "invalid_accepted": ("every_invalid_intent_rejected", "negative_sla"),
        "rejection_unlogged": ("audit trail complete", "rejection"),
    },
    STORM: {
        "decision_by_order": ("decisions_consistent", "more than one answer"),
        "audit_row_dropped": ("audit_trail_complete", "decision"),
        "answers_swapped": ("no_race_conditions", "are on record as something else"),
    },
    CASCADE: {"retro_lost": ("all_analyses_completed", "accepted ones are lost")},
}
SHORTER: dict[str, dict[str, Any]] = {FLOOD: {"total_requests": 2000}, STALL: {"stall_seconds": 15}}


def run(scenario: str, out: Path, *words: str) -> tuple[int, list[dict[str, Any]], str]:
    """(exit code, findings, what was said) of a shipped scenario, with what SHORTER says of it."""
    written = yaml.safe_load((ROOT / "scenarios" / "enhanced" / f"{scenario}.yaml").read_text())
    written["injection"] |= SHORTER.get(scenario, {})
    out.mkdir(parents=True, exist_ok=True)
    file = out / f"{scenario}.yaml"
    file.write_text(yaml.safe_dump(written, sort_keys=False))
    code, said = finish(locust("--scenario", str(file), "--seed", "7", *words, out=out / "runs"), 200)
    return code, findings(run_folder(out / "runs")), said


def red(found: list[dict[str, Any]]) -> dict[str, str]:
    """{claim: why} of what failed."""
    return {one["claim"]: one["because"] for one in found if one["verdict"] == "FAIL"}


@pytest.mark.parametrize("scenario", SAFEGUARDS)
def test_without_its_safeguards_it_fails_and_names_each(tmp_path: Path, scenario: str) -> None:
    code, found, said = run(scenario, tmp_path, "--safeguards-off", ",".join(SAFEGUARDS[scenario]))
    assert code == 1, said[-6000:]
    for safeguard in SAFEGUARDS[scenario]:
        assert any(safeguard in claim + why for claim, why in red(found).items()), safeguard


@pytest.mark.alone
@pytest.mark.parametrize(("scenario", "safeguard"), [(key, one) for key, names in SAFEGUARDS.items() for one in names])
def test_without_a_safeguard_it_fails_and_names_it(tmp_path: Path, scenario: str, safeguard: str) -> None:
    code, found, said = run(scenario, tmp_path, "--safeguards-off", safeguard)
    assert code == 1, said[-6000:]
    assert any(safeguard in claim + why for claim, why in red(found).items())


@pytest.mark.parametrize("scenario", DEFECTS)
def test_all_defects_at_once_are_each_found(tmp_path: Path, scenario: str) -> None:
    code, found, said = run(scenario, tmp_path, "--plant", ",".join(DEFECTS[scenario]))
    assert code == 1, said[-6000:]
    for defect, (claim, words) in DEFECTS[scenario].items():
        assert words in red(found).get(claim, ""), (defect, red(found))


@pytest.mark.alone
@pytest.mark.parametrize(("scenario", "defect"), [(key, one) for key, defects in DEFECTS.items() for one in defects])
def test_a_planted_defect_is_found(tmp_path: Path, scenario: str, defect: str) -> None:
    code, found, said = run(scenario, tmp_path, "--plant", defect)
    assert code == 1, said[-6000:]
    claim, words = DEFECTS[scenario][defect]
    assert words in red(found).get(claim, ""), red(found)


def test_a_queue_without_an_end_is_found_by_its_depth_and_by_its_weight(tmp_path: Path) -> None:
    code, found, said = run(CASCADE, tmp_path, "--plant", "retro_unbounded")
    assert code == 1, said[-6000:]
    assert "and the queue is said to end at 60" in red(found).get("queue_managed", ""), red(found)
    assert "meta_loop grew most" in red(found).get("no_resource_exhaustion", ""), red(found)


@pytest.mark.beside
def test_a_defect_that_does_not_exist_is_refused_with_the_nearest_one(tmp_path: Path) -> None:
    code, said = finish(locust("--scenario", STORM, "--plant", "intent_los", out=tmp_path))
    assert code == 2 and "intent_lost" in said and not list(tmp_path.glob("*/*"))
