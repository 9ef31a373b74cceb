"""Every scenario that is shipped in the enhanced suite, one after the other, at a tenth of its length.

What else must be true of a run of one of them that passed is looked for in the folders that this one leaves.
"""

from __future__ import annotations

import json
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from harness.checks.audit_complete import chain_problem
from harness.judge import judge, verdict
from harness.mounts import may_mount, mounts
from harness.plan import plan_from_json
from harness.record import Record
from harness.scenario import FOLDER
from harness.suite_entries import seed_of
from tests.disks import looked
from tests.processes import findings, finish, locust, run_folder, wait_for_event

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1000)]
NOT_APPLICABLE = 4
LIMIT_S = 12 * 60.0
SEED = 7
WITH_A_DISK = "MF05_full_disk_no_log"  # that can be filled: there is none for a user who may not mount


@dataclass(frozen=True)
class Whole:
    """What a run of the whole set has left in *out*."""

    out: Path
    code: int
    said: str

    @property
    def report(self) -> dict[str, Any]:
        (path,) = self.out.glob("chaos_report_*.json")
        report: dict[str, Any] = json.loads(path.read_text())
        return report

    def row(self, scenario: str) -> dict[str, Any]:
        found: dict[str, Any] = next(row for row in self.report["scenarios"] if row["scenario_id"] == scenario)
        return found

    def folder(self, scenario: str) -> Path:
        return self.out / str(self.row(scenario)["run_folder"])

    def log(self, scenario: str) -> str:
        (path,) = self.out.glob(f"chaos_report_*/*_{scenario}.log")
        return path.read_text()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    out = tmp_path_factory.mktemp("whole")
    words = ("--scenario", "all", "--time-scale", "0.1", "--seed", str(SEED), "--only-summary")
    code, said = finish(locust(*words, out=out), LIMIT_S)
    return Whole(out, code, said)


def test_all_of_them_pass(whole: Whole) -> None:
    shipped = {one.stem for one in (FOLDER / "enhanced").iterdir()}
    assert {row["scenario_id"] for row in whole.report["scenarios"]} == shipped
    for row in whole.report["scenarios"]:
        name = row["scenario_id"]
        judged = may_mount() or name != WITH_A_DISK
        assert row["verdict"] == ("PASS" if judged else "NOT_APPLICABLE"), (row, whole.log(name)[-4000:])
        assert not judged or {one["verdict"] for one in findings(whole.folder(name))} == {"PASS"}
    assert whole.code == whole.report["exit_code"] == (0 if may_mount() else NOT_APPLICABLE), whole.said[-4000:]


def test_what_make_run_does_takes_less_than_a_minute(whole: Whole) -> None:
    assert whole.row("MF01_triple_threat")["took_s"] < 60.0


def test_the_folder_says_the_same_offline(whole: Whole) -> None:
    folder = whole.folder("MF01_triple_threat")
    assert verdict(judge(Record.load(folder))).value == "PASS"
    incident = json.loads((folder / "incident.json").read_text())
    assert incident["success"] and incident["seed"] == seed_of(SEED, "MF01_triple_threat")
    assert all(fault["healed"] and fault["detected_by"] for fault in incident["faults"])
    for name in ("report.html", "junit.xml", "plan.json", "scenario.yaml", "undo.log", "target/target.yaml"):
        assert (folder / name).stat().st_size > 0
    assert "secret_key" not in (folder / "target" / "target.yaml").read_text()


def injected(folder: Path) -> list[str]:
    rows = [json.loads(line) for line in (folder / "timeline.jsonl").read_text().splitlines()]
    return [row["subject"] for row in rows if row["kind"] == "fault_injected"]


def test_the_same_seed_is_the_same_assault(whole: Whole, tmp_path: Path) -> None:
    name = "MF03_randomized_assault"
    first, said = whole.folder(name), whole.log(name)
    order = [step.step_id for step in plan_from_json((first / "plan.json").read_text()).steps]
    assert len(order) == 5 and injected(first) == order
    for one in order:
        assert f"  {one} on " in said, "the plan is printed"
    green = {one["claim"]: one["because"] for one in findings(first)}
    assert "were in force together" in green["playbooks_ran_concurrently"]
    assert all(f"{one} after " in green["all_faults_detected"] for one in order)

    words = ("--scenario", name, "--time-scale", "0.1", "--seed", str(seed_of(SEED, name)))
    again = locust(*words, out=tmp_path)
    second = wait_for_event(tmp_path, "fault_injected", order[-1], 90)
    again.send_signal(signal.SIGINT)  # what comes after the last injection is not the seed's
    code, said = finish(again, 60)
    assert code == 3, said[-3000:]
    assert (second / "plan.json").read_bytes() == (first / "plan.json").read_bytes()
    assert injected(second) == injected(first) and second == run_folder(tmp_path)


@pytest.fixture(scope="module")
def full_disk(whole: Whole) -> Path | None:
    """MF05's folder; None for a user who may not mount: its run says so, and so does pytest."""
    row, folder = whole.row(WITH_A_DISK), whole.folder(WITH_A_DISK)
    return folder if looked(row["exit_code"], whole.log(WITH_A_DISK), folder) else None


def test_the_disk_was_full_by_the_word_of_the_machine_and_nothing_of_it_is_left(full_disk: Path | None) -> None:
    if full_disk is None:
        return
    disk = Record.load(full_disk).fault("disk_full")
    assert disk.achieved is not None and disk.achieved["mean"] >= 99.5 and disk.ended_by == "plan"
    assert disk.injected is not None and disk.injected.detail["kind"] == "tmpfs"
    assert disk.healed is not None and disk.healed.detail["verified"]
    assert not [one for one in mounts() if one.point.parent.name.startswith("grace-twin-")]


def test_every_decision_that_a_client_got_is_in_the_chain_and_the_others_were_refused(full_disk: Path | None) -> None:
    if full_disk is None:
        return
    record = Record.load(full_disk)
    held, sent = record.held("audit"), record.ledger
    assert held is not None and sent is not None and not chain_problem(held)
    decisions = [row for row in sent if row.kind == "decision"]
    told = {outcome: [one for one in decisions if one.outcome == outcome] for outcome in ("accepted", "refused")}
    references = {row.text("reference") for row in held}
    assert all(one.reference in references for one in told["accepted"])
    assert told["refused"] and {one.status for one in told["refused"]} == {503}


def test_the_guard_and_the_log_itself_tell_of_it(full_disk: Path | None) -> None:
    if full_disk is None:
        return
    rows: list[dict[str, Any]] = [json.loads(line) for line in (full_disk / "timeline.jsonl").read_text().splitlines()]
    guard = next(row for row in rows if row["kind"] == "safeguard_engaged" and row["subject"] == "log_write_guard")
    assert guard["detail"]["subject"] == "immutable_log" and "cannot be written" in guard["detail"]["reason"]
    logs = [path.read_text() for path in (full_disk / "target").rglob("*.log")]
    assert any("the immutable log cannot be written: " in text for text in logs)
