"""junit.xml: one test case a claim, for continuous integration."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar
from xml.etree import ElementTree

from harness.model import Finding, Verdict
from harness.record import Record

ELEMENTS = {Verdict.FAIL: "failure", Verdict.INCONCLUSIVE: "error", Verdict.NOT_APPLICABLE: "skipped"}


class JUnit:
    """FAIL is a failure, INCONCLUSIVE an error, NOT_APPLICABLE skipped."""

    filename: ClassVar[str] = "junit.xml"

    def render(self, record: Record, findings: Sequence[Finding]) -> str:
        def count(verdict: Verdict) -> str:
            return str(sum(finding.verdict is verdict for finding in findings))

        suite = ElementTree.Element(
            "testsuite",
            name=record.plan.scenario_id,
            tests=str(len(findings)),
            failures=count(Verdict.FAIL),
            errors=count(Verdict.INCONCLUSIVE),
            skipped=count(Verdict.NOT_APPLICABLE),
            time=f"{record.end_s:.3f}",
        )
        for finding in findings:
            case = ElementTree.SubElement(
                suite, "testcase", classname=f"{record.plan.scenario_id}.{finding.group}", name=finding.claim
            )
            element = ELEMENTS.get(finding.verdict)
            if element:
                child = ElementTree.SubElement(case, element, message=finding.because)
                child.text = "\n".join(finding.evidence)
        ElementTree.indent(suite)
        return '<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(suite, encoding="unicode") + "\n"


REPORTER = JUnit
