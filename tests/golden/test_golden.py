"""The same run folder gives the same reports, byte for byte."""

from __future__ import annotations

import json

import pytest

from harness import catalog
from harness.model import Finding, Verdict
from harness.record import Record
from tests.golden.__main__ import EXPECTED, RUN


def frozen_findings() -> list[Finding]:
    rows = json.loads((RUN / "findings.json").read_text(encoding="utf-8"))
    kept = {"verdict": Verdict, "evidence": tuple}
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
    assert {one.verdict for one in frozen_findings()} == {Verdict.PASS, Verdict.FAIL, Verdict.INCONCLUSIVE}
    assert "<script>alert(1)" in (RUN / "timeline.jsonl").read_text(encoding="utf-8")
