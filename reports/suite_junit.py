"""A suite's report → JUnit: one test case a scenario, in a suite a category."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from xml.etree import ElementTree

from harness.model import Verdict
from reports.junit import ELEMENTS, NOT_XML


def suite_junit(report: Mapping[str, Any]) -> str:
    """FAIL is a failure, INCONCLUSIVE an error, NOT_APPLICABLE skipped; so is what has not been run an error."""
    root = ElementTree.Element("testsuites", {"name": "grace-chaos", **_totals(report["scenarios"])})
    for category in dict.fromkeys(row["category"] for row in report["scenarios"]):
        rows = [row for row in report["scenarios"] if row["category"] == category]
        suite = ElementTree.SubElement(root, "testsuite", {"name": _clean(category), **_totals(rows)})
        for row in rows:
            known = {"classname": _clean(category), "name": _clean(row["scenario_id"])}
            case = ElementTree.SubElement(suite, "testcase", {**known, "time": f"{row['took_s'] or 0:.3f}"})
            if head := row.get("timeline_head"):
                properties = ElementTree.SubElement(case, "properties")
                ElementTree.SubElement(properties, "property", name="timeline_head", value=_clean(head))
            element = ELEMENTS.get(Verdict(row["verdict"]))
            if element:
                child = ElementTree.SubElement(case, element, message=_clean(row["because"]))
                child.text = _clean(f"seed {row['seed']} {row['run_folder']}".strip())
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def _totals(rows: list[Mapping[str, Any]]) -> dict[str, str]:
    def count(verdict: Verdict) -> str:
        return str(sum(row["verdict"] == verdict.value for row in rows))

    return {
        "tests": str(len(rows)),
        "failures": count(Verdict.FAIL),
        "errors": count(Verdict.INCONCLUSIVE),
        "skipped": count(Verdict.NOT_APPLICABLE),
        "time": f"{sum(row['took_s'] or 0 for row in rows):.3f}",
    }


def _clean(text: object) -> str:
    return NOT_XML.sub("\ufffd", str(text))
