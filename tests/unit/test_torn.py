"""A run folder that a crash has torn, or that somebody has changed, is judged and never PASS; it is no usage error."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.cli import main
from harness.clock import Clock
from harness.journal import Journal, event_of, read_journal, row_hash
from harness.judge import judge, verdict
from harness.model import Finding, Kind, Verdict
from harness.plan import plan_from_json
from harness.record import Record
from harness.suite_check import Asked
from harness.suite_state import SCHEMA as SUITES
from harness.traffic import RequestRow
from harness.wave_state import SCHEMA as WAVES
from tests.drafts import healthy

ROOT = Path(__file__).resolve().parents[2]

CSV = ("signals.csv", "requests.csv")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = healthy().record(tmp_path_factory.mktemp("whole")).folder
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def put(folder: Path, whole: dict[str, bytes], **changed: bytes) -> Path:
    for name, content in whole.items():
        (folder / name).write_bytes(changed.get(name.partition(".")[0], content))
    return folder


def intact(record: Record) -> Finding:
    return next(one for one in judge(record) if one.check == "journal_intact")


def test_a_whole_folder_passes(tmp_path: Path, whole: dict[str, bytes]) -> None:
    record = Record.load(put(tmp_path, whole))
    assert record.torn == () and record.chain_problem == "" and verdict(judge(record)) is Verdict.PASS


@pytest.mark.parametrize("name", CSV)
@pytest.mark.parametrize("short", [2, 3, 5, 9])
def test_a_torn_last_line_is_left_out_and_said(tmp_path: Path, whole: dict[str, bytes], name: str, short: int) -> None:
    content = whole[name][:-short]
    record = Record.load(put(tmp_path, whole, **{name.partition(".")[0]: content}))
    line = content.count(b"\n") + 1
    assert record.torn == (f"{name}:{line}: the last line is torn, and left out",)
    found = intact(record)
    assert found.verdict is Verdict.INCONCLUSIVE and found.evidence == (f"{name}:{line}",)
    assert verdict(judge(record)) is Verdict.INCONCLUSIVE


def test_a_number_that_was_torn_is_not_read_as_a_smaller_one(tmp_path: Path, whole: dict[str, bytes]) -> None:
    torn = put(tmp_path, whole, signals=whole["signals.csv"] + b"36.0,cpu_percent,,97.2518"[:-5])
    rows = Record.load(torn).signals("cpu_percent").rows
    assert 97.0 not in [value for _, value, _ in rows] and rows[-1][0] < 36.5


@pytest.mark.parametrize("cut", [1, 2, 40, 200])
def test_a_torn_timeline_is_a_run_that_was_cut_short(tmp_path: Path, whole: dict[str, bytes], cut: int) -> None:
    record = Record.load(put(tmp_path, whole, timeline=whole["timeline.jsonl"][:-cut]))
    if cut == 1:  # only the end of the line is missing: its hash shows that the row is whole
        assert record.chain_problem == "" and record.finished is not None
        return
    rows = whole["timeline.jsonl"].count(b"\n")
    assert record.chain_problem == f"timeline.jsonl:{rows}: the last row is torn, and left out"
    assert len(record.events) == rows - 1
    assert verdict(judge(record)) is Verdict.INCONCLUSIVE


def line_2(content: bytes, to: Callable[[bytes], bytes]) -> bytes:
    rows = content.split(b"\n")
    rows[1] = to(rows[1])
    return b"\n".join(rows)


BAD = [
    (
        "signals",
        lambda row: b"abc," + row.partition(b",")[2],
        "signals.csv:2: could not convert string to float: 'abc'",
    ),
    ("signals", lambda row: row.rpartition(b",")[0] + b",", "signals.csv:2: could not convert string to float: ''"),
    ("signals", lambda row: row.rpartition(b",")[0] + b",nan", "are no numbers; the row is left out"),
    ("signals", lambda row: row + b",5", "signals.csv:2: 5 cells instead of 4; the row is left out"),
    ("signals", lambda row: b"", "signals.csv:2: 0 cells instead of 4"),
    ("signals", lambda row: b'"' + row, "is not CSV from here on"),
    ("signals", lambda row: b"\x00\xff" + row, "signals.csv:2: could not convert"),
    ("requests", lambda row: b"inf" + row[row.index(b",") :], "requests.csv:2: "),
    ("requests", lambda row: row.rpartition(b",")[0] + b",5", "requests.csv:2: invalid literal"),
    ("requests", lambda row: row.rpartition(b",")[0] + b",5:0", "is not the sum of its latencies"),
    ("requests", lambda row: row.rpartition(b",")[0] + b",", "is not the sum of its latencies"),
    ("requests", lambda row: b"1,legitimate", "requests.csv:2: 2 cells instead of 7"),
]


@pytest.mark.parametrize(("name", "bend", "words"), BAD, ids=[f"{row[0]} {row[2]}" for row in BAD])
def test_a_cell_in_the_middle_is_said_and_never_a_traceback(
    tmp_path: Path, whole: dict[str, bytes], name: str, bend: Any, words: str
) -> None:
    record = Record.load(put(tmp_path, whole, **{name: line_2(whole[f"{name}.csv"], bend)}))
    assert any(words in one for one in record.torn), record.torn
    assert intact(record).verdict is Verdict.INCONCLUSIVE and words in intact(record).because
    assert verdict(judge(record)) is Verdict.INCONCLUSIVE


@pytest.mark.parametrize("name", CSV)
def test_a_file_that_is_empty_gone_or_headless(tmp_path: Path, whole: dict[str, bytes], name: str) -> None:
    stem = name.partition(".")[0]
    assert Record.load(put(tmp_path, whole, **{stem: b""})).torn == (f"{name}:1: is empty",)
    headless = whole[name].partition(b"\n")[2]
    assert f"{name}:1: the header is not at_s," in Record.load(put(tmp_path, whole, **{stem: headless})).torn[0]
    (tmp_path / name).unlink()
    record = Record.load(tmp_path)
    assert record.torn == (f"{name}: cannot be read: No such file or directory",)
    assert verdict(judge(record)) is Verdict.INCONCLUSIVE


def test_many_rows_are_told_in_few_words(tmp_path: Path, whole: dict[str, bytes]) -> None:
    record = Record.load(put(tmp_path, whole, signals=whole["signals.csv"].replace(b",cpu_percent,", b",")))
    assert len(record.torn) > 10 and f"; and {len(record.torn) - 3} more" in intact(record).because


def test_a_fail_of_a_record_with_holes_is_not_told_as_one(tmp_path: Path) -> None:
    draft = healthy().hold("cpu_percent", 50.0)
    folder = draft.record(tmp_path).folder
    assert verdict(judge(Record.load(folder))) is Verdict.FAIL
    with (folder / "signals.csv").open("ab") as file:
        file.write(b"36.1,cpu_perc")
    assert verdict(judge(Record.load(folder))) is Verdict.INCONCLUSIVE


@pytest.mark.parametrize("name", ["signals.csv", "requests.csv", "timeline.jsonl"])
def test_verify_of_a_killed_run_is_inconclusive_and_no_usage_error(
    tmp_path: Path, whole: dict[str, bytes], name: str, monkeypatch: Any, capsys: Any
) -> None:
    put(tmp_path, whole, **{name.partition(".")[0]: whole[name][:-7]})
    monkeypatch.setattr("sys.argv", ["grace-chaos", "verify", str(tmp_path)])
    assert main() == 3
    assert "torn" in " ".join(capsys.readouterr().out.split())


def test_only_a_line_feed_ends_a_row(tmp_path: Path) -> None:
    journal = Journal(tmp_path, Clock())
    odd = "a\u2028b\u2029c\x85d\x0be\x0cf\x1cg\rh\nü"
    journal.append(Kind.SYMPTOM_SEEN, odd, "test", {odd: odd})
    journal.append(Kind.RUN_FINISHED, "x", "test")
    journal.close()
    events, problem = read_journal(tmp_path / "timeline.jsonl")
    assert problem == "" and [one.subject for one in events] == [odd, "x"] and events[0].detail == {odd: odd}


@pytest.mark.parametrize(
    "change",
    [{"at_s": "5"}, {"at_s": None}, {"at_s": True}, {"detail": []}, {"subject": 5}, {"kind": "none"}, {"more": 1}],
)
def test_a_row_of_other_types_is_no_event_even_with_a_right_hash(tmp_path: Path, change: dict[str, Any]) -> None:
    journal = Journal(tmp_path, Clock())
    journal.append(Kind.SYMPTOM_SEEN, "a", "test")
    journal.close()
    row = {**json.loads(journal.path.read_text()), **change}
    row["hash"] = row_hash(row)
    journal.path.write_text(json.dumps(row) + "\n")
    events, problem = read_journal(journal.path)
    assert events == () and problem.startswith("timeline.jsonl:1: not an event: ")
    with pytest.raises((TypeError, ValueError)):
        event_of(row)


@pytest.mark.parametrize("line", [b"5", b"[]", b"null", b"{}", b"[" * 100_000, b"\xff", b"", b'{"seq": NaN}'])
def test_what_is_no_row_at_all(tmp_path: Path, line: bytes) -> None:
    (tmp_path / "timeline.jsonl").write_bytes(line + b"\n" + b"x\n")
    events, problem = read_journal(tmp_path / "timeline.jsonl")
    assert events == () and problem.startswith("timeline.jsonl:1: not an event: ") and "\n" not in problem


@pytest.mark.parametrize(
    ("key", "value"),
    [("steps", [5]), ("coverage", []), ("routes", []), ("slo", 5), ("claims", [{}]), ("notes", 5), ("more", 1)],
)
def test_a_plan_that_is_none_is_said_in_words(whole: dict[str, bytes], key: str, value: Any) -> None:
    data = json.loads(whole["plan.json"])
    assert plan_from_json(json.dumps(data)).scenario_id == "MF01_triple_threat"
    with pytest.raises(ValueError, match="not a plan"):
        plan_from_json(json.dumps({**data, key: value}))
    with pytest.raises(ValueError, match="not a plan"):
        plan_from_json("[" * 100_000)
    claims = [{**data["claims"][0], "needs": ["nobody"]}]
    with pytest.raises(ValueError, match="no step is called nobody"):
        plan_from_json(json.dumps({**data, "claims": claims}))


def test_cells_of_a_row_and_back() -> None:
    row = RequestRow(1.5, "legitimate", "GET /x", "ok", 200, 3, ((5, 2), (7, 1)))
    assert RequestRow.from_cells([str(cell) for cell in row.cells()]) == row
    for at, cell in ((0, "nan"), (4, "2.5"), (5, "4"), (5, "0"), (6, "5:2 7:x"), (6, "-5:2 7:1"), (6, "5:4 7:-1")):
        cells = [str(one) for one in row.cells()]
        cells[at] = cell
        with pytest.raises(ValueError):
            RequestRow.from_cells(cells)


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.sampled_from(["signals.csv", "requests.csv", "timeline.jsonl"]), data=st.data())
def test_no_damage_is_a_traceback_or_a_pass(tmp_path: Path, whole: dict[str, bytes], name: str, data: Any) -> None:
    content = whole[name]
    at = data.draw(st.integers(0, len(content) - 1))
    upto = data.draw(st.integers(at + 1, min(at + 300, len(content))))
    put_in = data.draw(st.one_of(st.binary(max_size=6), st.sampled_from([b"\n", b'"', b",", b"nan", b"\x00" * 9])))
    damaged = content[:at] + put_in + content[upto:]
    record = Record.load(put(tmp_path, whole, **{name.partition(".")[0]: damaged}))
    answer = verdict(judge(record))
    if (
        answer is Verdict.PASS and damaged != content
    ):  # a blank more or less between the words of a row changes nothing of what it says
        assert name == "timeline.jsonl" and record.events == Record.load(put(tmp_path, whole)).events


def null_asked(plan: dict[str, Any]) -> None:
    plan["steps"][0]["asked"]["value"] = None


def null_args(plan: dict[str, Any]) -> None:
    plan["claims"][0]["args"] = None


def long_number(plan: dict[str, Any]) -> None:
    plan["recovery_limit_s"] = 10**400


@pytest.mark.parametrize("bend", [null_asked, null_args, long_number])
def test_a_plan_of_other_types_is_no_plan(
    tmp_path: Path, whole: dict[str, bytes], bend: Any, monkeypatch: Any, capsys: Any
) -> None:
    plan = json.loads(whole["plan.json"])
    bend(plan)
    folder = put(tmp_path, whole, plan=json.dumps(plan).encode())
    monkeypatch.setattr("sys.argv", ["grace-chaos", "verify", str(folder)])
    assert main() == 2
    said = capsys.readouterr()
    assert "not a run folder: plan.json: not a plan: " in said.err and "Traceback" not in said.err


def test_a_time_of_many_digits_ends_the_reading(
    tmp_path: Path, whole: dict[str, bytes], monkeypatch: Any, capsys: Any
) -> None:
    rows = whole["timeline.jsonl"].split(b"\n")
    rows[2] = json.dumps({**json.loads(rows[2]), "at_s": 10**400}).encode()
    folder = put(tmp_path, whole, timeline=b"\n".join(rows))
    assert "timeline.jsonl:3: not an event" in Record.load(folder).chain_problem
    monkeypatch.setattr("sys.argv", ["grace-chaos", "verify", str(folder)])
    assert main() == 3 and "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize("name", ["plan.json", "timeline.jsonl", "signals.csv"])
def test_a_pipe_in_a_run_folder_is_never_waited_for(
    tmp_path: Path, whole: dict[str, bytes], name: str, monkeypatch: Any, capsys: Any
) -> None:
    folder = put(tmp_path, whole)
    (folder / name).unlink()
    os.mkfifo(folder / name)
    keeps_it_from_waiting = os.open(folder / name, os.O_RDWR | os.O_NONBLOCK)
    os.write(keeps_it_from_waiting, b"x")
    monkeypatch.setattr("sys.argv", ["grace-chaos", "verify", str(folder)])
    signal.alarm(20)
    try:
        assert main() == 2
    finally:
        signal.alarm(0)
        os.close(keeps_it_from_waiting)
    assert f"not a run folder: {name} is not a regular file" in capsys.readouterr().err


def test_a_reader_that_goes_is_no_crash(tmp_path: Path, whole: dict[str, bytes]) -> None:
    folder = put(tmp_path, whole)
    reads, writes = os.pipe()
    os.close(reads)
    words = [sys.executable, "-m", "harness.cli", "verify", str(folder)]
    done = subprocess.run(words, stdout=writes, stderr=subprocess.PIPE, text=True, timeout=120, cwd=ROOT)
    os.close(writes)
    assert done.stderr == "" and done.returncode != 1


@pytest.mark.parametrize(
    "told", [{}, {"scenarios": None}, {"scenarios": [5]}, {"scenarios": [{"run_folder": 5}]}], ids=str
)
def test_a_report_of_waves_of_another_shape_is_none(
    tmp_path: Path, told: dict[str, Any], monkeypatch: Any, capsys: Any
) -> None:
    path = tmp_path / "chaos_report_x.json"
    path.write_text(json.dumps({"schema": WAVES, **told}))
    monkeypatch.setattr("sys.argv", ["grace-chaos", "verify", str(path)])
    assert main() == 2 and "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize("schema", [WAVES, SUITES])
def test_a_row_that_names_no_text_as_folder(tmp_path: Path, schema: str, monkeypatch: Any, capsys: Any) -> None:
    row = {"scenario_id": "X", "name": "x", "category": "c", "severity": 1, "word": "X", "seed": 1, "expected_s": 1.0}
    asked = Asked(scenarios=("X",), out=tmp_path, seed=1).to_json()
    path = tmp_path / "chaos_report_x.json"
    told = {"schema": schema, "asked": asked, "scenarios": [{**row, "verdict": "PASS", "run_folder": 5}]}
    path.write_text(json.dumps(told))
    monkeypatch.setattr("sys.argv", ["grace-chaos", "verify", str(path)])
    assert main() == 2
    said = capsys.readouterr().err
    assert "run_folder" in said and "Traceback" not in said
