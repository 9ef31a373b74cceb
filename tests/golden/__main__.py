"""Freezes the run folder and the reports that tests/golden/test_golden.py compares: python -m tests.golden

Run it when a report changes on purpose, and read the difference before it is committed.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from pathlib import Path

from harness import catalog
from harness.judge import judge
from harness.model import Kind
from harness.record import Record
from tests.drafts import NAME, Draft, healthy

HERE = Path(__file__).parent
RUN = HERE / "run" / NAME
EXPECTED = HERE / "expected"


def troubled() -> Draft:
    """A run with everything that a report must be able to show: a FAIL, what cannot be known, and odd words."""
    draft = healthy()
    draft.drop(Kind.SAFEGUARD_ENGAGED, "kernel_watchdog").drop(Kind.SAFEGUARD_RELEASED, "kernel_watchdog")
    draft.drop(Kind.PLAYBOOK_STARTED, "kernel_restart").drop(Kind.PLAYBOOK_FINISHED, "kernel_restart")
    draft.drop(Kind.KERNEL_CHANGED, "memory_fusion").drop(Kind.RECOVERED)
    low = {"mean": 71.25, "sd": 1.5, "p5": 68.0, "p95": 73.0, "max": 73.5, "n": 24.0}
    draft.change(Kind.FAULT_ENDED, "cpu_spike", achieved=low)
    odd = {"subject": "<b>\"odd\" & 'actor'</b>", "incident_id": "odd", "reason": "</script><script>alert(1)</script>"}
    draft.add(9.0, Kind.SAFEGUARD_ENGAGED, "acl_violation_monitor", "control_plane", **odd)
    return draft


def freeze() -> None:
    shutil.rmtree(HERE / "run", ignore_errors=True)
    shutil.rmtree(EXPECTED, ignore_errors=True)
    record = Record.load(troubled().write(HERE / "run"))
    findings = judge(record)
    (RUN / "findings.json").write_text(json.dumps([asdict(one) for one in findings], indent=1) + "\n")
    EXPECTED.mkdir()
    for kind in catalog.reporters().values():
        (EXPECTED / kind.filename).write_text(kind().render(record, findings), encoding="utf-8")


if __name__ == "__main__":
    freeze()
