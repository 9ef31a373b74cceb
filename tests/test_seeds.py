"""A seed's run is red when it crashed, has no verdict, or began its faults in another order; a verdict is an answer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import seeds
from benchmarks.seeds import Outcome, read, table

STEPS = ("acl_flood", "cpu_spike", "kernel_pause")


def folder_of(path: Path, injected: tuple[str, ...] = STEPS, **finding: Any) -> Path:
    one = {"claim": "c", "check": "x", "group": "criterion", "verdict": "PASS", "because": "b", **finding}
    (path / "findings.json").write_text(json.dumps([one]))
    (path / "plan.json").write_text(json.dumps({"steps": [{"step_id": name} for name in STEPS]}))
    rows = [{"kind": "fault_injected", "subject": name} for name in injected]
    (path / "timeline.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize(
    ("knobs", "exit_code", "verdict", "wrong"),
    [
        ({}, 0, "PASS", ""),
        ({"verdict": "FAIL", "because": "no"}, 1, "FAIL", ""),
        ({"injected": STEPS[:1], "verdict": "INCONCLUSIVE"}, 3, "INCONCLUSIVE", ""),
        ({"injected": (STEPS[1], STEPS[0])}, 0, "PASS", "the faults began in another order"),
        ({"verdict": "INCONCLUSIVE", "because": "the check crashed: K"}, 3, "INCONCLUSIVE", "the check crashed"),
        ({}, -9, "", "exit code -9"),
    ],
)
def test_what_a_seed_is_red_for(
    tmp_path: Path, knobs: dict[str, Any], exit_code: int, verdict: str, wrong: str
) -> None:
    outcome = read(folder_of(tmp_path, **knobs), 7, exit_code, 1.0)
    assert (outcome.verdict, outcome.drawn) == (verdict, STEPS)
    assert outcome.wrong.startswith(wrong) and bool(outcome.wrong) is bool(wrong)


def test_the_table_tells_each_seed(tmp_path: Path) -> None:
    rows = [Outcome(1, "PASS", STEPS, "", 50.4), Outcome(2, "", (), "", 600.0, "no end in 600 s")]
    text = table("X", 0.1, rows)
    assert "| 1 | PASS | acl_flood, cpu_spike, kernel_pause | 50 s |  |" in text
    assert "| 2 | NONE |  | 600 s | no end in 600 s |" in text and "1 of 2 runs came to a verdict" in text


def test_a_run_that_crashes_is_red(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seeds.sys, "executable", "/bin/false")
    assert seeds.run("X", 0.1, 1, tmp_path).wrong.startswith("it crashed")
