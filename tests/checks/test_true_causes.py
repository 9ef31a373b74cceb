"""Reasons name their true cause: no independent route, an attack on a route that is not there, requests unanswered."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from harness import catalog
from harness.judge import judge, verdict
from harness.model import Claim, Finding, Kind, Magnitude, Verdict
from harness.run import failing, few_answers
from harness.traffic import RequestRow
from harness.unmet import unmet
from tests.drafts import CHECK, CPU_END, INJECTED, KNOWLEDGE, Draft, healthy

UNSURE, RED, NOT_APPLICABLE = Verdict.INCONCLUSIVE, Verdict.FAIL, Verdict.NOT_APPLICABLE
PATH, STEP = "/api/code", "cpu_spike"  # the step in whose place the attack stands
ROUTE = f"POST {PATH}"


def found(folder: Path, draft: Draft, check: str) -> Finding:
    return next(one for one in judge(draft.record(folder)) if one.check == check)


@pytest.mark.parametrize("check", ["no_cascading_failure"])
def test_no_route_is_independent_of_the_struck_kernel(tmp_path: Path, check: str) -> None:
    draft = healthy()
    draft.plan = replace(draft.plan, routes=dict.fromkeys(draft.plan.routes, ("memory_fusion",)))
    one = found(tmp_path / "none", draft, check)
    assert (one.verdict, one.code) == (UNSURE, f"{check}.no_independent_route") and "memory_fusion" in one.because
    assert one.evidence and "0 requests" not in one.because
    few = healthy()
    few.requests = [row for row in few.requests if row.at_s < INJECTED]
    one = found(tmp_path / "few", few, check)
    assert (one.verdict, one.code) == (UNSURE, f"{check}.too_few_requests")


@pytest.mark.parametrize("check", ["api_responsive", "graceful_degradation"])
def test_criteria_of_categories_say_so_too(tmp_path: Path, check: str) -> None:
    draft = healthy()
    draft.plan = replace(draft.plan, routes=dict.fromkeys(draft.plan.routes, ("memory_fusion",)))
    one = catalog.build_check(check, "", {}).check(draft.record(tmp_path))
    assert (one.verdict, one.code) == (UNSURE, f"{check}.no_independent_route")


def flooded(*statuses: int, user: str = "api_flood", outcome: str = "failed") -> Draft:
    """A run with an attack whose every request is answered with one of *statuses*."""
    draft = healthy()
    asked = Magnitude(name="sent", value=40.0, unit="requests", tolerance=0.0)
    step = draft.plan.steps[1]
    flood = replace(step, asked=asked, type="api_flood", params={"endpoint": PATH})
    draft.plan = replace(draft.plan, steps=(draft.plan.steps[0], flood, *draft.plan.steps[2:]))
    times = [INJECTED + number / 10 for number in range(int((CPU_END - INJECTED) * 10))]
    draft.requests += [
        RequestRow(round(at_s, 1), user, ROUTE, outcome, statuses[number % len(statuses)], 2, ((5, 2),))
        for number, at_s in enumerate(times)
    ]
    return draft


@pytest.mark.parametrize("statuses", [(404,), (405,), (401,), (403,), (404, 405)])
def test_an_attack_on_a_route_that_is_not_there(tmp_path: Path, statuses: tuple[int, ...]) -> None:
    findings = judge(flooded(*statuses).record(tmp_path))
    assert verdict(findings) is NOT_APPLICABLE
    (one,) = [one for one in findings if one.check == "fault_attained" and "cpu_spike" in one.claim]
    assert one.code == "fault_attained.target_lacks"
    assert ROUTE in one.because and any(place.startswith("requests.csv:") for place in one.evidence)
    for one in findings:
        assert one.verdict in (Verdict.PASS, NOT_APPLICABLE), one
        lacking = one.cause == "target_lacks"
        assert lacking or one.group != "safeguard" or "resource_pressure" not in one.claim


def code_of(findings: list[Finding], check: str, word: str = "") -> set[str]:
    return {one.cause for one in findings if one.check == check and word in one.claim}


def test_what_the_other_faults_met_is_judged(tmp_path: Path) -> None:
    """An attack that met nobody excuses neither another fault's safeguard nor what must hold of every run."""
    draft = flooded(404).drop(Kind.SAFEGUARD_ENGAGED, "kernel_watchdog")
    findings = judge(draft.record(tmp_path / "guard"))
    assert verdict(findings) is RED and "target_lacks" not in code_of(findings, "safeguard_engaged", "kernel_watchdog")
    assert code_of(findings, "safeguard_engaged", "resource_pressure") == {"target_lacks"}
    draft = flooded(404)
    draft.requests.append(RequestRow(9.0, "legitimate", CHECK, "failed", 500, 90, ((5, 90),)))
    findings = judge(draft.record(tmp_path / "bystander"))
    assert verdict(findings) is RED and "bystanders_unharmed" in {one.check for one in findings if one.verdict is RED}
    draft = flooded(404)
    draft.change(Kind.FAULT_HEALED, "kernel_pause", verified=False)
    findings = judge(draft.record(tmp_path / "unhealed"))
    assert code_of(findings, "run_complete") == {"not_healed"} and verdict(findings) is UNSURE


def test_in_a_wave_the_other_part_is_judged(tmp_path: Path) -> None:
    draft = flooded(404)
    each = [Claim(claim=f"{part}: each", check="each_fault_detected", of=part) for part in ("A", "B")]
    own = [
        replace(one, of="A" if STEP in (*one.needs, one.args.get("step_id")) else "B")
        if one.needs or "step_id" in one.args
        else one
        for one in draft.plan.claims
    ]
    parts = {"A": (STEP,), "B": ("acl_flood", "kernel_pause")}
    draft.plan = replace(draft.plan, parts=parts, claims=(*own, *each))
    findings = judge(draft.record(tmp_path / "fine"))
    assert verdict(findings) is NOT_APPLICABLE
    assert (code_of(findings, "each_fault_detected", "A"), code_of(findings, "each_fault_detected", "B")) == (
        {"target_lacks"},
        {"shown"},
    )
    draft.drop(Kind.SAFEGUARD_ENGAGED, "kernel_watchdog")
    findings = judge(draft.record(tmp_path / "missed"))
    assert verdict(findings) is RED and code_of(findings, "each_fault_detected", "B") == {"not_detected"}
    assert code_of(findings, "each_fault_detected", "A") == {"target_lacks"}


def alone(draft: Draft) -> Draft:
    """The same run, planned with no fault but the attack."""
    plan, others = draft.plan, ("acl_flood", "kernel_pause")
    kept = [one for one in plan.claims if not {*one.needs, one.args.get("step_id")} & set(others)]
    coverage = {STEP: plan.coverage[STEP]}
    steps = tuple(step for step in plan.steps if step.step_id == STEP)
    draft.plan = replace(plan, steps=steps, claims=tuple(kept), coverage=coverage)
    draft.events = [one for one in draft.events if one.subject not in others]
    return draft


def test_a_run_of_nothing_but_that_attack(tmp_path: Path) -> None:
    """It is NOT_APPLICABLE as a whole, whatever cannot be said of it, unless something fails."""
    draft = alone(flooded(404))
    draft.events = [one for one in draft.events if one.source != "control_plane"]
    draft.drop(Kind.KERNEL_CHANGED).drop(Kind.SYMPTOM_SEEN)
    draft.requests = [replace(r, outcome="ok", status=200) if r.user == "legitimate" else r for r in draft.requests]
    draft.hold("route_up", 1.0, KNOWLEDGE).hold("kernel_heartbeat_age_s", 0.2, "memory_fusion")
    findings = judge(draft.record(tmp_path / "alone"))
    assert verdict(findings) is NOT_APPLICABLE, [one for one in findings if one.verdict is not NOT_APPLICABLE]
    assert not {one.verdict for one in findings} & {RED, UNSURE}
    draft.hold("loop_lag_ms", 900.0)
    assert verdict(judge(draft.record(tmp_path / "held up"))) is NOT_APPLICABLE
    draft.requests.append(RequestRow(9.0, "legitimate", CHECK, "failed", 500, 90, ((5, 90),)))
    draft.hold("loop_lag_ms", 3.0)
    assert verdict(judge(draft.record(tmp_path / "harmed"))) is RED


MIXED = [(0, 404), (404, 503), (302,), (400,), (404, 400), (408,), *[(404,) * 9 + (500,)]]


@pytest.mark.parametrize("statuses", [(0,), (500,), (502, 503), *MIXED])
def test_an_attack_that_was_never_served_was_no_load(tmp_path: Path, statuses: tuple[int, ...]) -> None:
    findings = judge(flooded(*statuses).record(tmp_path))
    (one,) = [one for one in findings if one.code == "fault_attained.never_served"]
    assert one.verdict is UNSURE and ROUTE in one.because and verdict(findings) is not Verdict.PASS


def test_a_few_other_answers_do_not_show_a_route(tmp_path: Path) -> None:
    assert verdict(judge(flooded(*[404] * 24, 500).record(tmp_path))) is NOT_APPLICABLE


def test_an_attack_of_invalid_requests_only_may_be_rejected(tmp_path: Path) -> None:
    def attained(name: str, ratio: float, *statuses: int) -> set[str]:
        draft = flooded(*statuses, outcome="rejected")
        steps = [replace(one, params={**one.params, "invalid_ratio": ratio}) for one in draft.plan.steps]
        draft.plan = replace(draft.plan, steps=tuple(steps))
        findings = judge(draft.record(tmp_path / name))
        return code_of(findings, "fault_attained", STEP)

    assert attained("all", 1.0, 400, 422, 500) == {"shown"}
    assert attained("half", 0.5, 400) == {"never_served"}
    assert attained("none", 1.0, 500, 0) == {"never_served"}
    assert attained("away", 1.0, 404) == {"target_lacks"}


@pytest.mark.parametrize(("other", "outcome"), [(200, "ok"), (429, "limited"), (503, "shed")])
def test_a_route_that_works_for_anybody_is_there(tmp_path: Path, other: int, outcome: str) -> None:
    """An attacker who is turned away with 404 or 403 where others are served is turned away by a safeguard."""
    draft = flooded(403)
    draft.requests.append(RequestRow(9.0, "legitimate", ROUTE, outcome, other, 1, ((5, 1),)))
    record = draft.record(tmp_path)
    assert not record.unmet and not record.lacks


def test_a_few_answers_are_a_chance() -> None:
    rows = [RequestRow(1.0, "flood", ROUTE, "failed", 404, 2, ((5, 2),))]
    assert not unmet(rows)
    assert unmet([*rows, *rows])[0].lacks
    assert not unmet([replace(row, user="legitimate") for row in (*rows, *rows)]), "the baseline tells of those"


def test_the_baseline_says_why_it_is_not_steady() -> None:
    assert "no legitimate request has had an answer" in few_answers(0, 0)
    assert few_answers(3, 9).startswith("only 3 ")
    rows = [RequestRow(1.0, "legitimate", "GET /a", "failed", 502, 3, ((5, 3),))]
    assert failing(rows) == "GET /a answers 502 (3 x)"
    assert failing([replace(rows[0], status=0)]) == "GET /a does not answer (3 x)"
    assert failing([replace(rows[0], user="flood")]) == "not lately"
