"""symptom_seen: a route that is down shows a pause; one that is slow does so only when no other fault can be why."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.checks.symptom_seen import LATE_S, SymptomSeen
from harness.model import Finding, Kind, Verdict
from harness.record import Record
from tests.drafts import CPU_END, FLOOD_END, INJECTED, KNOWLEDGE, PAUSE_END, Draft, healthy

SLOW_S = INJECTED + 2.2


def look(record: Record) -> Finding:
    return SymptomSeen(claim="a symptom was seen", step_id="kernel_pause").check(record)


def slowed(at_s: float = SLOW_S, what: str = "route_slow") -> Draft:
    """The pause's route shows this, and nothing else."""
    draft = healthy().drop(Kind.SYMPTOM_SEEN, source="routes")
    return draft.add(at_s, Kind.SYMPTOM_SEEN, "memory_fusion", "routes", what=what, route=KNOWLEDGE)


def alone(draft: Draft, *others: str) -> Draft:
    """Without the injection of *others*."""
    for one in others:
        draft.drop(Kind.FAULT_INJECTED, one)
    return draft


def test_down_is_a_symptom_whatever_else_is_in_force(tmp_path: Path) -> None:
    found = look(healthy().record(tmp_path))
    assert found.verdict is Verdict.PASS and "route_down after 2.2 s" in found.because and found.evidence


def test_slow_may_be_the_work_of_another_fault(tmp_path: Path) -> None:
    found = look(slowed().record(tmp_path))
    assert found.verdict is Verdict.INCONCLUSIVE
    assert found.because.endswith("was only slow, which may be the work of acl_flood, cpu_spike")
    assert len(found.evidence) == 2, "the injection, and what was seen"


def test_slow_is_a_symptom_of_the_only_fault(tmp_path: Path) -> None:
    found = look(alone(slowed(), "acl_flood", "cpu_spike").record(tmp_path))
    assert found.verdict is Verdict.PASS and "route_slow" in found.because


@pytest.mark.parametrize(
    ("ended_before_s", "verdict"), [(LATE_S - 0.5, Verdict.INCONCLUSIVE), (LATE_S + 0.5, Verdict.PASS)]
)
def test_a_fault_that_has_just_ended_may_still_be_why(tmp_path: Path, ended_before_s: float, verdict: Verdict) -> None:
    draft = alone(slowed(at_s=CPU_END + ended_before_s), "acl_flood")
    draft.change(Kind.FAULT_ENDED, "kernel_pause", at_s=CPU_END + 8.0)
    assert CPU_END > PAUSE_END and CPU_END > FLOOD_END
    assert look(draft.record(tmp_path)).verdict is verdict


def test_slow_at_first_and_then_down_is_a_symptom(tmp_path: Path) -> None:
    draft = slowed()
    draft.add(SLOW_S + 1.0, Kind.SYMPTOM_SEEN, "memory_fusion", "routes", what="route_down", route=KNOWLEDGE)
    found = look(draft.record(tmp_path))
    assert found.verdict is Verdict.PASS and "route_down after 3.2 s" in found.because


def test_nothing_seen_is_no_symptom(tmp_path: Path) -> None:
    found = look(healthy().drop(Kind.SYMPTOM_SEEN, source="routes").record(tmp_path))
    assert found.verdict is Verdict.INCONCLUSIVE and "touched nobody" in found.because
