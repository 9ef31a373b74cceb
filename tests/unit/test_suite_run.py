"""A suite with real processes that leave run folders of paper: what is counted, kept, cut off and gone on with."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from harness import cli, suite_run
from harness.suite_check import Asked, SuiteRefused
from harness.suite_child import last_words
from harness.suite_door import verify
from harness.suite_entries import entries, seed_of
from harness.suite_pause import Pause, pause
from harness.suite_run import Listener, Suite, resume_suite, resumed
from harness.suite_state import State, begin
from tests.processes import ROOT, pids_with, wait_for

pytestmark = pytest.mark.timeout(120)
PAPER = str(ROOT / "tests" / "paper_locust.py")


class Stage:
    """A folder with scenarios that go as they are told to."""

    def __init__(self, folder: Path, **told: str) -> None:
        self.folder, self.out = folder, folder / "out"
        self.told = folder / "told"
        self.told.mkdir()
        fault = "faults: [{type: cpu_spike, params: {cpu_percent: 50, duration_seconds: 10}}]"
        self.file = folder / "mine.yaml"
        self.file.write_text("".join(f"- scenario_id: {name}\n  category: layer2\n  {fault}\n" for name in told))
        for name, how in told.items():
            self.tell(name, how)

    def tell(self, name: str, how: str) -> None:
        (self.told / name).write_text(how)

    @property
    def asked(self) -> Asked:
        return Asked(scenarios=(str(self.file),), out=self.out, seed=11, words=("-f", PAPER))

    def state(self) -> State:
        return begin(self.asked, entries(self.asked.scenarios))

    def order(self) -> list[list[str]]:
        """[scenario, seed, how] of what was started."""
        return [line.split() for line in (self.told / "order").read_text().splitlines()]

    def report(self) -> dict[str, Any]:
        path = max(self.out.glob("chaos_report_*.json"))
        found: dict[str, Any] = json.loads(path.read_text())
        return found


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("GRACE_PAPER", str(tmp_path / "told"))
    monkeypatch.setattr(suite_run, "check", lambda asked: entries(asked.scenarios))

    async def no_pause(unwell: Any) -> Pause:
        return await pause(unwell, lambda: 0.0, quiet_s=0.0, limit_s=0.0)

    monkeypatch.setattr(suite_run, "pause", no_pause)
    return lambda **told: Stage(tmp_path, **told)


def run(state: State, listener: Listener | None = None) -> dict[str, Any]:
    return asyncio.run(Suite(state, listener).run())


def verdicts(report: dict[str, Any]) -> dict[str, str]:
    return {row["scenario_id"]: row["verdict"] for row in report["scenarios"]}


def test_each_is_counted_as_what_it_is(stage: Any) -> None:
    on = stage(a="pass", b="fail", c="lie", d="empty", e="crash", f="broken", g="refuse", h="inconclusive")
    report = run(on.state())
    assert verdicts(report) == {"a": "PASS", "b": "FAIL", **dict.fromkeys("cdefgh", "INCONCLUSIVE")}
    because = {row["scenario_id"]: row["because"] for row in report["scenarios"]}
    assert "kernel_watchdog" in because["b"] and "does not agree" in because["c"]
    assert "no run folder (exit code 0)" in because["d"] and "no run folder (killed by SIGKILL)" in because["e"]
    assert "before its verdict (killed by SIGKILL)" in because["f"] and "it is refused in words" in because["g"]
    assert (report["total_scenarios"], report["passed"], report["failed"]) == (8, 1, 1)
    assert (report["inconclusive"], report["not_applicable"], report["success_rate"]) == (6, 0, 12.5)
    assert (report["verdict"], report["exit_code"], report["finished"]) == ("FAIL", 1, True)
    assert {"timestamp", "results_dir", "incidents"} <= report.keys()
    assert [(one["scenario_id"], one["success"]) for one in report["incidents"]][:3] == [
        *(("a", True), ("b", False), ("c", False)),
    ]
    assert report["incidents"][0]["faults"] and report["incidents"][0]["verifications"]
    assert on.order() == [[name, str(seed_of(11, name)), (on.told / name).read_text()] for name in "abcdefgh"]
    assert on.report() == report
    html_and_junit_say_the_same(on, report)


def test_what_lacks_something_is_not_applicable_and_the_rest_runs(stage: Any) -> None:
    on = stage(a="pass", b="pass")
    found = entries(on.asked.scenarios)
    lacking = [found[0].__class__(**{**vars(found[0]), "lacks": "no check is called 'wins'"}), found[1]]
    report = run(begin(on.asked, lacking))
    assert verdicts(report) == {"a": "NOT_APPLICABLE", "b": "PASS"} and report["exit_code"] == 4
    assert (report["not_applicable"], report["success_rate"]) == (1, 50.0)
    assert [row[0] for row in on.order()] == ["b"]


def test_the_report_is_there_after_each_and_never_says_more_than_is_known(stage: Any) -> None:
    on = stage(a="pass", b="fail", c="pass")
    seen: list[dict[str, Any]] = []

    class Looks(Listener):
        def scenario(self, state: State, number: int) -> None:
            seen.append(on.report())

        def ended(self, state: State, number: int) -> None:
            seen.append(on.report())

    run(on.state(), Looks())
    assert [(one["passed"], one["failed"], one["inconclusive"], one["finished"]) for one in seen] == [
        *((0, 0, 3, False), (1, 0, 2, False), (1, 0, 2, False)),
        *((1, 1, 1, False), (1, 1, 1, False), (2, 1, 0, True)),
    ]
    assert [one["scenarios"][0]["state"] for one in seen[:2]] == ["running", "ended"]


def html_and_junit_say_the_same(on: Stage, report: dict[str, Any]) -> None:
    page = Path(report["report_file"]).with_suffix(".html").read_text()
    for row in report["scenarios"]:
        link, log = f"{row['run_folder']}/report.html", row["log"]
        there = bool(row["run_folder"]) and (on.out / link).is_file()
        assert (f'href="{link}"' in page) is there and (f'href="{log}"' in page) is not there, row
    assert page.index("FAIL</span><td>") < page.index("PASS</span><td>") and "no run folder" in page
    suites = ElementTree.parse(Path(report["report_file"]).with_suffix(".junit.xml")).getroot()
    assert (suites.get("tests"), suites.get("failures"), suites.get("errors")) == ("8", "1", "6")
    outcomes = ("failure", "error", "skipped")
    cases = {one.get("name"): [child.tag for child in one if child.tag in outcomes] for one in suites.iter("testcase")}
    assert cases == {"a": [], "b": ["failure"], **{name: ["error"] for name in "cdefgh"}}
    heads = {one.get("name"): [p.get("value") for p in one.iter("property")] for one in suites.iter("testcase")}
    for row in report["scenarios"]:
        assert heads[row["scenario_id"]] == ([row["timeline_head"]] if row["timeline_head"] else [])
        mine = Path(on.out, row["run_folder"], "timeline.jsonl")
        if row["verdict"] in ("PASS", "FAIL"):
            assert json.loads(mine.read_text().splitlines()[-1])["hash"] == row["timeline_head"]


async def cancelled_when(suite: Suite, ready: Any) -> None:
    task = asyncio.ensure_future(suite.run())
    while not ready():
        assert not task.done()
        await asyncio.sleep(0.02)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_cancelled_it_heals_leaves_nothing_and_goes_on_where_it_stopped(stage: Any) -> None:
    on = stage(a="pass", b="hang", c="pass")
    hangs = on.told / "hangs"
    asyncio.run(cancelled_when(Suite(on.state()), hangs.exists))
    assert (on.told / "healed").exists() and not pids_with(str(on.out))
    cut = on.report()
    assert verdicts(cut) == {"a": "PASS", "b": "INCONCLUSIVE", "c": "INCONCLUSIVE"} and cut["exit_code"] == 3
    assert [row["state"] for row in cut["scenarios"]] == ["ended", "interrupted", "waiting"]
    assert cut["cut"] == "interrupted" and not cut["finished"]

    on.tell("b", "fail")
    report = asyncio.run(resume_suite(on.out))
    assert verdicts(report) == {"a": "PASS", "b": "FAIL", "c": "PASS"} and report["finished"] and not report["cut"]
    assert report["report_file"] == cut["report_file"]
    assert on.order() == [[name, str(seed_of(11, name)), how] for name, how in zip("abbc", on_how(), strict=True)]
    with pytest.raises(SuiteRefused, match="every suite in it has finished"):
        asyncio.run(resume_suite(on.out))


def test_verify_judges_every_run_of_a_report_again(stage: Any, capsys: pytest.CaptureFixture[str]) -> None:
    on = stage(a="pass", b="pass", c="lie")
    report = run(on.state())
    path = Path(report["report_file"])
    assert verify(path) == 3 and capsys.readouterr().out.count("PASS ") == 2
    folder = on.out / report["scenarios"][0]["run_folder"]
    (folder / "timeline.jsonl").unlink()
    assert verify(path) == 3 and "(the report says PASS)" in capsys.readouterr().out
    said_to_pass = path.read_text().replace('"verdict": "INCONCLUSIVE"', '"verdict": "PASS"')
    path.write_text(said_to_pass)
    assert verify(path) == 1, "the folder of c tells of a FAIL, whatever the report says"
    path.write_text("{}")
    assert verify(path) == 2


def test_report_writes_the_page_again_and_a_folder_of_a_suite_says_which_to_name(
    stage: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    on = stage(a="pass", b="fail")
    path = Path(run(on.state())["report_file"])
    page = path.with_suffix(".html")
    told = page.read_text()
    page.write_text("")
    path.with_suffix(".junit.xml").unlink()
    monkeypatch.setattr(sys, "argv", ["grace-chaos", "report", str(path)])
    assert cli.main() == 1 and page.read_text() == told and path.with_suffix(".junit.xml").exists()
    assert capsys.readouterr().out == f"FAIL: {page}\n"
    for verb in ("report", "verify"):
        monkeypatch.setattr(sys, "argv", ["grace-chaos", verb, str(on.out)])
        assert cli.main() == 2 and f"of a suite, name its report: {path}" in capsys.readouterr().err
    path.write_text('{"verdict": "PASS"}')
    monkeypatch.setattr(sys, "argv", ["grace-chaos", "report", str(path)])
    assert cli.main() == 2 and "not a suite report: KeyError" in capsys.readouterr().err


def on_how() -> tuple[str, ...]:
    return "pass", "hang", "fail", "pass"


def test_a_pass_that_does_not_hold_any_more_runs_again(stage: Any) -> None:
    on = stage(a="pass", b="pass", c="pass", d="pass", e="hang")
    hangs = on.told / "hangs"
    asyncio.run(cancelled_when(Suite(on.state()), hangs.exists))
    path = Path(on.report()["report_file"])
    assert [row.state for row in resumed(path).rows] == [*["ended"] * 4, "waiting"]
    folders = [on.out / row["run_folder"] for row in on.report()["scenarios"]]
    timeline = folders[1] / "timeline.jsonl"
    timeline.write_text(timeline.read_text().replace("4242", "4243"))
    (folders[2] / "plan.json").unlink()
    text = path.read_text()
    path.write_text(text.replace('"verdict": "PASS",\n   "because"', '"verdict": "FAIL",\n   "because"', 1))
    assert path.read_text() != text, "the row of a"
    assert [row.state for row in resumed(path).rows] == ["waiting", "waiting", "waiting", "ended", "waiting"]
    on.file.write_text(on.file.read_text() + "  users: 7\n")
    assert [row.state for row in resumed(path).rows] == ["waiting"] * 5, "of another file than was run"


def test_a_row_whose_folder_is_of_another_run_runs_again(stage: Any) -> None:
    """Of another scenario of the same file, of another seed, or with another end: it is not what the report is of."""
    on = stage(a="pass", b="pass", c="pass", d="pass", e="hang")
    hangs = on.told / "hangs"
    asyncio.run(cancelled_when(Suite(on.state()), hangs.exists))
    path = Path(on.report()["report_file"])
    report = json.loads(path.read_text())
    rows = report["scenarios"]
    assert all(row["timeline_head"] for row in rows[:4])
    rows[0]["run_folder"] = rows[1]["run_folder"]
    rows[2]["timeline_head"] = rows[1]["timeline_head"]
    rows[3]["seed"] += 1
    path.write_text(json.dumps(report))
    assert [row.state for row in resumed(path).rows] == ["waiting", "ended", "waiting", "waiting", "waiting"]
    rows[1]["timeline_head"] = ""
    path.write_text(json.dumps(report))
    assert resumed(path).rows[1].state == "ended", "a report of before heads were written"


def test_what_cannot_be_resumed_is_said(tmp_path: Path) -> None:
    for text in ("{", "[]", '{"schema": "grace-suite/1"}', '{"schema": "another"}'):
        path = tmp_path / "chaos_report_x.json"
        path.write_text(text)
        with pytest.raises(SuiteRefused, match="not a suite report"):
            asyncio.run(resume_suite(path))
    path.write_text('{"schema": "grace-waves/1"}')
    with pytest.raises(SuiteRefused, match="it is of a test run in waves, which is begun anew: grace-chaos waves"):
        asyncio.run(resume_suite(path))
    with pytest.raises(SuiteRefused, match="holds no suite report"):
        asyncio.run(resume_suite(tmp_path))


def test_the_stop_file_ends_the_suite(stage: Any) -> None:
    on = stage(a="pass", b="pass")

    class Halts(Listener):
        def ended(self, state: State, number: int) -> None:
            (on.out / "HALT").touch()

    report = run(on.state(), Halts())
    assert verdicts(report) == {"a": "PASS", "b": "INCONCLUSIVE"} and "halted by the stop file" in report["cut"]
    assert [row[0] for row in on.order()] == ["a"]


def test_a_listener_that_breaks_stops_the_scenario_first(stage: Any) -> None:
    on = stage(a="hang")

    class Breaks(Listener):
        def printed(self, state: State, number: int, elapsed_s: float, lines: Any) -> None:
            if (on.told / "hangs").exists():
                raise BrokenPipeError("nobody reads")

    with pytest.raises(BrokenPipeError):
        run(on.state(), Breaks())
    assert (on.told / "healed").exists() and not pids_with(str(on.out))


def test_the_last_words_are_not_locusts_tables(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert last_words(log) == "nothing"
    table = "Type     Name      # reqs\n-----|-----\n Aggregated 0\n"
    log.write_text(f"a plan\nnot started: why\n[x] vm/INFO/locust.main: Shutting down\n{table}")
    assert last_words(log) == "a plan / not started: why"
    log.write_text(
        "run folder x\n[   0.2 s] baseline [......]  0.2 s\n[   5.1 s] faults   [##....]  2.0 s  cpu_spike\n"
    )
    assert last_words(log) == "run folder x / [   5.1 s] faults 2.0 s  cpu_spike"


ALONE = """
import asyncio, sys
from pathlib import Path
from harness.suite_check import Asked
from harness.suite_entries import entries
from harness.suite_run import Suite
from harness.suite_state import begin
asked = Asked(scenarios=(sys.argv[1],), out=Path(sys.argv[2]), seed=11, words=("-f", sys.argv[3]))
asyncio.run(Suite(begin(asked, entries(asked.scenarios))).run())
"""


def test_killed_its_scenario_is_told_to_stop_and_heals(stage: Any) -> None:
    on = stage(a="hang", b="pass")
    words = [sys.executable, "-c", ALONE, str(on.file), str(on.out), PAPER]
    process = subprocess.Popen(words, cwd=ROOT, start_new_session=True)
    try:
        wait_for((on.told / "hangs").exists, 20, "a scenario that runs")
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    wait_for((on.told / "healed").exists, 10, "the scenario's own end")
    wait_for(lambda: not pids_with(str(on.out)), 10, "no process of it")
    assert [row["state"] for row in on.report()["scenarios"]] == ["running", "waiting"]
    on.tell("a", "pass")
    assert verdicts(asyncio.run(resume_suite(on.out))) == {"a": "PASS", "b": "PASS"}


def test_the_callers_process_is_not_patched(stage: Any) -> None:
    on = stage(a="pass")
    look = "\nimport gevent.monkey, socket, threading\nassert not gevent.monkey.saved\n"
    look += "assert socket.socket.__module__ == 'socket' and 'locust' not in sys.modules\nprint('as it was')"
    words = [sys.executable, "-c", ALONE + look, str(on.file), str(on.out), PAPER]
    assert subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout == "as it was\n"


def test_a_pause_waits_for_quiet_and_says_what_was_not() -> None:
    busy = iter([90.0, 80.0, 10.0, 10.0, 10.0])
    quiet = asyncio.run(pause(lambda: "", lambda: next(busy), quiet_s=0.8, limit_s=20))
    assert quiet.because == "" and 1.6 <= quiet.waited_s < 5
    hot = asyncio.run(pause(lambda: "", lambda: 90.0, quiet_s=0.8, limit_s=1.2))
    assert hot.because == "the machine is busy to 90 %" and hot.waited_s >= 1.2
    ill = asyncio.run(pause(lambda: "GET / answers 503", lambda: 0.0, quiet_s=0.8, limit_s=1.2))
    assert ill.because == "GET / answers 503"
