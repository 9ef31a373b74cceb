"""The same run folder gives the same reports, byte for byte."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from harness import catalog
from harness.judge import judge
from harness.model import Finding, Verdict, overall
from harness.record import Record
from tests.golden.__main__ import EXPECTED, HERE, RUN


def frozen_findings() -> list[Finding]:
    rows = json.loads((RUN / "findings.json").read_text(encoding="utf-8"))
    kept = {"verdict": Verdict, "evidence": tuple, "missing": tuple}
    return [Finding(**{key: kept.get(key, str)(value) for key, value in row.items()}) for row in rows]


@pytest.mark.parametrize("name", sorted(catalog.reporters()))
def test_a_frozen_run_gives_the_frozen_report(name: str) -> None:
    reporter = catalog.reporters()[name]
    expected = (EXPECTED / reporter.filename).read_text(encoding="utf-8")
    assert reporter().render(Record.load(RUN), frozen_findings()) == expected, "on purpose? python -m tests.golden"


def test_every_reporter_is_frozen_and_nothing_else() -> None:
    names = {kind.filename for kind in catalog.reporters().values()}
    assert {path.name for path in EXPECTED.iterdir()} == names


def test_the_frozen_run_shows_what_is_hard_to_show() -> None:
    assert {one.verdict for one in frozen_findings()} == set(Verdict)
    assert "<script>alert(1)" in (RUN / "timeline.jsonl").read_text(encoding="utf-8")


def test_a_run_folder_of_format_1_is_judged_as_it_was() -> None:
    """It was written before there were invariants and codes: the same verdicts, and nothing added."""
    folder = HERE / "format1" / RUN.name
    frozen = json.loads((folder / "findings.json").read_text(encoding="utf-8"))
    findings = judge(Record.load(folder))
    assert [(one.check, one.claim, one.verdict.value) for one in findings] == [
        (one["check"], one["claim"], one["verdict"]) for one in frozen
    ]


def test_a_claim_that_is_deleted_from_the_plan_is_judged_all_the_same(tmp_path: Path) -> None:
    """One file edited, no hash recomputed: never a PASS."""
    folder = tmp_path / "run"
    shutil.copytree(HERE / "format1" / RUN.name, folder)
    plan = json.loads((folder / "plan.json").read_text(encoding="utf-8"))
    good = {one["claim"] for one in json.loads((folder / "findings.json").read_text()) if one["verdict"] == "PASS"}
    plan["claims"] = [one for one in plan["claims"] if one["claim"] in good and one["check"] != "journal_intact"]
    (folder / "plan.json").write_text(json.dumps(plan), encoding="utf-8")
    findings = judge(Record.load(folder))
    intact = next(one for one in findings if one.check == "journal_intact")
    assert intact.verdict is Verdict.INCONCLUSIVE and "plan.json" in intact.because
    assert overall(findings) is Verdict.INCONCLUSIVE
