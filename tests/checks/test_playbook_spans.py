"""Playbooks side by side, and answers from what is stored: each check on a story that holds, breaks or is silent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from harness.judge import judge_claim
from harness.model import Claim, Finding, Kind, Verdict
from harness.record import Record
from tests.drafts import KNOWLEDGE, RECOVERED, Draft, healthy

PASS, FAIL, UNSURE = Verdict.PASS, Verdict.FAIL, Verdict.INCONCLUSIVE
MONITOR, BYPASS = "dependency_latency_monitor", "dependency_bypass"
LATE, WELL = 10.0, 14.0


def story(check: str) -> Draft:
    """MF01 as it goes well; its pause of memory_fusion is also seen by the dependency monitor."""
    draft = healthy()
    args = {"playbook": BYPASS} if check == "answered_stale" else {}
    claim = Claim(claim=check, check=check, args=args, needs=("kernel_pause",) if args else ())
    rows = (*draft.plan.coverage["kernel_pause"], (MONITOR, BYPASS))
    draft.plan = replace(draft.plan, claims=(claim,), coverage={**draft.plan.coverage, "kernel_pause": rows})
    if check == "answered_stale":
        same = {"subject": "memory_fusion", "incident_id": "late"}
        draft.add(LATE, Kind.SAFEGUARD_ENGAGED, MONITOR, "t", **same)
        draft.add(WELL, Kind.SAFEGUARD_RELEASED, MONITOR, "t", **same)
        stale(draft, LATE, WELL)
    return draft


def stale(draft: Draft, since_s: float, until_s: float) -> Draft:
    draft.requests = [
        replace(row, outcome="stale", status=200, latency_ms=((3, row.count),))
        if row.name == KNOWLEDGE and since_s <= row.at_s <= until_s
        else row
        for row in draft.requests
    ]
    return draft


def one_after_the_other(draft: Draft) -> Draft:
    """The bus is released before the CPU is short, the CPU before the kernel is missed."""
    draft.change(Kind.SAFEGUARD_RELEASED, "acl_violation_monitor", at_s=10.2)
    draft.change(Kind.SAFEGUARD_RELEASED, "resource_pressure_monitor", at_s=10.7)
    return draft


def silent(draft: Draft) -> Draft:
    draft.requests = [row for row in draft.requests if row.outcome != "stale"]
    return draft


def unheard(draft: Draft) -> Draft:
    draft.drop(Kind.SAFEGUARD_ENGAGED, MONITOR).drop(Kind.SAFEGUARD_RELEASED, MONITOR)
    return draft


def lost(draft: Draft) -> Draft:
    return draft.change(Kind.FAULT_ENDED, "kernel_pause", ended_by="lost")


def failed(draft: Draft) -> Draft:
    for playbook in ("resource_pressure_cpu", "kernel_restart"):
        draft.change(Kind.PLAYBOOK_FINISHED, playbook, outcome="failed")
    return draft


def alone(draft: Draft) -> Draft:
    coverage = {step: rows if step == "cpu_spike" else () for step, rows in draft.plan.coverage.items()}
    draft.plan = replace(draft.plan, coverage=coverage)
    return draft


def two_answers_to_one_fault(draft: Draft) -> Draft:
    """Both playbooks run side by side, and a single fault has led to both."""
    only = (*draft.plan.coverage["cpu_spike"], *draft.plan.coverage["acl_flood"])
    coverage = {step: only if step == "cpu_spike" else () for step in draft.plan.coverage}
    subjects = {"cpu_spike": {"acl_violation_monitor": "rogue_kernel"}}
    draft.plan = replace(draft.plan, coverage=coverage, subjects=subjects)
    return draft


CASES: list[tuple[str, Callable[[Draft], Draft], Verdict]] = [
    ("playbooks_concurrent", lambda draft: draft, PASS),
    ("playbooks_concurrent", one_after_the_other, FAIL),
    ("playbooks_concurrent", failed, FAIL),
    ("playbooks_concurrent", lambda draft: lost(one_after_the_other(draft)), UNSURE),
    ("playbooks_concurrent", alone, UNSURE),
    ("playbooks_concurrent", two_answers_to_one_fault, UNSURE),
    ("answered_stale", lambda draft: draft, PASS),
    ("answered_stale", silent, FAIL),
    ("answered_stale", unheard, FAIL),
    ("answered_stale", lambda draft: silent(unheard(draft)), FAIL),
    ("answered_stale", lambda draft: stale(draft, LATE - 1, LATE), FAIL),
    ("answered_stale", lambda draft: stale(draft, WELL, RECOVERED), FAIL),
    ("answered_stale", lambda draft: lost(silent(draft)), UNSURE),
]


def judged(record: Record) -> Finding:
    return judge_claim(record, record.plan.claims[0])


@pytest.mark.parametrize(("check", "change", "colour"), CASES)
def test_a_check_has_the_right_colour(
    tmp_path: Path, check: str, change: Callable[[Draft], Draft], colour: Verdict
) -> None:
    finding = judged(change(story(check)).record(tmp_path))
    assert finding.verdict is colour, finding
    assert finding.evidence or colour is not PASS


def test_the_finding_names_the_two_and_for_how_long(tmp_path: Path) -> None:
    finding = judged(story("playbooks_concurrent").record(tmp_path / "a"))
    names = "message_bus_acl_violation_fix (rogue_kernel) and resource_pressure_cpu (cpu)"
    assert finding.because == f"{names} were in force together for 8.5 s; 3 such pairs in all"
    apart = judged(one_after_the_other(story("playbooks_concurrent")).record(tmp_path / "b"))
    assert "kernel_restart (memory_fusion) from 10.7 s to 11.7 s" in apart.because


def test_the_same_answer_given_twice_is_no_two(tmp_path: Path) -> None:
    draft = alone(story("playbooks_concurrent"))
    draft.plan = replace(draft.plan, coverage={**draft.plan.coverage, "acl_flood": draft.plan.coverage["cpu_spike"]})
    same = {"subject": "cpu", "incident_id": "second"}
    draft.add(11.0, Kind.SAFEGUARD_ENGAGED, "resource_pressure_monitor", "t", **same)
    draft.add(11.1, Kind.PLAYBOOK_STARTED, "resource_pressure_cpu", "t", **same)
    draft.add(11.2, Kind.PLAYBOOK_FINISHED, "resource_pressure_cpu", "t", **same, outcome="succeeded")
    assert judged(draft.record(tmp_path)).verdict is not PASS


def test_a_playbook_without_an_incident_id_is_found_by_its_subject(tmp_path: Path) -> None:
    draft = story("playbooks_concurrent")
    draft.events = [replace(e, detail={k: v for k, v in e.detail.items() if k != "incident_id"}) for e in draft.events]
    assert judged(draft.record(tmp_path)).verdict is PASS
