"""A control run: any engagement is a FAIL, none is INCONCLUSIVE."""

from __future__ import annotations

from pathlib import Path

from harness.checks.control_clean import ControlClean
from harness.model import Kind, Verdict
from tests.drafts import healthy


def test_an_engagement_without_a_fault_fails(tmp_path: Path) -> None:
    found = ControlClean(claim="c").check(healthy().record(tmp_path))
    assert found.verdict is Verdict.FAIL and len(found.evidence) == 3


def test_a_quiet_control_run_never_passes(tmp_path: Path) -> None:
    draft = healthy().drop(Kind.SAFEGUARD_ENGAGED)
    assert ControlClean(claim="c").check(draft.record(tmp_path)).verdict is Verdict.INCONCLUSIVE
