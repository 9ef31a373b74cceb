"""A run stops itself before it does too much harm, and what an earlier one left is taken back at the next start."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from harness.model import Undo
from harness.primitives.kill_marked import marked
from harness.primitives.resume import resume
from harness.process import process_state, read_process
from harness.record import Record
from harness.undo_log import UndoLog
from tests.processes import ROOT, finish, locust, run_folder, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(200)]
SPIKE = """scenario_id: stops
faults:
  - {type: cpu_spike, params: {cpu_percent: 90, duration_seconds: 60}}
users: 5
"""


def run_of(folder: Path, text: str, *words: str) -> tuple[int, str, Record]:
    mine = folder / "mine.yaml"
    mine.write_text(text)
    code, said = finish(locust("--scenario", str(mine), *words, out=folder / "out"))
    return code, said, Record.load(run_folder(folder / "out"))


def stuck_below(run: Path) -> None:
    """A run that has left a fault which nobody can heal."""
    run.mkdir(parents=True)
    log = UndoLog(run)
    log.write("PLANNED", "f", undo=[{"op": "no_such_primitive"}])
    log.close()


def test_a_stop_condition_heals_and_ends_the_run(tmp_path: Path) -> None:
    stuck_below(tmp_path / "out" / "X" / "20260101T000000Z")
    code, said, record = run_of(tmp_path, SPIKE + "stop_when: [cpu_percent > 60 and faults_in_force > 0 for 2s]\n")
    assert "STILL IN FORCE, of an earlier run: 20260101T000000Z f: was STUCK; no_such_primitive" in said
    assert len(record.events[0].detail["stuck"]) == 1, "and what is judged knows it: checks.run_complete"
    assert code == 3 and "stop condition 'cpu_percent > 60 and faults_in_force > 0 for 2s'" in said, said[-3000:]
    fault = record.fault("cpu_spike")
    assert fault.injected and fault.ended and fault.healed and fault.healed.detail["verified"]
    assert fault.ended_by == "halt" and fault.ended.at_s - fault.injected.at_s < 20, "not after its own 60 s"
    assert not marked(f"{record.folder.name}/cpu_spike")


@pytest.mark.beside
def test_a_floor_that_is_broken_ends_the_run_before_any_fault(tmp_path: Path) -> None:
    code, said, record = run_of(tmp_path, SPIKE + "unsafe: {free_memory_mb_min: 900000000}\n")
    assert code == 3 and "MB of memory are free, at least 9e+08 must be" in said, said[-3000:]
    assert record.fault("cpu_spike").injected is None
    assert record.events[0].detail["unsafe"] == {"free_memory_mb_min": 9e8}
    assert "free_memory_mb_min" in (record.folder / "report.html").read_text()


@pytest.mark.beside
def test_what_an_earlier_run_left_is_taken_back_at_the_start(tmp_path: Path) -> None:
    sleeper = subprocess.Popen([sys.executable, "-c", "import time\nwhile True: time.sleep(0.05)"])
    try:
        process = wait_for(lambda: read_process(sleeper.pid), 5)
        os.kill(sleeper.pid, signal.SIGSTOP)
        wait_for(lambda: process_state(sleeper.pid) == "T", 5)
        left = tmp_path / "out" / "X" / "20260101T000000Z"
        left.mkdir(parents=True)
        log = UndoLog(left)
        log.write("PLANNED", "kernel_pause", undo=[dict(one) for one in Undo(primitives=(resume(process),)).primitives])
        log.write("ACTIVE", "kernel_pause")
        log.close()
        code, said = finish(locust("--scenario", "no_such_scenario", out=tmp_path / "out"), 60)
        assert code == 2 and "left by an earlier run, taken back now: 20260101T000000Z kernel_pause" in said
        assert process_state(sleeper.pid) != "T"
    finally:
        sleeper.kill()
        sleeper.wait()


@pytest.mark.beside
def test_heal_says_what_it_did_and_what_is_stuck(tmp_path: Path) -> None:
    heal = [sys.executable, "-m", "harness.cli", "heal", str(tmp_path)]

    def healed() -> tuple[int, str]:
        done = subprocess.run(heal, cwd=ROOT, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr

    assert healed() == (0, f"nothing to heal below {tmp_path}\n")
    stuck_below(tmp_path / "run")
    code, said = healed()
    assert code == 3 and "run f: was PLANNED; no_such_primitive: no primitive is called" in said and "(STUCK)" in said


@pytest.mark.beside
def test_a_host_beyond_this_machine_is_refused_without_a_permit(tmp_path: Path) -> None:
    manifest = tmp_path / "target.yaml"
    manifest.write_text(
        "schema: grace-target/1\nbase_url: http://192.0.2.1:80\n"
        "routes: [{name: a, method: GET, path: /, kernels: [memory_fusion]}]\n"
        "permits: [{host: 192.0.2.1, owner: Ada, expires: 2020-01-01}]\n"
    )
    target = ("--host", "http://192.0.2.1:80", "--target", str(manifest))
    code, said = finish(locust(*target, out=tmp_path / "out"), 60)
    assert code == 2 and "only loopback addresses are allowed" in said and "Traceback" not in said
    code, said = finish(locust(*target, "--allow-host", "192.0.2.1", out=tmp_path / "out"), 60)
    assert code == 2 and "the permit for 192.0.2.1 ended on 2020-01-01" in said and "Traceback" not in said


@pytest.mark.beside
def test_a_target_that_lacks_something_is_not_applicable(tmp_path: Path) -> None:
    code, said, record = run_of(tmp_path, SPIKE + "prerequisites: [second_instance]\n")
    assert code == 4 and "prerequisite 'second_instance'" in said, said[-3000:]
    rows = json.loads((record.folder / "findings.json").read_text())
    verdicts = {row["check"] == "journal_intact": row["verdict"] for row in rows}
    assert verdicts == {True: "PASS", False: "NOT_APPLICABLE"}
    assert [row["verdict"] for row in rows if row["verdict"] not in ("PASS", "NOT_APPLICABLE")] == []
    assert "<skipped" in (record.folder / "junit.xml").read_text()
    assert record.first_injection_s is None
