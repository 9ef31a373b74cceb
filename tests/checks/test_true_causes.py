"""Reasons name their true cause: no independent route, an attack on a route that is not there, requests unanswered."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from harness import catalog
from harness.judge import OF_FOLDER, judge, verdict
from harness.model import Finding, Magnitude, Verdict
from harness.run import failing, few_answers
from harness.traffic import RequestRow
from harness.unmet import unmet
from tests.drafts import CPU_END, INJECTED, Draft, healthy

UNSURE, RED, NOT_APPLICABLE = Verdict.INCONCLUSIVE, Verdict.FAIL, Verdict.NOT_APPLICABLE
PATH, STEP = "/api/code", "api_flood"
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
    assert {one.verdict for one in findings if one.check not in OF_FOLDER} == {NOT_APPLICABLE}
    assert ROUTE in findings[0].because and any(one.startswith("requests.csv:") for one in findings[0].evidence)


@pytest.mark.parametrize("statuses", [(0,), (500,), (502, 503)])
def test_an_attack_that_was_never_served_was_no_load(tmp_path: Path, statuses: tuple[int, ...]) -> None:
    findings = judge(flooded(*statuses).record(tmp_path))
    (one,) = [one for one in findings if one.code == "fault_attained.never_served"]
    assert one.verdict is UNSURE and ROUTE in one.because and verdict(findings) is not Verdict.PASS


@pytest.mark.parametrize(("other", "outcome"), [(200, "ok"), (429, "limited"), (503, "shed")])
def test_a_route_that_works_for_anybody_is_there(tmp_path: Path, other: int, outcome: str) -> None:
    """An attacker who is turned away with 404 or 403 where others are served is turned away by a safeguard."""
    draft = flooded(403)
    draft.requests.append(RequestRow(9.0, "legitimate", ROUTE, outcome, other, 1, ((5, 1),)))
    record = draft.record(tmp_path)
    assert not record.unmet and not record.not_applicable


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
