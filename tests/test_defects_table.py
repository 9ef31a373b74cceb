"""benchmarks.defects: every defect and clause has a row; what is green, wrongly named or left behind is told."""

from __future__ import annotations

import json
import os
import runpy
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from benchmarks.defects import __main__ as command
from benchmarks.defects import broken, cell, report, sharing, table
from benchmarks.defects.cell import Result, drop_torn_line, false_alarms, naming, unexpected
from benchmarks.defects.table import CONTROL, DEFECT, HEALTHY, PATH, Cell, Row, TableError
from harness.model import INVARIANT, Finding, Verdict
from twin.defects import DEFECTS

ROWS = {
    "a": Row(name="a", clause="c", strikes=("S03_cpu_spike",), expect=("work_kept.",)),
    "b": Row(name="b", clause="c", strikes=("S03_cpu_spike",), expect=("fault_attained.",), harness=True),
}
FAILED, OPEN = ("work_kept.lost", "FAIL"), ("work_kept.lost", "INCONCLUSIVE")


def of(name: str = "a", kind: str = DEFECT, scenario: str = "S03_cpu_spike", seed: int = 7) -> Cell:
    return Cell(kind=kind, name=name, scenario=scenario, seed=seed, harness=name == "b")


def result(cell: Cell | None = None, verdict: str = "FAIL", code: int = 1, *findings: tuple[str, str]) -> Result:
    found = findings or (FAILED,)
    return Result(cell=cell or of(), time_scale=0.1, verdict=verdict, exit_code=code, findings=found)


def changed(folder: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    data = yaml.safe_load(PATH.read_text(encoding="utf-8"))
    change(data)
    path = folder / "table.yaml"
    path.write_text(yaml.safe_dump(data), encoding="utf-8")
    return path


def test_each_defect_in_the_code_has_a_row() -> None:
    assert table.missing_rows(table.load(), table.known_defects()) == []
    assert set(table.known_defects()) >= set(DEFECTS)


def test_a_row_expects_what_a_defect_of_the_harness_says() -> None:
    rows = table.load().rows
    for name, defect in broken.DEFECTS.items():
        assert rows[name].strikes[0] == defect.scenario and defect.code.startswith(rows[name].expect), name
        assert bool(rows[name].options) == bool(defect.workers), name


def test_a_defect_without_a_row_is_told(tmp_path: Path) -> None:
    short = table.load(changed(tmp_path, lambda data: data["defects"].pop("intent_lost")))
    assert table.missing_rows(short, table.known_defects()) == ["intent_lost"]
    assert table.missing_rows(short, {"retro_lost": True}) == ["retro_lost"], "it is one of the target"


WRONG: dict[str, Callable[[dict[str, Any]], object]] = {
    "clause new.one has no defect": lambda data: data["clauses"].update({"new.one": "9.9"}),
    "intent_lost: no clause is called 'x'": lambda data: data["defects"]["intent_lost"].update(clause="x"),
    "no scenario is called 'MF99'": lambda data: data["defects"]["intent_lost"].update(strikes=["MF99"]),
    "intent_lost: strikes and expect need": lambda data: data["defects"]["intent_lost"].update(expect=[]),
    "intent_lost: no key is called 'strike'": lambda data: data["defects"]["intent_lost"].update(strike=[]),
}


@pytest.mark.parametrize("words", WRONG)
def test_what_is_wrong_in_the_table_is_refused(tmp_path: Path, words: str) -> None:
    with pytest.raises(TableError, match=words):
        table.load(changed(tmp_path, WRONG[words]))


def test_each_defect_is_tried_first_where_its_row_says() -> None:
    found = table.load()
    cells = table.cells(found, table.known_defects(), controls=3)
    count = len(table.known_defects())
    assert [(one.name, one.scenario) for one in cells[:count]] == [
        (row.name, row.strikes[0]) for row in found.rows.values() if row.name in table.known_defects()
    ]
    assert [one.kind for one in cells[count : count + 6]] == [CONTROL, HEALTHY] * 3
    assert len({(one.name, one.scenario, one.kind, one.seed) for one in cells}) == len(cells)
    assert len(table.cells(found, table.known_defects(), first=True)) == count


def test_thirty_controls_are_thirty_different_runs() -> None:
    cells = table.cells(table.load(), (), controls=30)
    assert len({(one.kind, one.scenario, one.seed) for one in cells}) == 60


def test_the_fast_part_is_drawn_by_the_seed() -> None:
    found, known = table.load(), table.known_defects()
    drawn = table.fast_cells(found, known, 7)
    assert 3 <= len(drawn) <= 4 and drawn == table.fast_cells(found, known, 7)
    assert {one.scenario for one in drawn} <= set(found.fast)


@pytest.mark.parametrize(
    ("name", "verdict", "found", "fine"),
    [
        ("a", "FAIL", (FAILED,), True),
        ("a", "PASS", (), False),
        ("a", "INCONCLUSIVE", (OPEN,), False),
        ("a", "FAIL", (("restarted.no_new_process", "FAIL"),), False),
        ("a", "FAIL", (("restarted.no_new_process", "FAIL"), OPEN), False),
        ("b", "INCONCLUSIVE", (("fault_attained.witness", "INCONCLUSIVE"),), True),
        ("b", "INCONCLUSIVE", (("baseline_steady.busy", "INCONCLUSIVE"),), False),
        ("b", "PASS", (), False),
    ],
)
def test_a_cell_is_red_only_when_a_finding_names_it(
    name: str, verdict: str, found: tuple[tuple[str, str], ...], fine: bool
) -> None:
    one = replace(result(of(name), verdict), findings=found)
    assert bool(unexpected(one, ROWS)) != fine
    assert bool(naming(ROWS[name], one)) == (fine or (FAILED in found))


def test_a_crash_and_a_leftover_are_never_red() -> None:
    assert "exit code" in unexpected(replace(result(), problem="exit code 9"), ROWS)
    assert "left behind: mount x" in unexpected(replace(result(), left=("mount x",)), ROWS)


def test_false_alarms_of_control_and_healthy_runs_are_told() -> None:
    clean = ("control_clean.not_shown", "INCONCLUSIVE")
    control = result(of("", CONTROL), "INCONCLUSIVE", 3, clean)
    assert unexpected(control, ROWS) == "" and false_alarms(control) == []
    assert "work_kept.lost" in unexpected(result(of("", CONTROL), "INCONCLUSIVE", 3, clean, OPEN), ROWS)
    assert unexpected(result(of("", CONTROL), "FAIL", 1, ("control_clean.x", "FAIL")), ROWS)
    assert unexpected(replace(result(of("", HEALTHY), "PASS", 0), findings=()), ROWS) == ""
    assert "work_kept.lost FAIL" in unexpected(result(of("", HEALTHY)), ROWS)


def test_a_defect_of_the_harness_is_loaded_before_grace(tmp_path: Path) -> None:
    line, variables = cell.command(of("b"), 0.1, tmp_path)
    assert line[line.index("-f") + 1] == "benchmarks/defects/locustfile_broken.py,locustfiles/grace.py"
    assert variables == {"GRACE_BREAK": "b"} and "--plant" not in line
    line, variables = cell.command(of("a"), 0.1, tmp_path)
    assert line[line.index("--plant") + 1] == "a" and not variables
    assert "--control" in cell.command(of("", CONTROL), 0.1, tmp_path)[0]


def test_the_loader_applies_the_defect_that_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    applied: list[str] = []
    monkeypatch.setitem(sys.modules, "benchmarks.defects.broken", SimpleNamespace(apply=applied.append))  # type: ignore
    monkeypatch.setenv("GRACE_BREAK", "flood_at_half_rate")
    monkeypatch.setattr(sys, "path", list(sys.path))
    runpy.run_path(str(PATH.with_name("locustfile_broken.py")))
    assert applied == ["flood_at_half_rate"]


RUN = """
import json, pathlib, subprocess, sys, time
folder = pathlib.Path(sys.argv[1]) / "S03" / "x"
folder.mkdir(parents=True)
(folder / "findings.json").write_text(sys.argv[2])
{}
sys.exit(int(sys.argv[3]))
"""


def fake_run(monkeypatch: pytest.MonkeyPatch, more: str = "", code: int = 1) -> None:
    """Replace the run of a cell by a script that writes one failed finding."""
    rows = [
        Finding(check="work_kept", verdict=Verdict.FAIL, claim="c", because="b", code="work_kept.lost"),
        Finding(check="x", verdict=Verdict.PASS, claim="c", because="b", code="x.shown"),
        Finding(check="y", verdict=Verdict.NOT_APPLICABLE, claim="c", because="b", group=INVARIANT, missing=("k",)),
    ]
    text = json.dumps([asdict(one) for one in rows])
    words = [sys.executable, "-c", RUN.format(more)]
    monkeypatch.setattr(cell, "command", lambda _, scale, out: ([*words, str(out), text, str(code)], {}))
    monkeypatch.setattr(cell, "sweep", lambda out: [])
    monkeypatch.setattr(cell, "_world", lambda: {"mount": set()})
    monkeypatch.setattr(cell, "GONE_LIMIT_S", 0.3)


def test_the_folder_of_a_red_cell_is_removed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fake_run(monkeypatch)
    found = cell.run(of(), 0.1, tmp_path, 20, ROWS)
    assert found.findings == (FAILED,) and (found.verdict, found.problem, found.left) == ("FAIL", "", ())
    assert list(tmp_path.iterdir()) == [] and Result.from_json(found.to_json()) == found


def test_the_folder_of_a_green_cell_is_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fake_run(monkeypatch, "print('said')", code=0)
    found = cell.run(of(), 0.1, tmp_path, 20, ROWS)
    assert unexpected(found, ROWS) and (tmp_path / "a-S03_cpu_spike-7" / "said.txt").read_text() == "said\n"


@pytest.mark.parametrize(
    ("more", "code", "words"),
    [
        ("", 9, "exit code 9"),
        ("print('Traceback (most recent call last)')", 1, "a traceback"),
        ("import shutil; shutil.rmtree(folder)", 1, "0 run folders"),
        ("time.sleep(60)", 1, "no end in 1 s"),
    ],
)
def test_a_run_without_a_verdict_has_a_problem(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, more: str, code: int, words: str
) -> None:
    fake_run(monkeypatch, more, code)
    limit_s = 1 if "sleep" in more else 20
    assert words in cell.run(of(), 0.1, tmp_path, limit_s, ROWS).problem


def test_a_process_that_is_left_behind_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    start = "import os; p = subprocess.Popen(['sleep', '60'], start_new_session=True);"
    fake_run(monkeypatch, f"{start} pathlib.Path({str(pid)!r}).write_text(str(p.pid))")
    found = cell.run(of(), 0.1, tmp_path / "keep", 20, ROWS)
    os.kill(int(pid.read_text()), 9)
    assert found.left == (f"process {pid.read_text()} (sleep 60 )",) and unexpected(found, ROWS)


def test_a_mount_and_an_open_undo_that_are_left_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fake_run(monkeypatch)
    worlds = iter([{"mount": set[str]()}])
    monkeypatch.setattr(cell, "_world", lambda: next(worlds, {"mount": {"here"}}))
    monkeypatch.setattr(cell, "sweep", lambda out: ["x cpu_spike: killed"])
    assert cell.run(of(), 0.1, tmp_path, 20, ROWS).left == ("mount here", "x cpu_spike: killed")


def test_an_interrupt_stops_the_run_and_leaves_no_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fake_run(monkeypatch, "time.sleep(60)")
    stopped: list[int] = []

    def interrupt(process: subprocess.Popen[str], limit_s: float) -> bool:
        stopped.append(process.pid)
        raise KeyboardInterrupt

    monkeypatch.setattr(cell, "_ends", interrupt)
    with pytest.raises(KeyboardInterrupt):
        cell.run(of(), 0.1, tmp_path, 20, ROWS)
    assert list(tmp_path.iterdir()) == [] and not Path(f"/proc/{stopped[0]}").exists()


def main(monkeypatch: pytest.MonkeyPatch, folder: Path, *words: str) -> int:
    paths = ["--state", str(folder / "state.jsonl"), "--keep", str(folder / "keep"), "--out", str(folder / "t.md")]
    monkeypatch.setattr(sys, "argv", ["defects", *paths, *words])
    return command.main()


def runs(monkeypatch: pytest.MonkeyPatch, *endings: Result | type[BaseException]) -> list[Cell]:
    """Replace each run by the next of *endings*; the cells that were run."""
    ran: list[Cell] = []
    left = list(endings)

    def run(one: Cell, *_: Any) -> Result:
        ending = left.pop(0)
        if not isinstance(ending, Result):
            raise ending
        ran.append(one)
        return replace(ending, cell=one)

    monkeypatch.setattr(command.cells, "run", run)
    return ran


TWO = ("--only", "intent_lost,retro_lost", "--first")


def test_an_interrupted_table_goes_on_where_it_stopped(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    ran = runs(monkeypatch, result(), KeyboardInterrupt, result(), result())
    assert main(monkeypatch, tmp_path, *TWO) == 130
    with (tmp_path / "state.jsonl").open("a") as file:
        file.write('{"cell": {"kind": "def')  # as a SIGKILL leaves it
    assert main(monkeypatch, tmp_path, *TWO) == 2, "what has run already is not thrown away"
    assert main(monkeypatch, tmp_path, *TWO, "--resume") == 0
    assert [one.name for one in ran] == ["intent_lost", "retro_lost"]
    assert len((tmp_path / "state.jsonl").read_text().splitlines()) == 2
    assert main(monkeypatch, tmp_path, *TWO, "--resume", "--time-scale", "0.2", "--only", "retro_lost") == 0
    assert len(ran) == 3, "another time scale is another run"


def test_a_green_cell_is_marked_and_exits_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    ran = runs(monkeypatch, replace(result(verdict="PASS", code=0), findings=()), result(), result())
    assert main(monkeypatch, tmp_path, *TWO) == 1
    assert "**PASS 0: PASS: the defect was not found**" in (tmp_path / "t.md").read_text()
    assert main(monkeypatch, tmp_path, *TWO, "--resume") == 1, "it is not run again by itself"
    assert main(monkeypatch, tmp_path, *TWO, "--resume", "--again") == 0 and len(ran) == 3
    assert "**PASS" not in (tmp_path / "t.md").read_text()


def test_nothing_runs_after_something_was_left_behind(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    ran = runs(monkeypatch, replace(result(), left=("mount x",)))
    assert main(monkeypatch, tmp_path, *TWO) == 3 and len(ran) == 1


def test_a_false_alarm_exits_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    control = result(of("", CONTROL), "INCONCLUSIVE", 3, ("control_clean.not_shown", "INCONCLUSIVE"))
    runs(monkeypatch, result(), result(), control, result())
    assert main(monkeypatch, tmp_path, *TWO, "--controls", "1") == 1
    text = (tmp_path / "t.md").read_text()
    assert "1 control runs, without a fault: 0 false alarms" in text
    assert "1 runs with all faults and no defect: 1 false alarms" in text


@pytest.mark.parametrize("words", [("--only", "intent_los"), ("--scenarios", "MF1")])
def test_an_unknown_word_is_a_usage_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, words: tuple[str, str]
) -> None:
    assert main(monkeypatch, tmp_path, *words) == 2


def test_a_clause_without_a_red_cell_is_bold() -> None:
    found = table.load()
    red = replace(result(of("intent_lost", scenario="L2_HTM_queue_flood")))
    text = report.as_markdown(found, table.known_defects(), [red])
    assert "| FAIL 1 f1 |" in text and "- f1: `work_kept.lost`" in text and "1 of 1 cells red" in text
    assert "| proof.intents | 1.2 the result of an intent can only be computed by executing it | **0** |" in text


def test_a_whole_state_file_keeps_its_last_line(tmp_path: Path) -> None:
    state = tmp_path / "state.jsonl"
    state.write_text("a\nb\n")
    drop_torn_line(state)
    assert state.read_text() == "a\nb\n"


SAID = ("work_kept.", "valid_processed.", "execution_proven.")
WORK = {name: Row(name=name, clause="c", strikes=("x", "y"), expect=SAID) for name in "pqr"}
LOST, DOUBLED, MORE = ("work_kept.lost", "FAIL"), ("work_kept.doubled", "FAIL"), ("valid_processed.lost", "FAIL")
FAKED = ("execution_proven.wrong_result", "FAIL")
ALONE = {
    "p": result(of("p"), "FAIL", 1, LOST, MORE),
    "q": result(of("q"), "FAIL", 1, FAKED),
    "r": result(of("r"), "FAIL", 1, LOST),
}


def planned_together(cells: Sequence[Cell], alone: dict[str, Result], *more: Result) -> list[tuple[str, ...]]:
    known = sharing.codes_of([*alone.values(), *more])
    return [one.names for one in sharing.shared(cells, alone, WORK, known)]


def test_defects_share_a_run_where_each_keeps_a_code_of_its_own() -> None:
    elsewhere = [of(name, scenario="y") for name in "prq"]
    assert planned_together(elsewhere, ALONE) == [("p", "q"), ("r",)]
    another_code = {**ALONE, "r": result(of("r"), "FAIL", 1, DOUBLED)}
    assert planned_together(elsewhere, another_code) == [("p", "r", "q")]
    seen_elsewhere = result(of("p", scenario="z"), "FAIL", 1, LOST, DOUBLED)
    assert planned_together(elsewhere, another_code, seen_elsewhere) == [("p", "q"), ("r",)]
    unknown = {name: one for name, one in ALONE.items() if name != "q"}
    assert planned_together(elsewhere, unknown) == [("p",), ("r",), ("q",)]
    elsewhere_silent = {**ALONE, "p": result(of("p"), "FAIL", 1, MORE)}  # by a check that only some scenarios ask
    assert planned_together(elsewhere, elsewhere_silent) == [("p",), ("r", "q")]
    others = [of("p", scenario="x"), of("q", scenario="y"), replace(of("q", scenario="x"), options=("-u", "2"))]
    assert all(len(names) == 1 for names in planned_together(others, ALONE))


def test_of_a_shared_run_each_defect_is_named_by_its_own_code() -> None:
    together = result(replace(of("p", scenario="y"), beside=("q",)), "FAIL", 1, LOST)
    p, q = sharing.apart(together, sharing.codes_of(ALONE.values()))
    assert (p.cell.name, p.cell.beside, unexpected(p, WORK)) == ("p", ("q",), "")
    assert q.cell.names == ("q", "p") and unexpected(q, WORK)


def test_run_without_a_steady_baseline_is_no_red_cell() -> None:
    unsteady = (cell.UNSTEADY, "INCONCLUSIVE")
    assert "never steady" in unexpected(result(of("p"), "FAIL", 1, LOST, unsteady), WORK)
    together = result(replace(of("p", scenario="y"), beside=("q",)), "FAIL", 1, LOST, FAKED, unsteady)
    known = {"p": frozenset({LOST[0], unsteady[0]}), "q": frozenset({FAKED[0], unsteady[0]})}
    assert all("never steady" in unexpected(one, WORK) for one in sharing.apart(together, known))


def test_a_code_that_another_of_the_run_sets_off_elsewhere_names_nothing() -> None:
    p = result(replace(of("p", scenario="y"), beside=("q",)), "FAIL", 1, LOST)
    q = result(replace(of("q", scenario="y"), beside=("p",)), "FAIL", 1, FAKED)
    whole = [*ALONE.values(), p, q]
    assert sharing.doubtful(whole, WORK) == []
    assert sharing.doubtful([*whole, result(of("p", scenario="z"), "FAIL", 1, LOST, FAKED)], WORK) == [q]


def test_a_cell_that_is_doubtful_now_is_run_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    first, second = "intent_lost", "result_faked"
    flood, stall, spike = "L2_HTM_queue_flood", "L2_worker_stall", "S03_cpu_spike"
    before = [
        result(of(first, scenario=flood), "FAIL", 1, LOST),
        result(of(second, scenario=flood), "FAIL", 1, FAKED),
        result(replace(of(first, scenario=stall), beside=(second,)), "FAIL", 1, LOST),
        result(replace(of(second, scenario=stall), beside=(first,)), "FAIL", 1, FAKED),
        result(of(first, scenario=spike), "FAIL", 1, LOST, FAKED),
    ]
    (tmp_path / "state.jsonl").write_text("".join(f"{one.to_json()}\n" for one in before))
    ran = runs(monkeypatch, *(result(None, "FAIL", 1, FAKED) for _ in range(2)))
    words = ("--resume", "--only", f"{first},{second}", "--scenarios", f"{flood},{stall},{spike}")
    assert main(monkeypatch, tmp_path, *words) == 0
    assert [(one.scenario, one.names) for one in ran] == [(stall, (second,)), (spike, (second,))]


def test_what_a_shared_run_does_not_name_is_tried_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    lost, wrong = result(None, "FAIL", 1, LOST), result(None, "FAIL", 1, FAKED)
    ran = runs(monkeypatch, lost, wrong, lost, wrong)
    words = ("--only", "intent_lost,result_faked", "--scenarios", "L2_HTM_queue_flood,S03_cpu_spike")
    assert main(monkeypatch, tmp_path, *words) == 0
    both = ("intent_lost", "result_faked")
    assert [one.names for one in ran] == [both[:1], both[1:], both, both[1:]]
    assert [one.scenario for one in ran] == ["L2_HTM_queue_flood"] * 2 + ["S03_cpu_spike"] * 2
    assert "| FAIL 1 f1 (+1) |" in (tmp_path / "t.md").read_text()
    state = [json.loads(line)["cell"] for line in (tmp_path / "state.jsonl").read_text().splitlines()]
    assert [(one["name"], one["beside"]) for one in state][2:] == [
        ("intent_lost", ["result_faked"]),
        ("result_faked", []),
    ]
