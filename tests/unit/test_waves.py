"""A test run in waves, with real processes that leave run folders of paper: order, escalation, incidents, report."""

from __future__ import annotations

import asyncio
import json
import os
import threading
from dataclasses import replace
from html import escape
from pathlib import Path
from typing import Any

import pytest

from harness import wave_console, wave_steady, waves
from harness.metrics import UNITS
from harness.plan import Options, describe
from harness.process import read_process
from harness.suite_check import Asked
from harness.suite_entries import entries
from harness.suite_pause import Pause
from harness.suite_run import Listener
from harness.undo_log import UndoLog, opened_by
from harness.wave import find_together, plan_together
from harness.wave_groups import Group
from harness.wave_steady import left_in_force, unsteady
from harness.waves import Prepared, Waves, begin, prepare, wave_seed
from tests.drafts import PaperTarget
from tests.fake_target import Answer, as_json, serving, target
from tests.paper_locust import paper_plan
from tests.processes import ROOT, pids_with

pytestmark = pytest.mark.timeout(60)
PAPER = str(ROOT / "tests" / "paper_locust.py")
FAULT = "faults: [{type: cpu_spike, params: {cpu_percent: 50, duration_seconds: 10}}]"
RUNNING = {"name": "librarian", "state": "running", "heartbeat_age_s": 0.1}
KERNELS = {"kernels": [RUNNING]}
QUIET = {"safeguards": [{"name": "kernel_watchdog", "engaged": []}]}
UNSURE = "INCONCLUSIVE"


class Stage:
    """Waves (a, b), (c), (d), whose processes go as they are told to."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, **told: str) -> None:
        self.out, self.told = folder / "out", folder / "told"
        self.told.mkdir()
        file = folder / "mine.yaml"
        file.write_text("".join(f"- scenario_id: {name}\n  category: layer2\n  {FAULT}\n" for name in "abcd"))
        for name in ("a+b", "c", "d"):
            (self.told / name).write_text(told.get(name.replace("+", ""), "pass"))
        monkeypatch.setenv("GRACE_PAPER", str(self.told))
        self.trouble: list[str] = []
        monkeypatch.setattr(waves, "unsteady", lambda target: self.trouble.pop(0) if self.trouble else "")

        async def no_pause(unwell: Any) -> Pause:
            return Pause(waited_s=1.0)

        monkeypatch.setattr(waves, "pause", no_pause)
        self.asked = Asked(scenarios=(str(file),), out=self.out, seed=11, words=("-f", PAPER))
        found = {one.scenario_id: one for one in entries(self.asked.scenarios)}
        made = [((1, 1), ("a", "b")), ((2, 3), ("c",)), ((3, 5), ("d",))]
        groups = tuple(Group(number=n, severity=s, members=ids, apart={}) for (n, s), ids in made)
        plans = tuple(paper_plan("+".join(ids), wave_seed(11, n)) for (n, _), ids in made)
        self.made = Prepared(entries=found, groups=groups, plans=plans, lacking={})
        self.target = target(folder)

    def suite(self, keep_going: bool = False, listener: Listener | None = None) -> Waves:
        return Waves(begin(self.asked, self.made), self.made, self.target, keep_going, listener or Listener())

    def run(self, keep_going: bool = False) -> dict[str, Any]:
        return asyncio.run(self.suite(keep_going).run())

    def order(self) -> list[str]:
        return [line.split()[0] for line in (self.told / "order").read_text().splitlines()]

    def report(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(max(self.out.glob("chaos_report_*.json")).read_text())
        return found


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    return lambda **told: Stage(tmp_path, monkeypatch, **told)


def verdicts(report: dict[str, Any]) -> dict[str, str]:
    return {row["scenario_id"]: row["verdict"] for row in report["scenarios"]}


def test_waves_run_one_after_the_other_and_each_scenario_has_its_incident(stage: Any) -> None:
    on = stage()
    report = on.run()
    assert on.order() == ["a+b", "c", "d"] and verdicts(report) == dict.fromkeys("abcd", "PASS")
    assert (report["total_scenarios"], report["passed"], report["success_rate"]) == (4, 4, 100.0)
    assert (report["verdict"], report["exit_code"], report["finished"], report["escalations"]) == ("PASS", 0, True, [])
    assert [(one["number"], one["scenarios"], one["verdict"]) for one in report["waves"]] == [
        *((1, ["a", "b"], "PASS"), (2, ["c"], "PASS"), (3, ["d"], "PASS")),
    ]
    assert [one["scenario_id"] for one in report["incidents"]] == list("abcd")
    assert [one["type"] for one in report["incidents"][1]["faults"]] == ["kernel_pause"]
    for one in report["incidents"]:
        place = on.out / one["incident_id"]
        assert {"incident.json", "findings.json", "scenario.yaml"} <= {path.name for path in place.iterdir()}
        assert json.loads((place / "incident.json").read_text())["scenario_id"] == one["scenario_id"]
        assert not (place / "escalation.json").exists()
    assert on.report() == report and report["schema"] == "grace-waves/1"


def test_a_failure_is_escalated_and_what_is_more_severe_is_not_run(stage: Any) -> None:
    on = stage(ab="fail")
    report = on.run()
    assert on.order() == ["a+b"]
    assert verdicts(report) == {"a": "PASS", "b": "FAIL", "c": "INCONCLUSIVE", "d": "INCONCLUSIVE"}
    (one,) = report["escalations"]
    assert (one["wave"], one["scenario_id"], one["stopped"]) == (1, "b", ["c", "d"])
    assert "kernel_watchdog" in one["claim"] + one["because"] and one["evidence"]
    assert json.loads((on.out / one["incident_id"] / "escalation.json").read_text()) == one
    row = report["scenarios"][2]
    assert row["because"].startswith("not run: wave 1 was escalated: b: ") and report["waves"][1]["state"] == "not run"
    assert (report["verdict"], report["exit_code"], report["finished"]) == ("FAIL", 1, True)


def test_the_page_tells_of_the_waves_their_plans_and_what_was_escalated(stage: Any) -> None:
    on = stage(ab="fail")
    report = on.run()
    page = Path(report["report_file"]).with_suffix(".html").read_text()
    assert "<h2>Escalated</h2>" in page and "after wave 1: b: " in page and "not run for it: c, d" in page
    assert page.index("<h2>Escalated</h2>") < page.index("<h2>Waves</h2>") < page.index("<h2>Scenarios</h2>")
    for wave in report["waves"]:
        assert escape(wave["plan"]) in page and f"<td>{', '.join(wave['scenarios'])}" in page
    assert "--resume" not in page, "waves are not resumed"


def test_asked_to_it_goes_on_after_a_failure_and_escalates_all_the_same(stage: Any) -> None:
    on = stage(ab="fail", d="fail")
    report = on.run(keep_going=True)
    assert on.order() == ["a+b", "c", "d"]
    assert verdicts(report) == {"a": "PASS", "b": "FAIL", "c": "PASS", "d": "FAIL"}
    assert [(one["scenario_id"], one["verdict"], one["stopped"]) for one in report["escalations"]] == [
        *(("b", "FAIL", []), ("d", "FAIL", [])),
    ]


def test_a_target_that_is_not_steady_between_two_waves_is_escalated(stage: Any) -> None:
    on = stage()
    on.trouble = ["", "still engaged: kernel_watchdog (librarian)"]
    report = on.run()
    assert on.order() == ["a+b", "c"] and verdicts(report)["d"] == "INCONCLUSIVE"
    (one,) = report["escalations"]
    assert (one["wave"], one["scenario_id"], one["stopped"]) == (2, "c", ["d"])
    assert one["claim"] == "the target is steady between two waves"
    assert one["because"] == "1 s after wave 2: still engaged: kernel_watchdog (librarian)"
    assert report["waves"][2]["steady_before"] == "still engaged: kernel_watchdog (librarian)"
    assert report["exit_code"] == 3, "nothing failed, and not all was shown"


@pytest.mark.parametrize("how", ["lie", "empty", "crash", "broken", "inconclusive", "other"])
def test_a_wave_that_shows_nothing_is_undecided_for_each_and_the_next_runs(stage: Any, how: str) -> None:
    on = stage(ab=how)
    report = on.run()
    assert verdicts(report) == {"a": "INCONCLUSIVE", "b": "INCONCLUSIVE", "c": "PASS", "d": "PASS"}
    assert report["exit_code"] == 3 and report["escalations"] == []


def test_what_did_another_thing_than_was_printed_has_shown_nothing(stage: Any) -> None:
    on = stage(c="other")
    report = on.run()
    row = report["scenarios"][2]
    assert row["verdict"] == "INCONCLUSIVE"
    assert row["because"].startswith("its plan is not the one that was printed: seed ")
    assert "users" in row["because"] and report["waves"][1]["plan"] not in row["because"]


@pytest.mark.parametrize("keep_going", [False, True])
@pytest.mark.parametrize(("how", "verdict"), [("stuck", "INCONCLUSIVE"), ("stuck_killed", "INCONCLUSIVE")])
def test_a_fault_that_is_not_taken_back_ends_it_whatever_was_asked(
    stage: Any, how: str, verdict: str, keep_going: bool
) -> None:
    on = stage(c=how)
    report = on.run(keep_going)
    assert on.order() == ["a+b", "c"] and verdicts(report) == {"a": "PASS", "b": "PASS", "c": verdict, "d": UNSURE}
    (one,) = report["escalations"]
    assert (one["wave"], one["scenario_id"], one["stopped"]) == (2, "c", ["d"])
    assert one["claim"] == "every fault is taken back after a wave"
    assert "not taken back: kernel_pause (STUCK)" in one["because"] and f"heal {on.out}" in one["because"]
    assert json.loads((on.out / one["incident_id"] / "escalation.json").read_text()) == one
    assert report["exit_code"] == 3 and report["waves"][2]["state"] == "not run"
    assert report["scenarios"][2]["because"] == one["because"]


def test_a_failure_stays_one_beside_a_fault_that_is_not_taken_back(stage: Any) -> None:
    on = stage(d="stuck_red")
    report = on.run(keep_going=True)
    assert verdicts(report)["d"] == "FAIL" and report["exit_code"] == 1
    claims = [one["claim"] for one in report["escalations"]]
    assert len(claims) == 2 and claims[1] == "every fault is taken back after a wave"


def test_a_guardian_that_heals_after_its_run_was_killed_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    log = UndoLog(folder)
    guardian = read_process(os.getpid())
    assert guardian is not None
    log.write("OPENED", "", **opened_by(guardian))
    log.write("PLANNED", "paused.kernel_pause", undo=[])
    heals = threading.Timer(0.3, lambda: log.write("HEALED", "paused.kernel_pause"))
    heals.start()
    assert left_in_force([folder, tmp_path / "absent"]) == ""
    heals.join()
    log.write("PLANNED", "killed.kernel_kill", undo=[])
    log.write("STUCK", "killed.kernel_kill")
    log.close()
    monkeypatch.setattr(wave_steady, "GUARDIAN_LIMIT_S", 0.0)
    assert left_in_force([folder]) == "killed.kernel_kill (STUCK) of run"


def test_cancelled_it_heals_and_the_report_is_written(stage: Any) -> None:
    on = stage(c="hang")

    async def cancelled() -> None:
        task = asyncio.ensure_future(on.suite().run())
        while not (on.told / "hangs").exists():
            assert not task.done()
            await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancelled())
    assert (on.told / "healed").exists() and not pids_with(str(on.out))
    report = on.report()
    assert [row["state"] for row in report["scenarios"]] == ["ended", "ended", "interrupted", "waiting"]
    assert report["cut"] == "interrupted" and report["exit_code"] == 3 and not report["finished"]


def test_the_stop_file_ends_it(stage: Any) -> None:
    on = stage()

    class Halts(Listener):
        def ended(self, state: Any, number: int) -> None:
            (on.out / "HALT").touch()

    report = asyncio.run(on.suite(listener=Halts()).run())
    assert on.order() == ["a+b"] and "halted by the stop file" in report["cut"]


def test_what_lacks_something_stands_in_no_wave(stage: Any) -> None:
    on = stage()
    two = {"groups": on.made.groups[:2], "plans": on.made.plans[:2]}
    on.made = replace(on.made, **two, lacking={"d": "prerequisite '8_cores'"})
    report = on.run()
    assert verdicts(report)["d"] == "NOT_APPLICABLE" and report["exit_code"] == 4
    assert report["scenarios"][3]["because"] == "prerequisite '8_cores'" and on.order() == ["a+b", "c"]


def test_a_person_sees_waves_and_escalations(stage: Any, capsys: pytest.CaptureFixture[str]) -> None:
    on = stage(ab="fail")
    asyncio.run(on.suite(listener=wave_console.WavePrinter()).run())
    said = capsys.readouterr().out
    assert "wave 1, severity 1: a, b" in said and "[wave 1/3] a, b: begins, seed" in said
    assert "[wave 1/3] b: FAIL" in said and "escalated after wave 1: b: " in said and "not run for it: c, d" in said


def test_verify_judges_every_share_again(stage: Any, capsys: pytest.CaptureFixture[str]) -> None:
    on = stage(ab="fail")
    path = Path(on.run(keep_going=True)["report_file"])
    assert wave_console.is_report(path) and wave_console.verify(path) == 1
    said = capsys.readouterr().out
    assert "PASS           a: " in said and "FAIL           b: " in said and "the report says" not in said
    told = path.read_text()
    path.write_text(told.replace('"verdict": "FAIL"', '"verdict": "NOT_APPLICABLE"'))
    assert wave_console.verify(path) == 1 and "(the report says NOT_APPLICABLE)" in capsys.readouterr().out
    path.write_text(told.replace('"verdict": "FAIL"', '"verdict": "PASS"'))
    assert wave_console.verify(path) == 1 and "(the report says PASS)" in capsys.readouterr().out
    other = json.loads(told)
    for row in other["scenarios"]:
        row["seed"] += row["scenario_id"] == "c"
    path.write_text(json.dumps(other))
    assert wave_console.verify(path) == 1 and "is not a run of c with seed" in capsys.readouterr().out
    next((on.out / "c").glob("*/timeline.jsonl")).unlink()
    wave_console.verify(path)
    assert "INCONCLUSIVE   c: its run folder cannot be judged" in capsys.readouterr().out
    path.write_text("{}")
    assert not wave_console.is_report(path)


def shipped(word: str) -> list[tuple[int, tuple[str, ...]]]:
    names = ("root", "models", "config", "state_snapshot", "immutable_log", "state")
    paths = {name: Path(name) for name in names}
    made = prepare(entries([word]), Asked(scenarios=(word,), out=Path(), seed=5, time_scale=0.1), paper(paths))
    return [(one.severity, one.members) for one in made.groups]


def paper(paths: dict[str, Path]) -> Any:
    return PaperTarget(paths=paths, capabilities=("2_cores",))


def test_the_original_suite_s_waves() -> None:
    cards = ("S01_heartbeat_pause", "S02_acl_spam", "S03_cpu_spike", "S04_kernel_crash")
    assert shipped("waves") == [(number, (card,)) for number, card in enumerate(cards, 1)]
    layer1 = shipped("layer1")
    assert [severity for severity, _ in layer1] == [2, 3, 5] and sum(len(ids) for _, ids in layer1) == 11
    assert layer1[2][1][1:3] == ("full_stack_breaker", "immutable_log_corruption")


DRAWN = """- scenario_id: drawn
  category: multi_fault
  severity: 2
  fault_pool:
    - {type: kernel_pause, target: librarian, params: {pause_seconds: 45}}
    - {type: kernel_pause, target: sandbox, params: {pause_seconds: 45}}
    - {type: kernel_pause, target: governance, params: {pause_seconds: 45}}
  execution: {random_selection: 1}
- scenario_id: fixed
  category: multi_fault
  severity: 2
  faults: [{type: kernel_pause, target: librarian, params: {pause_seconds: 45}}]
- scenario_id: milder
  category: multi_fault
  severity: 1
  faults: [{type: kernel_pause, target: meta_loop, params: {pause_seconds: 45}}]
"""


def test_the_plan_that_is_printed_is_the_one_that_the_process_of_the_wave_makes(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(DRAWN)
    seen = set()
    for seed in range(1, 13):
        asked = Asked(scenarios=(str(file),), out=tmp_path, seed=seed, time_scale=0.1)
        made = prepare(entries(asked.scenarios), asked, paper({}))
        run = Waves(begin(asked, made), made, target(tmp_path), False, Listener())
        for wave in run.state.waves:
            words = run._command(wave)
            scenario, own = (words[words.index(flag) + 1] for flag in ("--scenario", "--seed"))
            assert own == str(wave_seed(seed, wave.number))
            options = Options(seed=int(own), time_scale=0.1)
            plan, _ = plan_together(find_together(scenario)[0], paper({}), options, UNITS)  # raises for what clashes
            assert describe(plan) == wave.plan and not plan.not_applicable
        seen.add(tuple(wave.scenarios for wave in run.state.waves))
    alone, both = ("milder",), ("drawn", "fixed")
    assert seen == {(alone, both), (alone, both[:1], both[1:])}, "apart where librarian was drawn, else together"


@pytest.mark.parametrize(
    ("kernels", "safeguards", "said"),
    [
        (KERNELS, QUIET, ""),
        ({"kernels": [{**RUNNING, "state": "failed"}]}, QUIET, "librarian is failed"),
        (KERNELS, {"safeguards": [{"name": "g", "engaged": [{"subject": "cpu"}]}]}, "still engaged: g (cpu)"),
        ({"kernels": 7}, QUIET, "the control plane's answer cannot be read"),
        (None, QUIET, "the control plane: /kernels answers 503"),
    ],
)
def test_steady_is_when_all_answer_all_run_and_nothing_is_engaged(
    tmp_path: Path, kernels: Any, safeguards: Any, said: str
) -> None:
    with serving() as server:
        server.answers["/work"] = as_json({})
        server.answers["/kernels"] = as_json(kernels) if kernels else Answer(status=503)
        server.answers["/safeguards"] = as_json(safeguards)
        one = target(tmp_path, base_url=server.base_url)
        assert said in unsteady(one) and bool(unsteady(one)) == bool(said)
        server.answers["/work"] = Answer(status=500)
        assert unsteady(one) == "GET /work answers 500"
