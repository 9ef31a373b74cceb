"""Every scenario that is shipped in the enhanced suite, one after the other, at a tenth of its length."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.mounts import may_mount
from harness.scenario import FOLDER
from tests.processes import findings, finish, locust

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1000)]
NOT_APPLICABLE = 4
LIMIT_S = 12 * 60.0
WITH_A_DISK = ("MF05_full_disk_no_log",)  # that can be filled: there is none for a user who may not mount


def test_all_of_them_pass(tmp_path: Path) -> None:
    code, said = finish(
        locust("--scenario", "all", "--time-scale", "0.1", "--seed", "7", "--only-summary", out=tmp_path), LIMIT_S
    )
    (path,) = tmp_path.glob("chaos_report_*.json")
    report: dict[str, Any] = json.loads(path.read_text())
    assert {row["scenario_id"] for row in report["scenarios"]} == {one.stem for one in (FOLDER / "enhanced").iterdir()}
    for number, row in enumerate(report["scenarios"], 1):
        log = path.with_suffix("") / f"{number:02}_{row['scenario_id']}.log"
        judged = may_mount() or row["scenario_id"] not in WITH_A_DISK
        assert row["verdict"] == ("PASS" if judged else "NOT_APPLICABLE"), (row, log.read_text()[-4000:])
        assert not judged or {one["verdict"] for one in findings(tmp_path / row["run_folder"])} == {"PASS"}
    assert code == report["exit_code"] == (0 if may_mount() else NOT_APPLICABLE), said[-4000:]
