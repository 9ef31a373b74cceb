"""A fault of an earlier run that nobody could heal: no run beside it passes, whatever it has shown itself."""

from __future__ import annotations

from pathlib import Path

from harness.checks.run_complete import RunComplete
from harness.model import Kind, Verdict
from tests.drafts import healthy

LEFT = "20260101T000000Z f: was STUCK; unmount: left alone (STUCK)"


def test_it_is_inconclusive_and_names_what_is_left(tmp_path: Path) -> None:
    check = RunComplete(claim="run_complete")
    draft = healthy()
    assert check.check(draft.record(tmp_path / "clean")).verdict is Verdict.PASS
    draft.change(Kind.RUN_STARTED, draft.plan.scenario_id, stuck=[])
    assert check.check(draft.record(tmp_path / "none")).verdict is Verdict.PASS
    draft.change(Kind.RUN_STARTED, draft.plan.scenario_id, stuck=[LEFT])
    found = check.check(draft.record(tmp_path / "left"))
    assert found.verdict is Verdict.INCONCLUSIVE and LEFT in found.because and found.evidence == ("timeline:1",)
