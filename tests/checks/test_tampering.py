"""No edit of a run folder talks the judge out of judging: each is named, and the run is no PASS any more."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.judge import judge
from harness.model import CUT_SHORT, Finding, Kind, Verdict, invariants_judged, overall
from harness.record import Record
from harness.sweep import sweep
from tests.drafts import Draft, healthy
from tests.sealed import FILES, chain_anew, rows_of, sealed

Edit = Callable[[Path], None]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sealed(tmp_path_factory.mktemp("whole"))


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / whole.name))


def of_plan(change: Callable[[dict[str, Any]], None]) -> Edit:
    def edit(folder: Path) -> None:
        plan = json.loads((folder / "plan.json").read_text(encoding="utf-8"))
        before = json.dumps(plan)
        change(plan)
        assert json.dumps(plan) != before
        (folder / "plan.json").write_text(json.dumps(plan), encoding="utf-8")

    return edit


def append(name: str, text: str = "\n") -> Edit:
    def edit(folder: Path) -> None:
        with (folder / name).open("a", encoding="utf-8") as file:
            file.write(text)

    return edit


def delete(name: str) -> Edit:
    return lambda folder: (folder / name).unlink()


def raise_limit(plan: dict[str, Any]) -> None:
    claim = next(one for one in plan["claims"] if one["check"] == "restarted")
    claim["args"]["within_s"] = 6000.0


def drop_criteria(plan: dict[str, Any]) -> None:
    plan["claims"] = [one for one in plan["claims"] if one["group"] != "criterion"]


def drop_step(plan: dict[str, Any]) -> None:
    """With all that needs it: a claim of a step that is not there makes it no plan."""
    plan["steps"] = [one for one in plan["steps"] if one["step_id"] != "cpu_spike"]
    plan["claims"] = [one for one in plan["claims"] if "cpu_spike" not in json.dumps(one)]
    plan["coverage"].pop("cpu_spike")


def lack_all(plan: dict[str, Any]) -> None:
    plan.update(steps=[], claims=[], coverage={}, subjects={}, not_applicable=["x"])


def as_link(folder: Path) -> None:
    """The same content, reached by a link: what it shows can be another file tomorrow."""
    path = folder / "undo.log"
    shutil.copy(path, folder.parent / "elsewhere.log")
    path.unlink()
    path.symlink_to(folder.parent / "elsewhere.log")


def without_end(folder: Path) -> None:
    rows = (folder / "timeline.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    (folder / "timeline.jsonl").write_text("".join(rows[:-1]), encoding="utf-8")


EDITS: dict[str, tuple[Edit, str]] = {
    "all claims": (of_plan(lambda plan: plan.update(claims=[])), "plan.json"),
    "the criteria": (of_plan(drop_criteria), "plan.json"),
    "a limit raised": (of_plan(raise_limit), "plan.json"),
    "slo": (of_plan(lambda plan: plan["slo"].update(detect_s_max=9000.0)), "plan.json"),
    "coverage": (of_plan(lambda plan: plan.update(coverage={})), "plan.json"),
    "routes": (of_plan(lambda plan: plan.update(routes={})), "plan.json"),
    "kernels": (of_plan(lambda plan: plan.update(kernels=[])), "plan.json"),
    "offers": (of_plan(lambda plan: plan.update(offers=["nothing.at.all"])), "plan.json"),
    "control": (of_plan(lambda plan: plan.update(control=True)), "plan.json"),
    "a step deleted": (of_plan(drop_step), "plan.json"),
    "requests.csv": (append("requests.csv", "30.0,legitimate,GET /api/knowledge,ok,200,1,5:1\n"), "requests.csv"),
    "requests.csv deleted": (delete("requests.csv"), "requests.csv"),
    "signals.csv": (append("signals.csv", "30.0,cpu_percent,,5.0\n"), "signals.csv"),
    "ledger.jsonl deleted": (delete("ledger.jsonl"), "ledger.jsonl"),
    "target/audit.jsonl deleted": (delete("target/audit.jsonl"), "target/audit.jsonl"),
    "target/intents.jsonl added": (append("target/intents.jsonl", "{}\n"), "target/intents.jsonl"),
    "another file added": (append("faults/more.jsonl"), "faults/more.jsonl"),
    "a file added beside": (append("notes.txt"), "notes.txt"),
    "a link": (as_link, "undo.log"),
    "an attack that met nobody": (append("requests.csv", "1.0,flood,POST /x,failed,404,3,1:3\n"), "requests.csv"),
    "a plan that lacks all": (of_plan(lambda plan: lack_all(plan)), "plan.json"),
    **{f"{name} edited": (append(name), name) for name in FILES if name != "ledger.jsonl" and "audit" not in name},
}


def intact(findings: list[Finding]) -> Finding:
    return next(one for one in findings if one.check == "journal_intact")


def test_an_untouched_folder_is_intact(folder: Path) -> None:
    findings = judge(Record.load(folder))
    assert intact(findings).verdict is Verdict.PASS and Record.load(folder).altered == {}
    assert not [one for one in findings if one.verdict is Verdict.FAIL]


@pytest.mark.parametrize("name", EDITS)
def test_an_edited_file_is_named_and_nothing_passes(folder: Path, name: str) -> None:
    edit, file = EDITS[name]
    edit(folder)
    findings = judge(Record.load(folder))
    found = intact(findings)
    code = "torn" if name == "requests.csv deleted" else "files_altered"
    assert (found.verdict, found.cause) == (Verdict.INCONCLUSIVE, code), found
    assert file in Record.load(folder).altered and file in found.because and found.evidence
    assert overall(findings) is Verdict.INCONCLUSIVE


def lacking() -> Draft:
    """A run that ended at its start, for want of something."""
    draft = healthy()
    draft.plan = replace(draft.plan, not_applicable=("x",))
    draft.events = draft.events[:1]
    draft.requests, draft.signals = [], []
    return draft.add(0.5, Kind.RUN_ABORTED, draft.plan.scenario_id, "run", reason="the target lacks something")


def test_a_run_that_lacks_something_is_not_applicable(tmp_path: Path) -> None:
    findings = judge(Record.load(sealed(tmp_path, lacking())))
    assert overall(findings) is Verdict.NOT_APPLICABLE and intact(findings).verdict is Verdict.PASS
    assert {one.verdict for one in findings if one.check != "journal_intact"} == {Verdict.NOT_APPLICABLE}
    assert invariants_judged(findings) == "0 of 8 invariants judged"


@pytest.mark.parametrize(
    "edit",
    [append("requests.csv", "1.0,flood\n"), of_plan(lambda plan: plan.update(not_applicable=["y"]))],
)
def test_what_it_lacks_excuses_no_edit(tmp_path: Path, edit: Edit) -> None:
    folder = sealed(tmp_path, lacking())
    edit(folder)
    findings = judge(Record.load(folder))
    assert intact(findings).verdict is Verdict.INCONCLUSIVE and overall(findings) is Verdict.INCONCLUSIVE


def test_a_run_without_an_end_is_not_excused(tmp_path: Path) -> None:
    findings = judge(Record.load(sealed(tmp_path, lacking().drop(Kind.RUN_ABORTED))))
    assert "run_complete.not_finished" in {one.code for one in findings}
    assert overall(findings) is Verdict.INCONCLUSIVE


@pytest.mark.parametrize(
    "name", ["the criteria", "requests.csv", "undo.log edited", "an attack that met nobody", "a plan that lacks all"]
)
def test_a_failure_of_an_altered_folder_accuses_nobody(tmp_path: Path, name: str) -> None:
    folder = sealed(tmp_path, healthy().drop(Kind.SAFEGUARD_ENGAGED, "kernel_watchdog"))
    assert overall(judge(Record.load(folder))) is Verdict.FAIL
    EDITS[name][0](folder)
    findings = judge(Record.load(folder))
    assert overall(findings) is Verdict.INCONCLUSIVE
    if name != "a plan that lacks all":
        assert CUT_SHORT in {one.cause for one in findings if one.check == "safeguard_engaged"}


def test_a_plan_whose_claims_need_a_deleted_step_is_none(folder: Path) -> None:
    of_plan(lambda plan: plan.update(steps=plan["steps"][:-1]))(folder)
    with pytest.raises(ValueError, match="no step is called"):
        Record.load(folder)


def test_a_timeline_without_its_last_row_is_not_finished(folder: Path) -> None:
    without_end(folder)
    findings = judge(Record.load(folder))
    assert "run_complete.not_finished" in {one.code for one in findings}
    assert overall(findings) is Verdict.INCONCLUSIVE


def test_a_row_of_the_timeline_that_is_edited_breaks_the_chain(folder: Path) -> None:
    path = folder / "timeline.jsonl"
    path.write_text(path.read_text(encoding="utf-8").replace('"at_s": 30.3', '"at_s": 30.2'), encoding="utf-8")
    findings = judge(Record.load(folder))
    assert intact(findings).code == "journal_intact.chain_broken" and overall(findings) is Verdict.INCONCLUSIVE


def test_the_plan_of_a_run_that_was_cut_short_is_covered_too(tmp_path: Path) -> None:
    folder = sealed(tmp_path, healthy().cut_short(9.8))
    assert intact(judge(Record.load(folder))).verdict is Verdict.PASS
    of_plan(raise_limit)(folder)
    assert intact(judge(Record.load(folder))).code == "journal_intact.files_altered"


@pytest.mark.parametrize("name", ["requests.csv", "signals.csv deleted", "undo.log edited", "another file added"])
def test_the_files_of_a_run_that_was_cut_short_are_covered(tmp_path: Path, name: str) -> None:
    draft = healthy().cut_short(9.8)
    folder = sealed(tmp_path, draft.add(10.0, Kind.RUN_SEALED, draft.plan.scenario_id, "run"))
    findings = judge(Record.load(folder))
    assert intact(findings).verdict is Verdict.PASS
    assert "run_complete.cut_short" in {one.code for one in findings}
    edit, file = {**EDITS, "signals.csv deleted": (delete("signals.csv"), "signals.csv")}[name]
    edit(folder)
    assert file in Record.load(folder).altered


def test_the_first_and_the_last_event_hold_the_hashes(folder: Path) -> None:
    rows = rows_of(folder)
    assert set(rows[0]["detail"]["sha256"]) == {"plan.json", "scenario.yaml"}
    assert set(rows[-1]["detail"]["sha256"]) == {*FILES, "plan.json", "signals.csv", "requests.csv"}


def test_what_is_chained_anew_contradicts_itself_no_more(folder: Path) -> None:
    """That is what a signature is for."""
    before = Record.load(folder).head
    of_plan(raise_limit)(folder)
    chain_anew(folder)
    record = Record.load(folder)
    assert intact(judge(record)).verdict is Verdict.PASS and record.head != before


OPENED = '{"state": "OPENED", "fault_id": "", "at": 1.0}\n'
PLANNED = '{"state": "PLANNED", "fault_id": "cpu_spike", "at": 1.0, "undo": []}\n'
STUCK = '{"state": "STUCK", "fault_id": "cpu_spike", "at": 2.0, "results": []}\n'
LATER = '{"state": "STUCK", "fault_id": "cpu_spike", "at": 3.0, "results": [], "by": "sweep"}\n'


def left_stuck(folder: Path) -> Path:
    """A FAILed run whose last fault was not healed: its undo log is open, and whoever heals later writes to it."""
    draft = healthy().drop(Kind.SAFEGUARD_ENGAGED, "kernel_watchdog")
    draft.files = {"undo.log": OPENED + PLANNED + STUCK}
    made = sealed(folder, draft)
    assert overall(judge(Record.load(made))) is Verdict.FAIL
    return made


def test_a_later_healing_alters_nothing(tmp_path: Path) -> None:
    folder = left_stuck(tmp_path)
    assert [one.verified for one in sweep(tmp_path) if one.fault_id == "cpu_spike"] == [True]
    assert '"HEALED"' in (folder / "undo.log").read_text(encoding="utf-8")
    record = Record.load(folder)
    assert record.altered == {} and overall(judge(record)) is Verdict.FAIL
    append("undo.log", LATER)(folder)
    assert Record.load(folder).altered == {"undo.log": "changed"}, "it was healed already"


@pytest.mark.parametrize(
    "text",
    [
        "\n",
        "x\n",
        LATER[:-1],
        LATER[:20] + "\n",
        "[]\n",
        STUCK,
        LATER.replace("STUCK", "PLANNED"),
        LATER.replace("cpu_spike", "acl_flood"),
        LATER.replace("cpu_spike", "acl_flood") + LATER,
        LATER.replace("3.0", '"3"'),
    ],
)
def test_what_no_healing_writes_is_a_change(tmp_path: Path, text: str) -> None:
    folder = left_stuck(tmp_path)
    append("undo.log", text)(folder)
    assert Record.load(folder).altered == {"undo.log": "changed"}


def test_healing_after_an_edit_hides_no_edit(tmp_path: Path) -> None:
    folder = left_stuck(tmp_path)
    append("undo.log", LATER)(folder)
    assert Record.load(folder).altered == {}
    path = folder / "undo.log"
    path.write_text(path.read_text(encoding="utf-8").replace('"at": 1.0', '"at": 1.5', 1), encoding="utf-8")
    assert Record.load(folder).altered == {"undo.log": "changed"}
