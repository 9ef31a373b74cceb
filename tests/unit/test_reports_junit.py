"""junit.xml: a case a claim; FAIL is a failure, INCONCLUSIVE an error, NOT_APPLICABLE skipped."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

from harness.judge import judge
from harness.model import Finding, Verdict
from reports.junit import JUnit
from tests.drafts import healthy

ALL = (
    (Verdict.PASS, None),
    (Verdict.FAIL, "failure"),
    (Verdict.INCONCLUSIVE, "error"),
    (Verdict.NOT_APPLICABLE, "skipped"),
)


def finding(verdict: Verdict, claim: str = "a claim", because: str = "a reason") -> Finding:
    return Finding(check="x", verdict=verdict, claim=claim, because=because, evidence=("timeline:3", "signals.csv:4"))


def parsed(tmp_path: Path, findings: list[Finding]) -> ElementTree.Element:
    return ElementTree.fromstring(JUnit().render(healthy().record(tmp_path), findings))


@pytest.mark.parametrize(("verdict", "element"), ALL)
def test_each_verdict_has_its_element(tmp_path: Path, verdict: Verdict, element: str | None) -> None:
    suite = parsed(tmp_path, [finding(verdict)])
    (case,) = suite.findall("testcase")
    assert [child.tag for child in case] == ([element] if element else [])
    if element:
        assert case[0].get("message") == "a reason" and "timeline:3" in (case[0].text or "")
    counts = {"failure": "failures", "error": "errors", "skipped": "skipped"}
    for kind, count in counts.items():
        assert suite.get(count) == str(int(kind == element))


def test_a_suite_holds_every_finding_in_order(tmp_path: Path) -> None:
    record = healthy().record(tmp_path)
    findings = judge(record)
    suite = ElementTree.fromstring(JUnit().render(record, findings))
    assert [case.get("name") for case in suite.findall("testcase")] == [one.claim for one in findings]
    assert (suite.get("name"), suite.get("tests")) == ("MF01_triple_threat", str(len(findings)))
    names = {one.get("name"): one.get("value") for one in suite.iter("property")}
    assert names["seed"] == "7" and "--seed 7" in (names["repeat"] or "")


def test_what_the_target_says_cannot_break_the_file(tmp_path: Path) -> None:
    odd = '\x00\x1b[31m <a b="c"> ]]> & \ud800 \ufffe ü'
    (case,) = parsed(tmp_path, [finding(Verdict.FAIL, claim=odd, because=odd)]).findall("testcase")
    assert '<a b="c"> ]]> &' in (case.get("name") or "") and (case.get("name") or "").endswith("ü")
