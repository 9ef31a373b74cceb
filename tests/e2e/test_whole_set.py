"""Every scenario that is shipped in the enhanced suite, one after the other, at a tenth of its length."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.scenario import FOLDER
from tests.processes import findings, finish, locust

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1000)]
LIMIT_S = 12 * 60.0


def test_all_of_them_pass(tmp_path: Path) -> None:
    code, said = finish(
        locust("--scenario", "all", "--time-scale", "0.1", "--seed", "7", "--only-summary", out=tmp_path), LIMIT_S
    )
    (path,) = tmp_path.glob("chaos_report_*.json")
    report: dict[str, Any] = json.loads(path.read_text())
    assert {row["scenario_id"] for row in report["scenarios"]} == {one.stem for one in (FOLDER / "enhanced").iterdir()}
    for number, row in enumerate(report["scenarios"], 1):
        log = path.with_suffix("") / f"{number:02}_{row['scenario_id']}.log"
        assert row["verdict"] == "PASS", (row, log.read_text()[-4000:])
        assert {one["verdict"] for one in findings(tmp_path / row["run_folder"])} == {"PASS"}
    assert code == report["exit_code"] == 0, said[-4000:]
