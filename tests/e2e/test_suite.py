"""Real suites of short scenarios: from Locust, from plain asyncio, cut off by Ctrl-C and gone on with."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from harness.record import Record
from harness.suite_entries import seed_of
from harness.suite_result import judged_again
from tests.processes import ROOT, finish, locust, pids_with, wait_for, wait_for_event

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]
PAUSE = """- scenario_id: {name}
  category: multi_fault
  faults: [{{type: kernel_pause, target: {kernel}, params: {{pause_seconds: 45}}}}]
  expected_safeguards: [kernel_watchdog]
  users: 5
"""
LACKS = PAUSE.format(name="lacks", kernel="librarian") + "  prerequisites: [a_second_moon]\n"


def mine(folder: Path, *texts: str) -> Path:
    path = folder / "mine.yaml"
    path.write_text("".join(texts))
    return path


def report_in(out: Path) -> dict[str, Any]:
    (path,) = out.glob("chaos_report_*.json")
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def verdicts(report: dict[str, Any]) -> dict[str, str]:
    return {row["scenario_id"]: row["verdict"] for row in report["scenarios"]}


def test_a_headless_locust_that_is_asked_for_several_runs_them_one_after_the_other(tmp_path: Path) -> None:
    path = mine(tmp_path, PAUSE.format(name="one", kernel="librarian"), LACKS)
    words = ("--scenario", str(path), "--time-scale", "0.1", "--seed", "5", "--only-summary")
    code, said = finish(locust(*words, out=tmp_path / "out"), 240)
    report = report_in(tmp_path / "out")
    assert verdicts(report) == {"one": "PASS", "lacks": "NOT_APPLICABLE"}, said[-4000:]
    assert code == report["exit_code"] == 4 and report["success_rate"] == 50.0 and report["finished"]
    assert [one["seed"] for one in report["incidents"]] == [seed_of(5, "one"), seed_of(5, "lacks")]
    for row in report["scenarios"]:
        folder = tmp_path / "out" / row["run_folder"]
        assert judged_again(folder).verdict.value == row["verdict"] and (folder / "report.html").is_file()
    targets = {one["environment"]["base_url"] for one in report["incidents"]}
    assert len(targets) == 2, "a fresh Grace each"
    assert "[2/2] lacks: NOT_APPLICABLE" in said and "(suite: " in said
    cases = ElementTree.parse(next((tmp_path / "out").glob("*.junit.xml"))).getroot()
    assert (cases.get("tests"), cases.get("skipped"), cases.get("failures")) == ("2", "1", "0")


PLAIN = """
import asyncio, json, sys
from harness.suite import enhanced_chaos_runner

async def main():
    ticks = 0
    async def tick():
        nonlocal ticks
        while True:
            await asyncio.sleep(0.1)
            ticks += 1
    ticking = asyncio.create_task(tick())
    report = await enhanced_chaos_runner.run_full_suite(
        scenarios=[sys.argv[1]], time_scale=0.1, out=sys.argv[2], safeguards_off=["kernel_watchdog"])
    ticking.cancel()
    return report, ticks

report, ticks = asyncio.run(main())
import gevent.monkey, socket
print(json.dumps([report["passed"], report["failed"], report["total_scenarios"], report["success_rate"], ticks,
                  bool(gevent.monkey.saved), socket.socket.__module__]))
"""


def test_from_plain_asyncio_and_a_safeguard_that_is_off_fails(tmp_path: Path) -> None:
    path = mine(tmp_path, PAUSE.format(name="red", kernel="librarian"))
    command = [sys.executable, "-c", PLAIN, str(path), str(tmp_path / "out")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    passed, failed, total, rate, ticks, patched, module = json.loads(done.stdout)
    assert (passed, failed, total, rate, patched, module) == (0, 1, 1, 0.0, False, "socket")
    assert ticks > 50, "the caller's own work went on"
    (row,) = report_in(tmp_path / "out")["scenarios"]
    assert "kernel_watchdog" in row["because"] and row["exit_code"] == 1


@contextlib.contextmanager
def grace_chaos(*words: str) -> Iterator[subprocess.Popen[str]]:
    """A suite that hears SIGINT; one that has not ended by itself is told to."""
    process = subprocess.Popen(
        [sys.executable, "-m", "harness.cli", "run", *words],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=90)


def test_ctrl_c_heals_reports_and_the_suite_goes_on_later(tmp_path: Path) -> None:
    """With one Grace for the whole suite, which must be gone too."""
    path, out = mine(tmp_path, PAUSE.format(name="cut", kernel="librarian")), tmp_path / "out"
    words = (str(path), "--shared", "--time-scale", "0.1", "--seed", "5", "--out", str(out))
    with grace_chaos(*words) as process:
        folder = wait_for_event(out, "fault_injected", "kernel_pause", 90)
        home = Path(Record.load(folder).events[0].detail["repeat"].partition("--target ")[2].split()[0]).parent
        assert pids_with(str(home)), "the shared Grace"
        process.send_signal(signal.SIGINT)
        code, said = finish(process, 90)
    assert code == 3 and "go on: grace-chaos run --resume" in said and "Traceback" not in said, said[-3000:]
    assert all(fault.healed and fault.healed.detail["verified"] for fault in Record.load(folder).faults)
    wait_for(lambda: not pids_with(str(home)) and not pids_with(str(out)), 5, "nothing that is left")
    cut = report_in(out)
    assert (cut["cut"], cut["finished"], verdicts(cut)) == ("interrupted", False, {"cut": "INCONCLUSIVE"})

    with grace_chaos("--resume", str(out)) as process:
        code, said = finish(process, 200)
    report = report_in(out)
    assert code == 0 and verdicts(report) == {"cut": "PASS"} and report["finished"], said[-3000:]
    (again,) = report["incidents"]
    assert again["seed"] == Record.load(folder).plan.seed, "the same seed"


@pytest.mark.beside
def test_what_only_the_target_can_refuse_is_refused_before_anything_starts(tmp_path: Path) -> None:
    unknown = PAUSE.format(name="odd", kernel="libraryan")
    path, out = mine(tmp_path, PAUSE.format(name="good", kernel="librarian"), unknown), tmp_path / "out"
    wrong = {
        (str(path),): "Did you mean 'librarian'?",
        ("multi_fault", "--safeguards-off", "kernel_watchdg"): "Did you mean 'kernel_watchdog'?",
    }
    for words, expected in wrong.items():
        with grace_chaos(*words, "--out", str(out)) as process:
            code, said = finish(process, 60)
        assert code == 2 and expected in said and "Traceback" not in said
    assert not out.exists()
