"""junit.xml: one test case a claim, for continuous integration."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import ClassVar
from xml.etree import ElementTree

from harness.model import Finding, Kind, Verdict
from harness.record import Record

ELEMENTS = {Verdict.FAIL: "failure", Verdict.INCONCLUSIVE: "error", Verdict.NOT_APPLICABLE: "skipped"}
NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # not even as an entity


class JUnit:
    """FAIL is a failure, INCONCLUSIVE an error, NOT_APPLICABLE skipped."""

    filename: ClassVar[str] = "junit.xml"

    def render(self, record: Record, findings: Sequence[Finding]) -> str:
        suite = ElementTree.Element("testsuite", _totals(record, findings))
        properties = ElementTree.SubElement(suite, "properties")
        for name, value in _properties(record):
            ElementTree.SubElement(properties, "property", name=name, value=_clean(value))
        for finding in findings:
            of = f"{record.plan.scenario_id}.{finding.group}"
            case = ElementTree.SubElement(suite, "testcase", classname=of, name=_clean(finding.claim))
            element = ELEMENTS.get(finding.verdict)
            if element:
                child = ElementTree.SubElement(case, element, message=_clean(finding.because))
                child.text = "\n".join(_clean(one) for one in finding.evidence)
        ElementTree.indent(suite)
        return '<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(suite, encoding="unicode") + "\n"


def _totals(record: Record, findings: Sequence[Finding]) -> dict[str, str]:
    def count(verdict: Verdict) -> str:
        return str(sum(finding.verdict is verdict for finding in findings))

    started = record.first(Kind.RUN_STARTED)
    return {
        "name": record.plan.scenario_id,
        "tests": str(len(findings)),
        "failures": count(Verdict.FAIL),
        "errors": count(Verdict.INCONCLUSIVE),
        "skipped": count(Verdict.NOT_APPLICABLE),
        "time": f"{record.end_s:.3f}",
        **({"timestamp": started.wall_time.removesuffix("Z")} if started else {}),
    }


def _properties(record: Record) -> list[tuple[str, str]]:
    started = record.first(Kind.RUN_STARTED)
    repeat = str(started.detail.get("repeat", "")) if started else ""
    plan = record.plan
    scale = f"{plan.time_scale:g}"
    return [("seed", str(plan.seed)), ("time_scale", scale), ("repeat", repeat), ("timeline_head", record.head)]


def _clean(text: str) -> str:
    """Without what no XML file can hold: a target may say anything."""
    return NOT_XML.sub("\ufffd", text)


REPORTER = JUnit
