"""MF05_full_disk_no_log at a tenth of its length: who was refused, what is on record, and that the disk is back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.checks.audit_complete import chain_problem
from harness.mounts import mounts
from harness.record import Record
from tests.disks import looked, says_nothing, without_the_right
from tests.processes import findings, finish, locust, run_folder

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


MF05 = ("--scenario", "MF05_full_disk_no_log", "--time-scale", "0.1")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path | None:
    """The folder of a run that passed; None for a user who may not mount: the run says so, and so does pytest."""
    out = tmp_path_factory.mktemp("full_disk")
    code, said = finish(locust(*MF05, out=out))
    folder = run_folder(out)
    if not looked(code, said, folder):
        return None
    assert code == 0 and {one["verdict"] for one in findings(folder)} == {"PASS"}, said[-6000:]
    return folder


def test_without_the_right_to_mount_it_says_nothing_and_why(tmp_path: Path) -> None:
    """Whoever runs this: the right is dropped before the run begins."""
    code, said = finish(locust(*MF05, out=tmp_path, before=without_the_right()))
    says_nothing(code, said, run_folder(tmp_path))


def test_the_disk_was_full_by_the_word_of_the_machine_and_nothing_of_it_is_left(run: Path | None) -> None:
    if run is None:
        return
    disk = Record.load(run).fault("disk_full")
    assert disk.achieved is not None and disk.achieved["mean"] >= 99.5 and disk.ended_by == "plan"
    assert disk.injected is not None and disk.injected.detail["kind"] == "tmpfs"
    assert disk.healed is not None and disk.healed.detail["verified"]
    assert not [one for one in mounts() if one.point.parent.name.startswith("grace-twin-")]


def test_every_decision_that_a_client_got_is_in_the_chain_and_the_others_were_refused(run: Path | None) -> None:
    if run is None:
        return
    record = Record.load(run)
    held, sent = record.held("audit"), record.ledger
    assert held is not None and sent is not None and not chain_problem(held)
    decisions = [row for row in sent if row.kind == "decision"]
    told = {outcome: [one for one in decisions if one.outcome == outcome] for outcome in ("accepted", "refused")}
    references = {row.text("reference") for row in held}
    assert all(one.reference in references for one in told["accepted"])
    assert told["refused"] and {one.status for one in told["refused"]} == {503}


def test_the_guard_and_the_log_itself_tell_of_it(run: Path | None) -> None:
    if run is None:
        return
    rows: list[dict[str, Any]] = [json.loads(line) for line in (run / "timeline.jsonl").read_text().splitlines()]
    guard = next(row for row in rows if row["kind"] == "safeguard_engaged" and row["subject"] == "log_write_guard")
    assert guard["detail"]["subject"] == "immutable_log" and "cannot be written" in guard["detail"]["reason"]
    logs = [path.read_text() for path in (run / "target").rglob("*.log")]
    assert any("the immutable log cannot be written: " in text for text in logs)
