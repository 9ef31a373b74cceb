"""Each check passes on a healthy record and goes red or undecided when what it checks is broken."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness import catalog
from harness.judge import judge, verdict
from harness.model import Verdict
from harness.record import Record
from tests.checks.test_backlog import CASES as BACKLOG_CASES
from tests.checks.test_bystanders import COLOURS as BYSTANDER_CASES
from tests.checks.test_classic_checks import CASES as CLASSIC_CASES
from tests.checks.test_deeds_logged import CASES as DEED_CASES
from tests.checks.test_deep_checks import CASES as DEEP_CASES
from tests.checks.test_drift_checks import CASES as DRIFT_CASES
from tests.checks.test_file_checks import CASES as FILE_CASES
from tests.checks.test_knowledge_whole import CASES as KNOWLEDGE_CASES
from tests.checks.test_ledger_checks import CASES as LEDGER_CASES
from tests.checks.test_load_accounted import CASES as LOAD_CASES
from tests.checks.test_log_checks import CASES as LOG_CASES
from tests.checks.test_playbook_spans import CASES as SPAN_CASES
from tests.checks.test_playbooks_effective import COLOURS as EFFECT_CASES
from tests.checks.test_refused import CASES as REFUSED_CASES
from tests.checks.test_retro_queue import CASES as RETRO_CASES
from tests.checks.test_retry_checks import CASES as RETRY_CASES
from tests.checks.test_worker_checks import CASES as WORKER_CASES
from tests.records import edit_row, write_run

PASS, FAIL, UNSURE = Verdict.PASS, Verdict.FAIL, Verdict.INCONCLUSIVE
WATCHED = ("acl_violation_monitor", "resource_pressure_monitor")
LOST = {"ended_by": "lost"}
CASES: list[tuple[str, dict[str, Any], Verdict]] = [
    ("safeguard_engaged", {}, PASS),
    ("safeguard_engaged", {"engaged": WATCHED}, FAIL),
    ("safeguard_engaged", {"engaged_early": True}, UNSURE),
    ("safeguard_engaged", LOST, UNSURE),
    ("playbook_ran", {}, PASS),
    ("playbook_ran", {"engaged": WATCHED}, FAIL),
    ("playbook_ran", {"outcome": "failed"}, FAIL),
    ("playbook_ran", LOST, UNSURE),
    ("metric", {}, PASS),
    ("metric", {"violations": 400}, FAIL),
    ("metric", {"cpu": 70.0}, FAIL),
    ("metric", {"cpu": 70.0, "achieved": {"cpu_spike": 70.0}}, UNSURE),
    ("metric", {"baseline": False}, UNSURE),
    ("restarted", {}, PASS),
    ("restarted", {"restarted": False}, FAIL),
    ("restarted", {"route_back_s": 90.0}, FAIL),
    ("restarted", LOST, UNSURE),
    ("all_safeguards_triggered", {}, PASS),
    ("all_safeguards_triggered", {"engaged": WATCHED}, FAIL),
    ("all_safeguards_triggered", LOST, UNSURE),
    ("all_faults_injected", {}, PASS),
    ("all_faults_injected", {"planned": False}, UNSURE),
    ("each_fault_detected", {}, PASS),
    ("each_fault_detected", {"engaged": WATCHED}, FAIL),
    ("each_fault_detected", {"engaged": (), **LOST}, UNSURE),
    ("recovery_within_limit", {}, PASS),
    ("recovery_within_limit", {"recovered": False}, UNSURE),
    ("no_cascading_failure", {}, PASS),
    ("no_cascading_failure", {"dragged": True}, FAIL),
    ("no_cascading_failure", {"bystander_failures": 20}, FAIL),
    ("no_cascading_failure", {"planned": False}, UNSURE),
    ("baseline_steady", {}, PASS),
    ("baseline_steady", {"baseline": False}, UNSURE),
    ("fault_attained", {}, PASS),
    ("fault_attained", {"achieved": {"cpu_spike": 84.0}}, UNSURE),
    ("fault_attained", {"achieved": {"acl_flood": 949.0}}, UNSURE),
    ("fault_attained", {"achieved": {"kernel_pause": 0.0}}, UNSURE),
    ("fault_attained", LOST, UNSURE),
    ("symptom_seen", {}, PASS),
    ("symptom_seen", {"symptom": False}, UNSURE),
    ("signals_complete", {}, PASS),
    ("signals_complete", {"silent_s": 7.0}, UNSURE),
    ("generator_healthy", {}, PASS),
    ("generator_healthy", {"lag_ms": 400.0}, UNSURE),
    ("generator_healthy", {"workers": {"w1": 9.0, "w2": 8.0}}, PASS),
    ("generator_healthy", {"workers": {"w1": 9.0, "w2": 400.0}}, UNSURE),
    ("generator_healthy", {"workers": {"w1": 9.0, "w2": None}}, UNSURE),
    ("run_complete", {}, PASS),
    ("run_complete", {"aborted": True}, UNSURE),
    ("run_complete", {"finished": False}, UNSURE),
    ("run_complete", {"healed": False}, UNSURE),
    ("journal_intact", {}, PASS),
    ("actor_cut_off", {}, PASS),
    ("actor_cut_off", {"heard_after": 9}, FAIL),
    ("actor_cut_off", {"heard": False}, UNSURE),
    ("actor_cut_off", {"deaf_from_s": 9.0}, UNSURE),  # a bus that delivers to nobody any more
    ("actor_cut_off", {"deaf_from_s": 11.5}, UNSURE),
    ("actor_cut_off", {"deaf_from_s": 9.0, "heard_after": 9}, FAIL),
    ("actor_cut_off", {"deaf_from_s": 14.0}, PASS),
    ("load_shed", {}, PASS),
    ("load_shed", {"shed_at": ()}, FAIL),
    ("load_shed", {"shed_at": (8.0, 13.0)}, FAIL),
    ("load_shed", {"shed_at": (13.0, 28.0)}, FAIL),
    ("load_shed", {"achieved": {"cpu_spike": 50.0}}, UNSURE),
]


@pytest.mark.parametrize(("check", "knobs", "expected"), CASES)
def test_check(tmp_path: Path, check: str, knobs: dict[str, Any], expected: Verdict) -> None:
    findings = [one for one in judge(write_run(tmp_path, **knobs)) if one.check == check]
    assert findings, f"the plan makes no claim with {check}"
    assert Verdict.worst([one.verdict for one in findings]) is expected, findings


def test_every_check_is_seen_in_each_colour_that_it_has() -> None:
    others = (
        *DEEP_CASES,
        *DRIFT_CASES,
        *LEDGER_CASES,
        *WORKER_CASES,
        *FILE_CASES,
        *SPAN_CASES,
        *RETRO_CASES,
        *REFUSED_CASES,
        *RETRY_CASES,
        *DEED_CASES,
    )
    others = (*others, *CLASSIC_CASES, *LOG_CASES, *BACKLOG_CASES, *KNOWLEDGE_CASES)
    others = (*others, *BYSTANDER_CASES, *EFFECT_CASES, *LOAD_CASES)
    cases = [*((case[0], case[2]) for case in CASES), *((case[0], case[2]) for case in others)]
    own = {path.stem.removeprefix("test_") for path in Path(__file__).parent.glob("test_*.py")}
    own &= set(catalog.invariants())  # each of these has a file of its own that shows it green and red by code
    seen = {name: {colour for check, colour in cases if check == name} for name in set(catalog.checks()) - own}
    assert {name for name, colours in seen.items() if PASS not in colours} == {"control_clean"}  # it never passes
    assert {n for n, c in seen.items() if not c & {FAIL, UNSURE}} == {"control_clean", "journal_intact"}


def test_a_healthy_run_passes_and_cites_evidence_for_what_it_says(tmp_path: Path) -> None:
    findings = judge(write_run(tmp_path))
    assert verdict(findings) is PASS, [one for one in findings if one.verdict is not PASS]
    assert all(one.evidence for one in findings if one.group in ("safeguard", "playbook", "verification"))


def test_an_edited_row_never_passes(tmp_path: Path) -> None:
    write_run(tmp_path)
    record = edit_row(tmp_path, 3, subject="cpu_spike")
    assert verdict(judge(record)) is not PASS
    assert next(one for one in judge(record) if one.check == "journal_intact").verdict is UNSURE


@pytest.mark.parametrize("name", ["plan.json", "signals.csv", "requests.csv"])
def test_an_edited_file_never_passes(tmp_path: Path, name: str) -> None:
    path = write_run(tmp_path).folder / name
    before = path.read_text()
    path.write_text(before + "\n")
    assert verdict(judge(Record.load(path.parent))) is not PASS


def test_no_recovery_fails_only_when_the_limit_was_waited_for(tmp_path: Path) -> None:
    record = write_run(tmp_path, recovered=False)
    assert next(one for one in judge(record) if one.check == "recovery_within_limit").verdict is UNSURE


def test_an_interrupted_run_never_fails_nor_passes(tmp_path: Path) -> None:
    findings = judge(write_run(tmp_path, engaged=(), aborted=True, finished=False))
    assert verdict(findings) is UNSURE


def test_a_check_that_crashes_is_inconclusive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record = write_run(tmp_path)
    monkeypatch.setattr(catalog.checks()["baseline_steady"], "check", lambda self, record: 1 / 0)
    found = next(one for one in judge(record) if one.check == "baseline_steady")
    assert found.verdict is UNSURE and "ZeroDivisionError" in found.because


def test_nothing_judged_is_not_a_pass() -> None:
    assert verdict([]) is UNSURE
