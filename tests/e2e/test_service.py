"""A service that is no Grace, under a real process supervisor: what was seen is judged, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from harness.judge import judge
from harness.model import INVARIANT, Finding, Verdict, invariants_judged, overall
from harness.record import Record
from tests.processes import finish, locust
from tests.service import running

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
KILL = """\
scenario_id: service_kill
category: layer1
faults: [{type: kernel_kill, target: library}]
verification: ['library restarted within 20s']
max_recovery_time: 30
"""
IN_VAIN = KILL.replace("20s", "10s").replace(": 30", ": 15")  # of who never comes back, sooner said
PAUSE = """\
scenario_id: service_pause
category: layer1
faults: [{type: kernel_pause, target: %s, params: {pause_seconds: 60}}]
max_recovery_time: 30
"""
HANGING = f"{PAUSE}verification: ['failure_percent < 1']\n"
GUARDED = f"{PAUSE}prerequisites: []\nverification: ['each_fault_detected']\n"


def judged(folder: Path, text: str, restarts: bool = True) -> tuple[int, str, Record, list[Finding]]:
    """(exit code, what was printed, the run, its findings) of one scenario on a service of its own."""
    (folder / "mine.yaml").write_text(text)
    with running(folder / "service", restarts) as target:
        words = ("--scenario", str(folder / "mine.yaml"), "--target", str(target), "--time-scale", "0.1")
        code, said = finish(locust(*words, out=folder / "out"))
    runs = list((folder / "out").glob("*/*/timeline.jsonl"))
    assert runs, said[-4000:]
    record = Record.load(runs[0].parent)
    findings = judge(record)
    assert code == overall(findings).exit_code, said[-4000:]
    return code, said, record, findings


def named(findings: Sequence[Finding], check: str) -> Finding:
    return next(one for one in findings if one.check == check)


def told(findings: Sequence[Finding]) -> str:
    return json.dumps([(one.check, one.verdict, one.because) for one in findings if one.verdict is not Verdict.PASS])


def nothing_unseen(findings: Sequence[Finding]) -> None:
    """It has no safeguard and the scenario expects none: nobody is accused for that, and each finding has evidence."""
    assert not [one for one in findings if one.check in ("safeguard_engaged", "playbook_ran", "each_fault_detected")]
    assert not [one for one in findings if one.verdict in (Verdict.FAIL, Verdict.INCONCLUSIVE) and not one.evidence]
    assert all(one.group == INVARIANT for one in findings if one.verdict is Verdict.NOT_APPLICABLE)


def test_a_killed_worker_that_its_supervisor_replaces(tmp_path: Path) -> None:
    code, said, record, findings = judged(tmp_path, KILL)
    assert code == 0, told(findings)
    nothing_unseen(findings)
    assert named(findings, "restarted").verdict is Verdict.PASS and record.relapse is None
    unjudged = [one for one in findings if not one.judged]
    assert all(one.missing for one in unjudged)
    if any(one.group == INVARIANT for one in findings):
        count = sum(one.judged for one in findings if one.group == INVARIANT)
        told_of = invariants_judged(findings)
        assert f"PASS ({told_of})" in said and told_of.startswith(f"{count} of 8 invariants judged"), said[-2000:]
        assert count < 8


def test_a_killed_worker_that_nobody_replaces(tmp_path: Path) -> None:
    code, _, _, findings = judged(tmp_path, IN_VAIN, restarts=False)
    assert code == 1, told(findings)
    nothing_unseen(findings)
    red = named(findings, "restarted")
    assert (red.verdict, red.code) == (Verdict.FAIL, "restarted.no_new_process") and red.evidence
    assert named(findings, "recovery_within_limit").verdict is Verdict.FAIL


def test_a_paused_worker_whose_requests_hang(tmp_path: Path) -> None:
    """Nobody in the service sees a pause: what clients see of it decides."""
    code, _, record, findings = judged(tmp_path, HANGING % "library")
    assert code == 1, told(findings)
    nothing_unseen(findings)
    red = named(findings, "metric")
    assert red.verdict is Verdict.FAIL and any(one.startswith("requests.csv:") for one in red.evidence)
    assert {one.check for one in findings if one.verdict is Verdict.FAIL} <= {"metric"}, told(findings)
    assert named(findings, "symptom_seen").verdict is Verdict.PASS and record.recovered is not None


@pytest.mark.beside
def test_a_paused_api_leaves_nothing_to_compare_with_and_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(PAUSE % "api")
    with running(tmp_path / "service") as target:
        words = ("--scenario", str(tmp_path / "mine.yaml"), "--target", str(target))
        code, said = finish(locust(*words, out=tmp_path / "out"))
    assert code == 2 and "'no cascading failure' can never pass: each of the" in said, said[-3000:]
    assert not list(tmp_path.glob("out/*/*/timeline.jsonl"))


def test_a_detection_that_is_asked_for_is_inconclusive(tmp_path: Path) -> None:
    """It offers no events: whether it detected anything is not known, and that is not its failing."""
    code, _, _, findings = judged(tmp_path, GUARDED % "library")
    assert code == Verdict.INCONCLUSIVE.exit_code, told(findings)
    assert named(findings, "each_fault_detected").verdict is Verdict.INCONCLUSIVE


@pytest.mark.beside
def test_a_manifest_that_is_wrong_is_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(KILL)
    with running(tmp_path / "service") as target:
        wrong = tmp_path / "wrong.yaml"
        wrong.write_text(target.read_text().replace("library.pid", "librari.pid"))
        words = ("--scenario", str(tmp_path / "mine.yaml"), "--target", str(wrong))
        code, said = finish(locust(*words, out=tmp_path / "out"))
        line = next(n for n, text in enumerate(wrong.read_text().splitlines(), 1) if text.startswith("  library:"))
        assert code == 2 and f"{wrong}:{line}: processes.library" in said, said
        absent = tmp_path / "absent.yaml"
        absent.write_text(target.read_text().replace("path: /health", "path: /healthz"))
        words = ("--scenario", str(tmp_path / "mine.yaml"), "--target", str(absent))
        code, said = finish(locust(*words, out=tmp_path / "out"))
        assert code == Verdict.NOT_APPLICABLE.exit_code and "GET /health answers 404" in said, said[-3000:]
