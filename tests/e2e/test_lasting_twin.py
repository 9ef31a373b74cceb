"""Runs one after another on a Grace that stays: each reads what came since it began, and is judged by that."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.record import Record
from tests.processes import finish, locust, twin

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
STORM = ("--scenario", "L3_governance_intent_storm", "--time-scale", "0.1")
TOTAL = 1000


def began(record: Record) -> Any:
    return record.events[0].detail.get("ledgers", {}).get("audit", {})


def test_the_second_storm_reads_no_decision_of_the_first(tmp_path: Path) -> None:
    records = []
    with twin(tmp_path / "twin"):
        target = tmp_path / "twin" / "target.yaml"
        url = next(line.split()[1] for line in target.read_text().splitlines() if line.startswith("base_url"))
        for number in range(2):
            out = tmp_path / str(number)
            code, said = finish(locust(*STORM, "--host", url, "--target", str(target), out=out))
            assert code == 0, said[-4000:]
            records.append(Record.load(next(out.glob("*/*/timeline.jsonl")).parent))
    first, second = (record.held("audit") or () for record in records)
    assert set(began(records[0])) == {"rows_before"}, "a short ledger is read from its beginning"
    assert first[0].fields["sequence"] == 1
    since = began(records[1])["since"]
    assert since >= len(first) > TOTAL and second[0].fields["sequence"] == since + 1
    assert len(second) < 1.5 * len(first), json.dumps([len(first), len(second)])
    assert not {row.text("reference") for row in first} & {row.text("reference") for row in second}
