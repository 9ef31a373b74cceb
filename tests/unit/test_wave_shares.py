"""What of a wave is whose: a fault that nobody saw fails its own scenario, and no other is credited or blamed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.metrics import UNITS
from harness.model import Claim, Kind, Verdict
from harness.plan import Options
from harness.run import conclude
from harness.scenario import find
from harness.suite_result import judged_again
from harness.wave import plan_together, together
from harness.wave_shares import Share, shares
from tests.drafts import Draft, PaperTarget, healthy
from tests.paper_locust import in_parts

PASS, FAIL, UNSURE = Verdict.PASS, Verdict.FAIL, Verdict.INCONCLUSIVE
FLOOD, PAUSE = "flood", "pause"  # acl_flood and cpu_spike; kernel_pause


def wave() -> Draft:
    draft = healthy()
    draft.plan = in_parts(replace(draft.plan, scenario_id="flood+pause"), [FLOOD, PAUSE])
    return draft


def split(draft: Draft, folder: Path) -> dict[str, Share]:
    return {one.scenario_id: one for one in shares(draft.write(folder))}


def verdicts(found: dict[str, Share]) -> dict[str, Verdict]:
    return {name: one.verdict for name, one in found.items()}


def test_both_pass_and_each_tells_of_its_own(tmp_path: Path) -> None:
    found = split(wave(), tmp_path)
    assert verdicts(found) == {FLOOD: PASS, PAUSE: PASS}
    flood, pause = found[FLOOD].incident, found[PAUSE].incident
    assert [one["type"] for one in flood["faults"]] == ["acl_flood", "cpu_spike"]
    assert [one["type"] for one in pause["faults"]] == ["kernel_pause"]
    assert pause["safeguards_triggered"] == ["kernel_watchdog"] and pause["playbooks_executed"] == ["kernel_restart"]
    assert flood["safeguards_triggered"] == ["acl_violation_monitor", "resource_pressure_monitor"]
    assert flood["incident_id"].startswith("chaos_flood_") and pause["incident_id"].startswith("chaos_pause_")
    assert pause["detected_at"] and pause["detected_at"] != flood["detected_at"]


def test_an_unseen_fault_is_red_for_its_own_scenario_alone(tmp_path: Path) -> None:
    draft = wave().drop(Kind.SAFEGUARD_ENGAGED, "kernel_watchdog").drop(Kind.SAFEGUARD_RELEASED, "kernel_watchdog")
    found = split(draft, tmp_path)
    assert verdicts(found) == {FLOOD: PASS, PAUSE: FAIL}
    assert "kernel_watchdog" in found[PAUSE].because
    assert found[PAUSE].incident["detected_at"] is None


def test_a_safeguard_that_engages_for_one_is_not_credited_to_the_other(tmp_path: Path) -> None:
    """The watchdog covers both scenarios' faults; it sees the kernel of one of them only."""
    draft = wave()
    guard = (("kernel_watchdog", "kernel_restart"),)
    draft.plan = replace(draft.plan, coverage={**draft.plan.coverage, "acl_flood": guard})
    claim = next(one for one in draft.plan.claims if one.args.get("safeguard") == "kernel_watchdog")
    mine = replace(claim, of=FLOOD, needs=("acl_flood",), claim="the flood's own")
    draft.plan = replace(draft.plan, claims=(*draft.plan.claims, mine))
    found = split(draft, tmp_path)
    assert {one.claim: one.verdict for one in found[FLOOD].findings}["the flood's own"] is FAIL
    assert found[PAUSE].verdict is PASS, "that of the pause engaged for the pause"
    assert found[FLOOD].incident["faults"][0]["detected_after_s"] is None


def test_what_another_s_fault_would_have_had_to_rouse_is_no_part_of_a_claim(tmp_path: Path) -> None:
    """The watchdog could have seen the flood as well, and nobody claims that it does."""
    draft = wave()
    more = (*draft.plan.coverage["acl_flood"], ("kernel_watchdog", "kernel_restart"))
    draft.plan = replace(draft.plan, coverage={**draft.plan.coverage, "acl_flood": more})
    folder = draft.write(tmp_path)
    assert [one.verdict for one in shares(folder)] == [PASS, PASS] and judged_again(folder).verdict is PASS
    alone = replace(draft.plan, parts={}, claims=tuple(replace(one, of="") for one in draft.plan.claims))
    draft.plan = alone
    assert judged_again(draft.write(tmp_path / "alone")).verdict is FAIL, "in one scenario it would have had to"


def test_a_magnitude_missed_is_undecided_for_its_own_scenario_alone(tmp_path: Path) -> None:
    draft = wave()
    short = {"mean": 0.0, "sd": 0.0, "p5": 0.0, "p95": 0.0, "n": 20.0}
    draft.change(Kind.FAULT_ENDED, "kernel_pause", achieved=short)
    assert verdicts(split(draft, tmp_path)) == {FLOOD: PASS, PAUSE: UNSURE}


def cut(draft: Draft) -> None:
    draft.cut_short(20.0)


def dragged(draft: Draft) -> None:
    draft.add(12.0, Kind.KERNEL_CHANGED, "librarian", "processes", what="process", pid=9, old_pid=8)


@pytest.mark.parametrize(("change", "expected"), [(cut, UNSURE), (dragged, FAIL)])
def test_what_concerns_all_is_everybody_s(tmp_path: Path, change: Any, expected: Verdict) -> None:
    draft = wave()
    change(draft)
    assert verdicts(split(draft, tmp_path)) == {FLOOD: expected, PAUSE: expected}


def test_what_is_in_nobody_s_share_is_not_lost(tmp_path: Path) -> None:
    draft = wave().drop(Kind.SAFEGUARD_ENGAGED, "kernel_watchdog").drop(Kind.SAFEGUARD_RELEASED, "kernel_watchdog")
    stranger = [replace(one, of="nobody") if one.of == PAUSE else one for one in draft.plan.claims]
    draft.plan = replace(draft.plan, claims=tuple(one for one in stranger if one.check != "each_fault_detected"))
    found = split(draft, tmp_path)
    assert UNSURE in verdicts(found).values() and PASS not in verdicts(found).values()
    assert any("which is in nobody's share" in one.because for one in found.values())


def test_a_failure_of_the_run_that_is_in_nobody_s_share_is_everybody_s(tmp_path: Path) -> None:
    draft = wave()
    late = Claim(claim="c", check="restarted", args={"kernel": "memory_fusion", "within_s": 0.1}, of="x")
    draft.plan = replace(draft.plan, claims=(*draft.plan.claims, late))
    folder = draft.write(tmp_path)
    assert judged_again(folder).verdict is FAIL
    for one in shares(folder):
        assert one.verdict is FAIL and "which is in nobody's share alone" in one.because and "(c: " in one.because
        assert (one.incident["verdict"], one.incident["success"], one.incident["exit_code"]) == ("FAIL", False, 1)


def test_a_failure_that_was_shown_stays_what_it_is_when_the_whole_run_shows_nothing(tmp_path: Path) -> None:
    """The whole has recovered in time and is undecided for a claim of nobody; the pause was to recover sooner."""
    draft = limited(180.0, 12.0)
    recovery = next(one for one in draft.plan.claims if one.check == "recovery_within_limit")
    others = [one for one in draft.plan.claims if one.check != recovery.check]
    nobody_s = Claim(claim="somebody's own", check="no_such_check", of="nobody")
    draft.plan = replace(draft.plan, claims=(*others, replace(recovery, of=""), nobody_s))
    folder = draft.write(tmp_path)
    assert judged_again(folder).verdict is UNSURE
    found = {one.scenario_id: one for one in shares(folder)}
    assert verdicts(found) == {FLOOD: UNSURE, PAUSE: FAIL}
    assert "which is in nobody's share alone" in found[FLOOD].because
    assert "recovered 19.0 s after the last fault, limit 12 s" in found[PAUSE].because


def limited(flood_s: float, pause_s: float) -> Draft:
    """The pause ends at 11.3 s, the last fault of the flood at 15.6 s, and at 30.3 s all is well."""
    draft = wave()
    limits_s = {FLOOD: flood_s, PAUSE: pause_s}
    draft.plan = replace(draft.plan, recovery_limits_s=limits_s, recovery_limit_s=max(limits_s.values()))
    return draft


@pytest.mark.parametrize(
    ("flood_s", "pause_s", "expected", "said"),
    [
        (15.0, 20.0, (PASS, PASS), ""),
        (14.0, 180.0, (FAIL, PASS), "acl_violation_monitor (rogue_kernel) was still engaged 14 s after the last fault"),
        (180.0, 16.0, (PASS, UNSURE), "19.0 s after the last fault, limit 16 s, of which 14.7 s without a fault of"),
        (180.0, 12.0, (PASS, FAIL), "recovered 19.0 s after the last fault, limit 12 s"),
    ],
)
def test_each_recovers_within_its_own_limit_from_the_end_of_its_own_faults(
    tmp_path: Path, flood_s: float, pause_s: float, expected: tuple[Verdict, Verdict], said: str
) -> None:
    folder = limited(flood_s, pause_s).write(tmp_path)
    found = shares(folder)
    assert tuple(one.verdict for one in found) == expected, [one.because for one in found]
    assert judged_again(folder).verdict is Verdict.worst(list(expected))
    assert any(said in one.because for one in found)
    assert [round(one.incident["recovery_time_seconds"], 1) for one in found] == [14.7, 19.0]


def test_a_safeguard_of_its_own_that_stays_is_red_whoever_else_was_still_at_it(tmp_path: Path) -> None:
    draft = limited(180.0, 16.0).change(Kind.SAFEGUARD_RELEASED, "kernel_watchdog", at_s=29.0)
    found = split(draft, tmp_path)
    assert verdicts(found) == {FLOOD: PASS, PAUSE: FAIL}
    assert "kernel_watchdog (memory_fusion) was still engaged 16 s after the last fault" in found[PAUSE].because


def test_who_never_recovers_has_failed_when_its_own_limit_is_over(tmp_path: Path) -> None:
    found = split(limited(180.0, 16.0).drop(Kind.RECOVERED), tmp_path)
    assert verdicts(found) == {FLOOD: UNSURE, PAUSE: FAIL} and "no recovery in 16 s" in found[PAUSE].because


def test_the_run_s_own_verdict_is_the_worst_share(tmp_path: Path) -> None:
    draft = wave().drop(Kind.PLAYBOOK_FINISHED, "kernel_restart")
    folder = draft.write(tmp_path)
    conclude(folder)
    assert judged_again(folder).verdict is FAIL
    assert [one.verdict for one in shares(folder)] == [PASS, FAIL]


def test_a_run_of_one_scenario_is_all_its_own(tmp_path: Path) -> None:
    draft = healthy()
    (only,) = shares(draft.write(tmp_path))
    assert (only.scenario_id, only.verdict) == ("MF01_triple_threat", PASS)
    assert len(only.findings) == len(draft.plan.claims)


def test_a_criterion_of_one_category_is_not_claimed_of_a_part_of_another(tmp_path: Path) -> None:
    """Nobody says of the flood of a layer-3 scenario that a safeguard must see it."""
    ids = ("MF01_triple_threat", "L3_governance_intent_storm")
    parts = together([find(one)[0] for one in ids])
    plan, _ = plan_together(parts, PaperTarget(), Options(seed=7, time_scale=0.1), UNITS)
    mine = {(one.check, one.of) for one in plan.claims if one.group == "criterion"}
    assert {("each_fault_detected", ids[0]), ("api_responsive", ids[1]), ("no_cascading_failure", "")} <= mine
    assert not {("each_fault_detected", ""), ("each_fault_detected", ids[1]), ("api_responsive", "")} & mine
    draft = healthy()
    names = {step.step_id for step in draft.plan.steps}
    draft.events = [
        replace(one, subject=f"{ids[0]}.{one.subject}") if one.subject in names else one for one in draft.events
    ]
    draft.plan = plan
    (flood,) = plan.parts[ids[1]]
    achieved = {"mean": 1000.0, "sd": 0.0, "p5": 1000.0, "p95": 1000.0, "max": 1000.0, "n": 20.0}
    draft.add(8.2, Kind.FAULT_INJECTED, flood, "conductor")
    draft.add(10.0, Kind.FAULT_ATTAINED, flood, "conductor", achieved=1000.0)
    draft.add(10.1, Kind.FAULT_ENDED, flood, "conductor", ended_by="plan", because="", achieved=achieved)
    found = split(draft, tmp_path)
    detected = {
        name: [f.verdict for f in one.findings if f.check == "each_fault_detected"] for name, one in found.items()
    }
    assert detected == {ids[0]: [PASS], ids[1]: []}
    both = together([find(one)[0] for one in (ids[1], "EXT_model_drift")])
    plan, _ = plan_together(both, PaperTarget(), Options(seed=7, time_scale=0.1), UNITS)
    assert ("api_responsive", "") in {(one.check, one.of) for one in plan.claims}, "what all have is claimed once"
